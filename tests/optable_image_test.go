package tests

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

func TestAvgPool2D(t *testing.T) {
	var cases []opCase
	for _, c := range []struct {
		x                 graph.Shape
		side, stride, pad int
	}{
		{graph.Shape{2, 8, 6, 3}, 2, 2, 0},
		{graph.Shape{2, 7, 5, 65}, 2, 2, 0}, // a row and a column are left over
		{graph.Shape{1, 9, 11, 4}, 3, 3, 0},
		{graph.Shape{3, 5, 5, 1}, 5, 5, 0},
		{graph.Shape{1, 3, 1, 7}, 1, 1, 0},
		{graph.Shape{2, 6, 5, 7}, 3, 2, 1}, // windows that overlap and reach beyond the image
		{graph.Shape{1, 1, 2, 3}, 3, 1, 2},
	} {
		cases = append(cases, opCase{
			name: fmt.Sprintf("%v by %d, stride %d, padding %d", c.x, c.side, c.stride, c.pad), tol: tolSum, inputs: []opInput{{name: "x", shape: c.x}},
			build: one(func(g *graph.Graph, in tensors) graph.Tensor {
				return ops.AvgPool2D(g, in["x"], c.side, c.stride, c.pad)
			}),
		})
	}
	runOpCases(t, cases)
}

func TestTranspose(t *testing.T) {
	var cases []opCase
	for _, s := range []graph.Shape{{1, 1}, {7, 63}, {2, 3, 65}, {2, 3, 5, 4}, {1, 197}} {
		cases = append(cases, opCase{
			name: fmt.Sprint(s), tol: tolMove, inputs: []opInput{{name: "x", shape: s}},
			build: one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.Transpose(g, in["x"]) }),
		})
	}
	runOpCases(t, cases)
}

func TestConv2D(t *testing.T) {
	var cases []opCase
	for _, c := range []struct {
		x, w        graph.Shape
		stride, pad int
	}{
		{graph.Shape{2, 5, 7, 3}, graph.Shape{4, 3, 3, 3}, 2, 1},
		{graph.Shape{1, 6, 5, 8}, graph.Shape{9, 8, 3, 3}, 1, 1},
		{graph.Shape{2, 3, 4, 5}, graph.Shape{7, 5, 1, 1}, 1, 0},
		{graph.Shape{1, 5, 5, 2}, graph.Shape{3, 2, 1, 1}, 2, 0},
		{graph.Shape{1, 8, 7, 1}, graph.Shape{2, 1, 7, 5}, 2, 3},  // windows that lie mostly outside
		{graph.Shape{1, 7, 8, 3}, graph.Shape{65, 3, 2, 3}, 3, 0}, // pixels that no window sees
	} {
		for _, l := range []packing.Format{packing.RowMajor, packing.F32, packing.F16} {
			cases = append(cases, convCase(l, "", c.x, c.w, c.stride, c.pad))
		}
	}
	runOpCases(t, cases)
}

// convCase is a convolution of x [batch, height, width, in] by w [out, in, height, width].
func convCase(l packing.Format, variant string, x, w graph.Shape, stride, pad int) opCase {
	return opCase{
		name: fmt.Sprintf("%v %s %v by %v, stride %d, padding %d", l, variant, x, w, stride, pad), tol: tolScaled, variant: variant,
		inputs: []opInput{{name: "x", shape: x}, {name: "w", shape: w, format: l}, param("bias", w[0])},
		build: one(func(g *graph.Graph, in tensors) graph.Tensor {
			return ops.Conv2D(g, in["x"], in["w"], in["bias"], stride, pad)
		}),
	}
}

// convVariants are the kernels that read windows from the image, on GPUs.
var convVariants = slices.Concat(tunedNames("linear_split"), tunedNames("linear_tile"))

// TestConv2DFromTheImage has every kernel read windows from the image, weights in every format, and no kernel unfold it.
func TestConv2DFromTheImage(t *testing.T) {
	var cases []opCase
	for _, v := range convVariants {
		for _, l := range packedLayouts {
			cases = append(cases, convCase(l, v, graph.Shape{3, 5, 7, 12}, graph.Shape{37, 12, 3, 3}, 1, 1)) // two panels
		}
		odd := convCase(packing.F32, v, graph.Shape{2, 6, 5, 7}, graph.Shape{5, 7, 3, 3}, 2, 1) // no whole groups of channels
		cases = append(cases, odd)
		odd.name, odd.dx12 = odd.name+", DX12", true
		cases = append(cases, odd)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newOpRun(t, c)
			want, got := r.eval(t, r.outs...), r.onDevice(t, r.outs...)
			closeRows(t, "output", r.outs[0].Shape(), want[0], got[0], c.tol)
			prog, err := r.g.Build(r.outs...)
			require.NoError(t, err)
			require.Zero(t, count(prog.Steps, "unfold"))
		})
	}
}

func TestBatchNorm(t *testing.T) {
	var cases []opCase
	for _, x := range []graph.Shape{{7, 1}, {2, 3, 5, 63}, {197, 65}, {1, 4}} {
		c := graph.Shape{x[len(x)-1]}
		inputs := []opInput{{name: "x", shape: x}, {name: "w", shape: c}, {name: "b", shape: c}, {name: "mean", shape: c}}
		cases = append(cases, opCase{
			name: fmt.Sprint(x), tol: tolNorm,
			inputs: append(inputs, opInput{name: "variance", shape: c, gen: func(i int) float64 { return 0.1 + float64(i%5) }}),
			build: one(func(g *graph.Graph, in tensors) graph.Tensor {
				return ops.BatchNorm(g, in["x"], in["w"], in["b"], in["mean"], in["variance"], 1e-5)
			}),
		})
		if x[0] == 1 {
			continue // a channel of one element has no variance
		}
		cases = append(cases, opCase{
			name: fmt.Sprint(x, " by its own moments"), tol: 4 * tolNorm, inputs: inputs[:3],
			build: func(g *graph.Graph, in tensors) []graph.Tensor {
				mean, variance := ops.MeanVariance(g, in["x"])
				return []graph.Tensor{ops.BatchNorm(g, in["x"], in["w"], in["b"], mean, variance, 1e-5), mean, variance}
			},
		})
	}
	runOpCases(t, cases)
}

// TestConv2DWithBatchNorm has every kernel of a packed weight normalize, and
// apply a Function before and after it adds the residual.
func TestConv2DWithBatchNorm(t *testing.T) {
	var cases []opCase
	for _, v := range linearVariants {
		for _, after := range []bool{false, true} {
			w := graph.Shape{13, 3, 3, 3} // windows of 27 are no whole groups of four
			c := w[:1]
			cases = append(cases, opCase{
				name: fmt.Sprintf("%s, after the residual: %t", v, after), tol: tolScaled + tolNorm, variant: v,
				adapter: map[bool]graph.Adapter{true: graph.Discrete, false: graph.CPU}[slices.Contains(convVariants, v)],
				inputs: []opInput{
					{name: "x", shape: graph.Shape{2, 5, 7, 3}}, {name: "w", shape: w, format: packing.F32},
					param("gamma", c...), param("beta", c...), param("mean", c...),
					{name: "variance", shape: c, gen: func(i int) float64 { return 0.1 + float64(i%5) }},
					param("residual", 2, 5, 7, w[0]),
				},
				noGrad: []string{"x", "w", "gamma", "beta", "mean", "variance", "residual"},
				build: one(func(g *graph.Graph, in tensors) graph.Tensor {
					y := ops.Conv2D(g, in["x"], in["w"], graph.Tensor{}, 1, 1)
					y = ops.BatchNorm(g, y, in["gamma"], in["beta"], in["mean"], in["variance"], 1e-5)
					if after {
						return ops.Map(g, g.Add(y, in["residual"]), ops.ReLU)
					}
					return g.Add(in["residual"], ops.Map(g, y, ops.SiLU))
				}),
			})
		}
	}
	runOpCases(t, cases)
}

// TestLinearWithScale has every kernel of a packed weight multiply its columns by a factor
// each, with and without a bias.
func TestLinearWithScale(t *testing.T) {
	var cases []opCase
	for i, v := range linearVariants {
		cases = append(cases, opCase{
			name: fmt.Sprintf("%s, bias: %t", v, i%2 == 0), tol: tolScaled + tolUlp, variant: v,
			inputs: []opInput{
				param("x", 9, 27), {name: "w", shape: graph.Shape{13, 27}, format: packing.F32},
				param("bias", 13), param("gamma", 13), param("residual", 9, 13),
			},
			build: one(func(g *graph.Graph, in tensors) graph.Tensor {
				bias := in["bias"]
				if i%2 > 0 {
					bias = graph.Tensor{}
				}
				y := ops.Linear(g, in["x"], in["w"], bias)
				return g.Add(in["residual"], ops.MulBroadcast(g, y, in["gamma"], 1))
			}),
		})
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newOpRun(t, c)
			prog, err := r.g.Build(r.outs...)
			require.NoError(t, err)
			require.Equal(t, 0, count(prog.Steps, "binary"))
			closeRows(t, "output", r.outs[0].Shape(), r.eval(t, r.outs...)[0], r.onDevice(t, r.outs...)[0], c.tol)
		})
	}
}
