package ops

import (
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// maxAxisOp's attribute is the axis.
var maxAxisOp = &graph.Op{
	Name: "max_axis",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		x := n.In[0].Spec()
		if !n.In[0].Valid() || x.Element != graph.F32 {
			return nil, fmt.Errorf("%s: want f32", specs(n.In))
		}
		axis, err := axisIn(x, n.Attr.(int))
		if err != nil {
			return nil, err
		}
		return []graph.Spec{{Shape: slices.Delete(slices.Clone(x.Shape), axis, axis+1)}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		return []graph.Launch{maxLaunch(n, "max_axis", graph.In(0), graph.Out(0))}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		return g.Apply(maxAxisGradOp, n.Attr, n.In[0], dy[0])
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		for i, at := range firstMaxima(n, in[0]) {
			out[0][i] = in[0][at]
		}
	},
}

// maxAxisGradOp takes x and dy to dx.
var maxAxisGradOp = &graph.Op{
	Name:  "max_axis_grad",
	Infer: func(n *graph.Node) ([]graph.Spec, error) { return []graph.Spec{n.In[0].Spec()}, nil },
	Lower: func(n *graph.Node) []graph.Launch {
		return []graph.Launch{maxLaunch(n, "max_axis_grad", graph.In(0), graph.In(1), graph.Out(0))}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		for i, at := range firstMaxima(n, in[0]) {
			out[0][at] = in[1][i]
		}
	},
}

// maxLaunch runs a kernel with one invocation for each maximum.
func maxLaunch(n *graph.Node, file string, args ...graph.Arg) graph.Launch {
	outer, length, inner := around(n.In[0].Shape(), n.Attr.(int))
	return elementwise(kernel(file), outer*inner, args, uint32(length), uint32(inner))
}

// firstMaxima are the indices in x of the maxima along the axis.
func firstMaxima(n *graph.Node, x []float64) []int {
	outer, length, inner := around(n.In[0].Shape(), n.Attr.(int))
	indices := make([]int, outer*inner)
	for i := range indices {
		first := i/inner*length*inner + i%inner
		indices[i] = first
		for l := range length {
			if at := first + l*inner; x[at] > x[indices[i]] {
				indices[i] = at
			}
		}
	}
	return indices
}

// MaxAxis takes the greatest of x along an axis, counted from the end when negative,
// and removes the axis. Of equal ones the gradient flows into the first.
func MaxAxis(g *graph.Graph, x graph.Tensor, axis int) graph.Tensor {
	return g.Apply(maxAxisOp, axis, x)[0]
}
