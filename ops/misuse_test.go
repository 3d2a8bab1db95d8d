package ops

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
)

// misuse is a wrong call and what the error says of it.
type misuse struct {
	build func(g *graph.Graph) graph.Tensor
	want  []string
}

// requireMisuse wants Build to report each call under the scope's name, with all that its want lists.
func requireMisuse(t *testing.T, scope string, calls map[string]misuse) {
	for name, c := range calls {
		t.Run(name, func(t *testing.T) {
			g := graph.New()
			end := g.Scope(scope)
			out := c.build(g)
			end()
			_, err := g.Build(out)
			require.ErrorContains(t, err, scope)
			for _, want := range c.want {
				assert.ErrorContains(t, err, want)
			}
		})
	}
}

func floats(g *graph.Graph, name string, shape ...int) graph.Tensor {
	return g.Input(name, shape, graph.F32)
}

func integers(g *graph.Graph, shape ...int) graph.Tensor { return g.Input("ids", shape, graph.I32) }

func packedState(g *graph.Graph, transposed bool, shape ...int) graph.Tensor {
	return g.State(&graph.State{Name: "w", Spec: graph.Spec{Shape: shape}, Format: packing.F32, Transposed: transposed})
}

// TestLinearMisuse: products of matrices that do not fit, or whose weight is packed otherwise.
func TestLinearMisuse(t *testing.T) {
	requireMisuse(t, "visual.proj", map[string]misuse{
		"linear, widths differ": {func(g *graph.Graph) graph.Tensor {
			return Linear(g, floats(g, "x", 7, 64), floats(g, "w", 32, 63), graph.Tensor{})
		}, []string{"linear", "f32[7×64]", "f32[32×63]"}},
		"linear, bias of another length": {func(g *graph.Graph) graph.Tensor {
			return Linear(g, floats(g, "x", 7, 64), floats(g, "w", 32, 64), floats(g, "b", 31))
		}, []string{"f32[32×64]", "f32[31]"}},
		"linear of ids": {func(g *graph.Graph) graph.Tensor {
			return Linear(g, integers(g, 7, 64), floats(g, "w", 32, 64), graph.Tensor{})
		}, []string{"i32[7×64]", "f32"}},
		"linear without a weight": {func(g *graph.Graph) graph.Tensor {
			return Linear(g, floats(g, "x", 7, 64), graph.Tensor{}, graph.Tensor{})
		}, []string{"x f32[7×64]", "weight f32[]"}},
		"project, widths differ": {func(g *graph.Graph) graph.Tensor {
			return Project(g, floats(g, "x", 7, 64), floats(g, "p", 63, 32))
		}, []string{"linear", "f32[7×64]", "f32[63×32]", "[in, out]"}},
		"linear by rows that are not there": {func(g *graph.Graph) graph.Tensor {
			return LinearRows(g, floats(g, "x", 7, 64), packedState(g, false, 12, 64), graph.Tensor{}, 8, 5)
		}, []string{"linear", "rows 8 to 12", "f32[12×64]"}},
		"linear by rows from within a block": {func(g *graph.Graph) graph.Tensor {
			return LinearRows(g, floats(g, "x", 7, 64), packedState(g, false, 12, 64), graph.Tensor{}, 2, 4)
		}, []string{"linear", "rows from 2 on", "w", "multiple of 4"}},
		"linear by a packed projection": {func(g *graph.Graph) graph.Tensor {
			return Linear(g, floats(g, "x", 7, 64), packedState(g, true, 64, 64), graph.Tensor{})
		}, []string{"linear", "w", "transposed: true"}},
		"project by a packed weight": {func(g *graph.Graph) graph.Tensor {
			return Project(g, floats(g, "x", 7, 64), packedState(g, false, 64, 64))
		}, []string{"linear", "w", "transposed: false"}},
		"matmul by a packed weight": {func(g *graph.Graph) graph.Tensor {
			return MatMul(g, floats(g, "x", 7, 64), packedState(g, false, 64, 64), false, false)
		}, []string{"matmul", "input 1 is w", "packed"}},
		"matmul, inner dimensions": {func(g *graph.Graph) graph.Tensor {
			return MatMul(g, floats(g, "a", 2, 3), floats(g, "b", 2, 3), false, false)
		}, []string{"matmul", "a f32[2×3]", "b f32[2×3]", "3 and 2"}},
		"matmul, batches": {func(g *graph.Graph) graph.Tensor {
			return MatMul(g, floats(g, "a", 4, 2, 3), floats(g, "b", 5, 3, 2), false, false)
		}, []string{"f32[4×2×3]", "f32[5×3×2]"}},
	})
}

// TestMisuse: wrong calls of the operations that are neither products nor element by element.
func TestMisuse(t *testing.T) {
	two := AttentionConfig{Heads: 2, Scale: 1}
	requireMisuse(t, "visual.proj", map[string]misuse{
		"attention, heads": {func(g *graph.Graph) graph.Tensor {
			return Attention(g, floats(g, "q", 1, 5, 7), floats(g, "k", 1, 5, 7), floats(g, "v", 1, 5, 7), graph.Tensor{}, two)
		}, []string{"attention", "f32[1×5×7]", "2 heads"}},
		"attention, no heads": {func(g *graph.Graph) graph.Tensor {
			return Attention(g, floats(g, "q", 1, 5, 7), floats(g, "k", 1, 5, 7), floats(g, "v", 1, 5, 7), graph.Tensor{}, AttentionConfig{})
		}, []string{"0 heads"}},
		"attention, lengths of k and v": {func(g *graph.Graph) graph.Tensor {
			return Attention(g, floats(g, "q", 1, 5, 8), floats(g, "k", 1, 6, 8), floats(g, "v", 1, 7, 8), graph.Tensor{}, two)
		}, []string{"k f32[1×6×8]", "v f32[1×7×8]"}},
		"attention, bias of another number of heads": {func(g *graph.Graph) graph.Tensor {
			return SelfAttention(g, floats(g, "qkv", 4, 5, 24), floats(g, "bias", 2, 3, 5, 5), AttentionConfig{Heads: 2})
		}, []string{"attention", "f32[2×3×5×5]", "2 heads", "[items or a part of them, 2, 5, 5]"}},
		"attention, bias of more items": {func(g *graph.Graph) graph.Tensor {
			return SelfAttention(g, floats(g, "qkv", 4, 5, 24), floats(g, "bias", 3, 2, 5, 5), AttentionConfig{Heads: 2})
		}, []string{"4 items", "f32[3×2×5×5]"}},
		"attention, mask": {func(g *graph.Graph) graph.Tensor {
			return Attention(g, floats(g, "q", 3, 5, 8), floats(g, "k", 3, 6, 8), floats(g, "v", 3, 6, 8), floats(g, "mask", 2, 5, 6), two)
		}, []string{"mask f32[2×5×6]", "[3 or 1, 5 or 1, 6]"}},
		"conv2d, channels": {func(g *graph.Graph) graph.Tensor {
			return Conv2D(g, floats(g, "x", 1, 8, 8, 3), floats(g, "w", 4, 2, 3, 3), graph.Tensor{}, 1, 1)
		}, []string{"conv2d", "x f32[1×8×8×3]", "f32[4×2×3×3]"}},
		"conv2d, no window": {func(g *graph.Graph) graph.Tensor {
			return Conv2D(g, floats(g, "x", 1, 2, 8, 3), floats(g, "w", 4, 3, 5, 5), graph.Tensor{}, 1, 1)
		}, []string{"unfold", "f32[1×2×8×3]", "5×5", "padding 1"}},
		"avgpool2d, no window": {func(g *graph.Graph) graph.Tensor {
			return AvgPool2D(g, floats(g, "x", 1, 2, 8, 3), 3, 3, 0)
		}, []string{"avgpool2d", "f32[1×2×8×3]", "3×3"}},
		"transpose of a vector": {func(g *graph.Graph) graph.Tensor {
			return Transpose(g, floats(g, "x", 7))
		}, []string{"transpose", "f32[7]"}},
		"layernorm, weight": {func(g *graph.Graph) graph.Tensor {
			return LayerNorm(g, floats(g, "x", 7, 64), floats(g, "w", 63), graph.Tensor{}, 1e-5)
		}, []string{"layernorm", "f32[7×64]", "f32[63]"}},
		"l2_normalize of a scalar": {func(g *graph.Graph) graph.Tensor {
			return L2Normalize(g, floats(g, "x"), 1e-12)
		}, []string{"l2_normalize", "f32[]"}},
		"softmax of ids": {func(g *graph.Graph) graph.Tensor {
			return Softmax(g, integers(g, 7))
		}, []string{"softmax", "i32[7]"}},
		"cross entropy, rows": {func(g *graph.Graph) graph.Tensor {
			return CrossEntropy(g, floats(g, "x", 7, 64), integers(g, 6))
		}, []string{"cross_entropy", "f32[7×64]", "i32[6]"}},
	})
}

// TestElementwiseMisuse: shapes and types that differ, functions and bounds that are none.
func TestElementwiseMisuse(t *testing.T) {
	requireMisuse(t, "visual.ln_post", map[string]misuse{
		"mul": {func(g *graph.Graph) graph.Tensor { return Mul(g, floats(g, "a", 7, 9), floats(g, "b", 9, 7)) },
			[]string{"mul", "f32[7×9]", "f32[9×7]"}},
		"mul by nothing": {func(g *graph.Graph) graph.Tensor { return Mul(g, floats(g, "a", 7, 9), graph.Tensor{}) },
			[]string{"f32[7×9]", "absent"}},
		"scale of ids": {func(g *graph.Graph) graph.Tensor { return Scale(g, integers(g, 7), 2) },
			[]string{"scale", "i32[7]"}},
		"add_broadcast, lengths": {func(g *graph.Graph) graph.Tensor { return AddBroadcast(g, floats(g, "x", 7, 9), floats(g, "b", 8), 1) },
			[]string{"add_broadcast", "f32[7×9]", "f32[8]"}},
		"mul_broadcast, inner": {func(g *graph.Graph) graph.Tensor { return MulBroadcast(g, floats(g, "x", 7, 8), floats(g, "b", 4), 3) },
			[]string{"mul_broadcast", "f32[7×8]", "f32[4]", "inner 3"}},
		"mul_broadcast, inner 0": {func(g *graph.Graph) graph.Tensor { return MulBroadcast(g, floats(g, "x", 7, 8), floats(g, "b", 4), 0) },
			[]string{"inner 0"}},
		"mul_broadcast of ids": {func(g *graph.Graph) graph.Tensor { return MulBroadcast(g, floats(g, "x", 7, 8), integers(g, 8), 1) },
			[]string{"f32[7×8]", "i32[8]"}},
		"map, unknown function": {func(g *graph.Graph) graph.Tensor { return Map(g, floats(g, "x", 7), 200) },
			[]string{"map", "f32[7]", "Function(200)"}},
		"clamp, bounds crossed": {func(g *graph.Graph) graph.Tensor { return Clamp(g, floats(g, "x", 7), 1, -1) },
			[]string{"clamp", "f32[7]", "[1, -1]"}},
		"clamp to NaN": {func(g *graph.Graph) graph.Tensor { return Clamp(g, floats(g, "x", 7), math.NaN(), 1) },
			[]string{"NaN"}},
	})
}

// TestReshapingMisuse: wrong axes, sizes and indices of the operations that move or sum up elements.
func TestReshapingMisuse(t *testing.T) {
	requireMisuse(t, "visual.ln_post", map[string]misuse{
		"concat of nothing": {func(g *graph.Graph) graph.Tensor { return Concat(g, 0) },
			[]string{"concat", "nothing"}},
		"concat, shapes": {func(g *graph.Graph) graph.Tensor { return Concat(g, 1, floats(g, "a", 2, 3), floats(g, "b", 3, 2)) },
			[]string{"concat", "f32[2×3]", "f32[3×2]", "axis 1"}},
		"concat, types": {func(g *graph.Graph) graph.Tensor { return Concat(g, 0, floats(g, "a", 2), integers(g, 2)) },
			[]string{"f32[2]", "i32[2]"}},
		"concat, ranks": {func(g *graph.Graph) graph.Tensor { return Concat(g, -1, floats(g, "a", 2, 2), floats(g, "b", 2)) },
			[]string{"f32[2×2]", "f32[2]"}},
		"concat, axis": {func(g *graph.Graph) graph.Tensor { return Concat(g, 2, floats(g, "a", 2, 3), floats(g, "b", 2, 3)) },
			[]string{"f32[2×3]", "axis 2"}},
		"split, sizes": {func(g *graph.Graph) graph.Tensor { return Split(g, floats(g, "x", 2, 9), 1, 3, 3)[1] },
			[]string{"split", "f32[2×9]", "[3 3]", "9"}},
		"split, empty part": {func(g *graph.Graph) graph.Tensor { return Split(g, floats(g, "x", 2, 9), 1, 9, 0)[1] },
			[]string{"split", "f32[2×0]"}},
		"split, axis": {func(g *graph.Graph) graph.Tensor { return Split(g, floats(g, "x", 2, 9), -3, 1, 1)[1] },
			[]string{"f32[2×9]", "axis -3"}},
		"expand, no copies": {func(g *graph.Graph) graph.Tensor { return Expand(g, floats(g, "x", 7), 0) },
			[]string{"expand", "f32[7]", "0 copies"}},
		"sum of ids": {func(g *graph.Graph) graph.Tensor { return Sum(g, integers(g, 7)) },
			[]string{"sum_axis", "i32[7]"}},
		"mean, axis": {func(g *graph.Graph) graph.Tensor { return MeanAxis(g, floats(g, "x", 2, 9), 2) },
			[]string{"f32[2×9]", "axis 2"}},
		"gather by floats": {func(g *graph.Graph) graph.Tensor { return Gather(g, floats(g, "table", 7, 9), floats(g, "ids", 3)) },
			[]string{"gather", "f32[7×9]", "f32[3]", "i32"}},
		"gather from a vector": {func(g *graph.Graph) graph.Tensor { return Gather(g, floats(g, "table", 7), integers(g, 3)) },
			[]string{"f32[7]", "i32[3]"}},
		"pixels, too few bytes": {func(g *graph.Graph) graph.Tensor {
			return Pixels(g, g.Input("bytes", graph.Shape{2, 3}, graph.I32), floats(g, "levels", 3, 256), 2, 3)
		},
			[]string{"pixels", "i32[2×3] of images of 2×3", "i32 [batch, 5]"}},
		"pixels, other levels": {func(g *graph.Graph) graph.Tensor {
			return Pixels(g, g.Input("bytes", graph.Shape{2, 5}, graph.I32), floats(g, "levels", 256), 2, 3)
		},
			[]string{"pixels", "f32[256]", "f32 [3, 256]"}},
		"pixels, no bytes": {func(g *graph.Graph) graph.Tensor { return Pixels(g, graph.Tensor{}, floats(g, "levels", 3, 256), 2, 3) },
			[]string{"pixels", "i32 [batch, 5]"}},
		"patchify, patch too large": {func(g *graph.Graph) graph.Tensor { return Patchify(g, floats(g, "image", 1, 3, 8, 7), 8, 8, 0) },
			[]string{"patchify", "f32[1×3×8×7]", "8×8"}},
		"patchify, no batch": {func(g *graph.Graph) graph.Tensor { return Patchify(g, floats(g, "image", 3, 8, 8), 4, 4, 0) },
			[]string{"f32[3×8×8]", "[batch, channels, height, width]"}},
		"rotary, length": {func(g *graph.Graph) graph.Tensor {
			return Rotary(g, floats(g, "x", 2, 5, 8), floats(g, "angles", 4, 4), 8)
		},
			[]string{"rotary", "f32[2×5×8]", "f32[4×4]", "[length, head]"}},
		"rotary of halves, part of a head": {func(g *graph.Graph) graph.Tensor {
			return RotaryHalves(g, floats(g, "x", 2, 5, 10), floats(g, "angles", 5, 4), 8)
		},
			[]string{"rotary", "f32[2×5×10]", "whole heads"}},
		"rotary, part of a head": {func(g *graph.Graph) graph.Tensor {
			return Rotary(g, floats(g, "x", 2, 5, 8), floats(g, "angles", 5, 4), 6)
		},
			[]string{"rotary", "6 columns", "whole heads"}},
	})
}
