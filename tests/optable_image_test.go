package tests

import (
	"fmt"
	"testing"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

func TestAvgPool2D(t *testing.T) {
	var cases []opCase
	for _, c := range []struct {
		x    graph.Shape
		side int
	}{
		{graph.Shape{2, 8, 6, 3}, 2},
		{graph.Shape{2, 7, 5, 65}, 2}, // a row and a column are left over
		{graph.Shape{1, 9, 11, 4}, 3},
		{graph.Shape{3, 5, 5, 1}, 5},
		{graph.Shape{1, 3, 1, 7}, 1},
	} {
		cases = append(cases, opCase{
			name: fmt.Sprintf("%v by %d", c.x, c.side), tol: tolSum, inputs: []opInput{{name: "x", shape: c.x}},
			build: one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.AvgPool2D(g, in["x"], c.side) }),
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
