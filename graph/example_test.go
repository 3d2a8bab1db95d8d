package graph_test

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// A line is fitted to a point: the graph holds the model, its gradient and the step,
// and computes on the CPU here. gpu.Device.Load takes the same Program to a device.
func Example() {
	slope := &graph.Param{State: graph.State{Name: "slope", Spec: graph.Spec{Shape: graph.Shape{1}}}}
	g := graph.New()
	x := g.Input("x", graph.Shape{1}, graph.F32)
	y := g.Input("y", graph.Shape{1}, graph.F32)
	miss := g.Add(ops.Mul(g, g.Param(slope), x), ops.Scale(g, y, -1))
	loss := ops.Sum(g, ops.Mul(g, miss, miss))
	grad := g.Grad(loss, g.Param(slope))[0]
	g.Assign(&slope.State, g.Add(g.Param(slope), ops.Scale(g, grad, -0.1)))

	state := map[*graph.State][]float64{&slope.State: {0}}
	for range 3 {
		values, err := g.Eval(map[string][]float64{"x": {2}, "y": {6}}, state, loss)
		fmt.Printf("loss %.3f slope %.3f %v\n", values[0][0], state[&slope.State][0], err)
	}
	program, err := g.Build(loss)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(program.Steps), "dispatches change", program.States[0].Name)
	// Output:
	// loss 36.000 slope 2.400 <nil>
	// loss 1.440 slope 2.880 <nil>
	// loss 0.058 slope 2.976 <nil>
	// 14 dispatches change slope
}
