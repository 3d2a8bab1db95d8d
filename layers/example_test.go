package layers_test

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// A layer records on a graph; the graph computes on the CPU here, without a device.
func ExampleLinear() {
	l := layers.NewLinear(3, 2, true)
	g := graph.New()
	y := l.Forward(g, g.Input("x", graph.Shape{1, 3}, graph.F32))
	values, err := g.Eval(
		map[string][]float64{"x": {1, 0, -1}},
		map[*graph.State][]float64{&l.Weight.State: {1, 2, 3, 4, 5, 6}, &l.Bias.State: {10, 20}},
		y)
	fmt.Println(y.Spec(), values, err)
	// Output: f32[1×2] [[8 18]] <nil>
}

// lowRank adds x · Aᵀ · Bᵀ to what a weight gives.
type lowRank struct {
	A *graph.Param `w:"lora_A"` // [rank, in]
	B *graph.Param `w:"lora_B"` // [out, rank]
}

func (l *lowRank) Adapt(g *graph.Graph, x, y graph.Tensor, first int) graph.Tensor {
	h := ops.Linear(g, x, g.Param(l.A), graph.Tensor{})
	return g.Add(y, ops.LinearRows(g, h, g.Param(l.B), graph.Tensor{}, first, y.Dim(-1)))
}

// An adapter of a layer's weight takes part wherever the layer is recorded.
func ExampleAdapter() {
	l := layers.NewLinear(3, 2, false)
	a := &lowRank{A: layers.NewParam(nil, 1, 3), B: layers.NewParam(nil, 2, 1)}
	l.Weight.Adapter = a
	g := graph.New()
	y := l.Forward(g, g.Input("x", graph.Shape{1, 3}, graph.F32))
	values, err := g.Eval(
		map[string][]float64{"x": {1, 0, -1}},
		map[*graph.State][]float64{&l.Weight.State: {1, 2, 3, 4, 5, 6}, &a.A.State: {1, 1, 0}, &a.B.State: {100, 200}},
		y)
	fmt.Println(values, err)
	// Output: [[98 198]] <nil>
}
