package tests

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

func TestDepthwiseConv2D(t *testing.T) {
	var cases []opCase
	for _, c := range []struct {
		x, w        graph.Shape
		stride, pad int
	}{
		{graph.Shape{2, 9, 10, 8}, graph.Shape{8, 1, 7, 7}, 1, 3},
		{graph.Shape{1, 2, 1, 65}, graph.Shape{65, 1, 7, 7}, 1, 3}, // windows that lie mostly outside
		{graph.Shape{2, 5, 7, 3}, graph.Shape{3, 1, 3, 3}, 2, 1},
		{graph.Shape{1, 7, 8, 4}, graph.Shape{8, 1, 7, 7}, 2, 3}, // two channels of one
		{graph.Shape{2, 5, 4, 3}, graph.Shape{9, 1, 3, 3}, 1, 1},
		{graph.Shape{1, 6, 5, 4}, graph.Shape{4, 1, 2, 3}, 1, 0},  // a window that is no square
		{graph.Shape{1, 7, 8, 3}, graph.Shape{3, 1, 2, 2}, 3, 0},  // pixels that no window sees
		{graph.Shape{3, 4, 4, 5}, graph.Shape{5, 1, 1, 1}, 1, 0},  // of a pixel
		{graph.Shape{1, 3, 3, 2}, graph.Shape{2, 1, 3, 3}, 1, 3},  // more padding than windows reach
		{graph.Shape{65, 3, 4, 2}, graph.Shape{2, 1, 3, 3}, 1, 1}, // more rows than slices of them
	} {
		cases = append(cases, opCase{
			name: fmt.Sprintf("%v by %v, stride %d, padding %d", c.x, c.w, c.stride, c.pad), tol: tolSum,
			inputs: []opInput{param("x", c.x...), param("w", c.w...), param("bias", c.w[0])},
			build: one(func(g *graph.Graph, in tensors) graph.Tensor {
				return ops.DepthwiseConv2D(g, in["x"], in["w"], in["bias"], c.stride, c.pad)
			}),
		})
	}
	runOpCases(t, cases)
}

// TestDepthwiseWithBatchNorm has the kernel normalize and apply a Function.
func TestDepthwiseWithBatchNorm(t *testing.T) {
	for _, norm := range []bool{true, false} {
		for _, act := range []bool{true, false} {
			c := opCase{
				name: fmt.Sprintf("norm: %t, activation: %t", norm, act), tol: tolNorm + tolMap,
				inputs: []opInput{
					param("x", 2, 5, 7, 3), param("w", 6, 1, 3, 3), param("gamma", 6), param("beta", 6), param("mean", 6),
					{name: "variance", shape: graph.Shape{6}, gen: func(i int) float64 { return 0.1 + float64(i%5) }},
				},
				build: one(func(g *graph.Graph, in tensors) graph.Tensor {
					y := ops.DepthwiseConv2D(g, in["x"], in["w"], graph.Tensor{}, 2, 1)
					if norm {
						y = ops.BatchNorm(g, y, in["gamma"], in["beta"], in["mean"], in["variance"], 1e-5)
					} else {
						y = g.Add(y, ops.AddBroadcast(g, g.Fill(0, y.Shape()...), in["beta"], 1))
					}
					if act {
						y = ops.Map(g, y, ops.GELU)
					}
					return y
				}),
			}
			t.Run(c.name, func(t *testing.T) {
				r := newOpRun(t, c)
				r.checkParity(t)
				if norm {
					prog, err := r.g.Build(r.outs...)
					require.NoError(t, err)
					require.Zero(t, count(prog.Steps, "batchnorm"))
					require.Equal(t, 1, count(prog.Steps, "batchnorm_fold"))
				}
			})
		}
	}
}

func TestScaleChannels(t *testing.T) {
	var cases []opCase
	for _, x := range []graph.Shape{{2, 3, 5, 7}, {1, 65}, {3, 197, 4}} {
		cases = append(cases, opCase{
			name: fmt.Sprint(x), tol: tolSum, inputs: []opInput{param("x", x...), param("s", x[0], x[len(x)-1])},
			build: one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.ScaleChannels(g, in["x"], in["s"]) }),
		})
	}
	runOpCases(t, cases)
}

func TestAddCentered(t *testing.T) {
	var cases []opCase
	for _, c := range []struct {
		side, small int
		plus        float64
	}{{7, 3, 0}, {3, 1, 0.5}, {3, 3, 1}, {1, 1, 0}, {7, 0, 1}} {
		inputs := []opInput{param("a", c.side*c.side, 5)}
		if c.small > 0 {
			inputs = append(inputs, param("small", c.small*c.small, 5))
		}
		cases = append(cases, opCase{
			name: fmt.Sprint(c), tol: tolSum, inputs: inputs,
			build: one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.AddCentered(g, in["a"], in["small"], c.plus) }),
		})
	}
	runOpCases(t, cases)
}

func TestBatchNormFold(t *testing.T) {
	var cases []opCase
	for _, n := range []int{1, 65} {
		cases = append(cases, opCase{
			name: fmt.Sprint(n), tol: tolNorm,
			inputs: []opInput{
				param("w", n), param("b", n), param("mean", n),
				{name: "variance", shape: graph.Shape{n}, gen: func(i int) float64 { return 0.1 + float64(i%5) }},
			},
			build: func(g *graph.Graph, in tensors) []graph.Tensor {
				bias, scale := ops.BatchNormFold(g, in["w"], in["b"], in["mean"], in["variance"], 1e-5)
				return []graph.Tensor{bias, scale}
			},
		})
	}
	runOpCases(t, cases)
}
