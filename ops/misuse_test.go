package ops

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
)

// TestMisuse: a wrong call is reported by Build under the scope's name, with the shapes of both sides.
func TestMisuse(t *testing.T) {
	f := func(g *graph.Graph, name string, shape ...int) graph.Tensor { return g.Input(name, shape, graph.F32) }
	ids := func(g *graph.Graph, shape ...int) graph.Tensor { return g.Input("ids", shape, graph.I32) }
	packed := func(g *graph.Graph, transposed bool, shape ...int) graph.Tensor {
		return g.State(&graph.State{Name: "w", Spec: graph.Spec{Shape: shape}, Format: packing.F32, Transposed: transposed})
	}
	none := graph.Tensor{}
	two := AttentionConfig{Heads: 2, Scale: 1}
	for name, c := range map[string]struct {
		build func(g *graph.Graph) graph.Tensor
		want  []string
	}{
		"linear, widths differ": {func(g *graph.Graph) graph.Tensor {
			return Linear(g, f(g, "x", 7, 64), f(g, "w", 32, 63), none)
		}, []string{"linear", "f32[7×64]", "f32[32×63]"}},
		"linear, bias of another length": {func(g *graph.Graph) graph.Tensor {
			return Linear(g, f(g, "x", 7, 64), f(g, "w", 32, 64), f(g, "b", 31))
		}, []string{"f32[32×64]", "f32[31]"}},
		"linear of ids": {func(g *graph.Graph) graph.Tensor {
			return Linear(g, ids(g, 7, 64), f(g, "w", 32, 64), none)
		}, []string{"i32[7×64]", "f32"}},
		"linear without a weight": {func(g *graph.Graph) graph.Tensor {
			return Linear(g, f(g, "x", 7, 64), none, none)
		}, []string{"x f32[7×64]", "weight f32[]"}},
		"project, widths differ": {func(g *graph.Graph) graph.Tensor {
			return Project(g, f(g, "x", 7, 64), f(g, "p", 63, 32))
		}, []string{"linear", "f32[7×64]", "f32[63×32]", "[in, out]"}},
		"linear by rows that are not there": {func(g *graph.Graph) graph.Tensor {
			return LinearRows(g, f(g, "x", 7, 64), packed(g, false, 12, 64), none, 8, 5)
		}, []string{"linear", "rows 8 to 12", "f32[12×64]"}},
		"linear by rows from within a block": {func(g *graph.Graph) graph.Tensor {
			return LinearRows(g, f(g, "x", 7, 64), packed(g, false, 12, 64), none, 2, 4)
		}, []string{"linear", "rows from 2 on", "w", "multiple of 4"}},
		"linear by a packed projection": {func(g *graph.Graph) graph.Tensor {
			return Linear(g, f(g, "x", 7, 64), packed(g, true, 64, 64), none)
		}, []string{"linear", "w", "transposed: true"}},
		"project by a packed weight": {func(g *graph.Graph) graph.Tensor {
			return Project(g, f(g, "x", 7, 64), packed(g, false, 64, 64))
		}, []string{"linear", "w", "transposed: false"}},
		"matmul by a packed weight": {func(g *graph.Graph) graph.Tensor {
			return MatMul(g, f(g, "x", 7, 64), packed(g, false, 64, 64), false, false)
		}, []string{"matmul", "input 1 is w", "packed"}},
		"matmul, inner dimensions": {func(g *graph.Graph) graph.Tensor {
			return MatMul(g, f(g, "a", 2, 3), f(g, "b", 2, 3), false, false)
		}, []string{"matmul", "a f32[2×3]", "b f32[2×3]", "3 and 2"}},
		"matmul, batches": {func(g *graph.Graph) graph.Tensor {
			return MatMul(g, f(g, "a", 4, 2, 3), f(g, "b", 5, 3, 2), false, false)
		}, []string{"f32[4×2×3]", "f32[5×3×2]"}},
		"attention, heads": {func(g *graph.Graph) graph.Tensor {
			return Attention(g, f(g, "q", 1, 5, 7), f(g, "k", 1, 5, 7), f(g, "v", 1, 5, 7), none, two)
		}, []string{"attention", "f32[1×5×7]", "2 heads"}},
		"attention, no heads": {func(g *graph.Graph) graph.Tensor {
			return Attention(g, f(g, "q", 1, 5, 7), f(g, "k", 1, 5, 7), f(g, "v", 1, 5, 7), none, AttentionConfig{})
		}, []string{"0 heads"}},
		"attention, lengths of k and v": {func(g *graph.Graph) graph.Tensor {
			return Attention(g, f(g, "q", 1, 5, 8), f(g, "k", 1, 6, 8), f(g, "v", 1, 7, 8), none, two)
		}, []string{"k f32[1×6×8]", "v f32[1×7×8]"}},
		"attention, mask": {func(g *graph.Graph) graph.Tensor {
			return Attention(g, f(g, "q", 3, 5, 8), f(g, "k", 3, 6, 8), f(g, "v", 3, 6, 8), f(g, "mask", 2, 5, 6), two)
		}, []string{"mask f32[2×5×6]", "[3 or 1, 5 or 1, 6]"}},
		"conv2d, channels": {func(g *graph.Graph) graph.Tensor {
			return Conv2D(g, f(g, "x", 1, 8, 8, 3), f(g, "w", 4, 2, 3, 3), none, 1, 1)
		}, []string{"conv2d", "x f32[1×8×8×3]", "f32[4×2×3×3]"}},
		"conv2d, no window": {func(g *graph.Graph) graph.Tensor {
			return Conv2D(g, f(g, "x", 1, 2, 8, 3), f(g, "w", 4, 3, 5, 5), none, 1, 1)
		}, []string{"unfold", "f32[1×2×8×3]", "5×5", "padding 1"}},
		"avgpool2d, no window": {func(g *graph.Graph) graph.Tensor {
			return AvgPool2D(g, f(g, "x", 1, 2, 8, 3), 3)
		}, []string{"avgpool2d", "f32[1×2×8×3]", "3×3"}},
		"transpose of a vector": {func(g *graph.Graph) graph.Tensor {
			return Transpose(g, f(g, "x", 7))
		}, []string{"transpose", "f32[7]"}},
		"layernorm, weight": {func(g *graph.Graph) graph.Tensor {
			return LayerNorm(g, f(g, "x", 7, 64), f(g, "w", 63), none, 1e-5)
		}, []string{"layernorm", "f32[7×64]", "f32[63]"}},
		"l2_normalize of a scalar": {func(g *graph.Graph) graph.Tensor {
			return L2Normalize(g, f(g, "x"), 1e-12)
		}, []string{"l2_normalize", "f32[]"}},
		"softmax of ids": {func(g *graph.Graph) graph.Tensor {
			return Softmax(g, ids(g, 7))
		}, []string{"softmax", "i32[7]"}},
		"cross entropy, rows": {func(g *graph.Graph) graph.Tensor {
			return CrossEntropy(g, f(g, "x", 7, 64), ids(g, 6))
		}, []string{"cross_entropy", "f32[7×64]", "i32[6]"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := graph.New()
			end := g.Scope("visual.proj")
			out := c.build(g)
			end()
			_, err := g.Build(out)
			require.ErrorContains(t, err, "visual.proj")
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}
