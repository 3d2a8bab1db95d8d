package ops_test

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// An op infers the shape of its result, knows its gradient and, beside its kernels, has
// a reference on the CPU, which Eval runs.
func Example() {
	g := graph.New()
	x := g.Input("x", graph.Shape{2, 3}, graph.F32)
	y := ops.Softmax(g, x)
	values, err := g.Eval(map[string][]float64{"x": {0, 0, 0, 1, 1, 1}}, nil, y)
	fmt.Printf("%v %.2f %v\n", y.Spec(), values[0], err)

	wrong := ops.MatMul(g, x, x, false, false)
	_, err = g.Build(wrong)
	fmt.Println(err)
	// Output:
	// f32[2×3] [0.33 0.33 0.33 0.33 0.33 0.33] <nil>
	// matmul: a f32[2×3] (transposed: false), b f32[2×3] (transposed: false): the inner dimensions are 3 and 2
}
