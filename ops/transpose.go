package ops

import (
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

var transposeOp = &graph.Op{
	Name: "transpose",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		x := n.In[0].Spec()
		if len(x.Shape) < 2 || x.Element != graph.F32 {
			return nil, fmt.Errorf("%v: want f32 [..., rows, cols]", x)
		}
		y := slices.Clone(x.Shape)
		last := len(y) - 1
		y[last-1], y[last] = y[last], y[last-1]
		return []graph.Spec{{Shape: y}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		x := n.In[0]
		return []graph.Launch{elementwise(kernel("transpose"), x.Shape().Elems(), []graph.Arg{graph.In(0), graph.Out(0)}, uint32(x.Dim(-2)), uint32(x.Dim(-1)))}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		return g.Apply(n.Op, nil, dy[0])
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		rows, cols := n.In[0].Dim(-2), n.In[0].Dim(-1)
		for i, x := range in[0] {
			out[0][i/(rows*cols)*rows*cols+i%cols*rows+i/cols%rows] = x
		}
	},
}

// Transpose records x [..., rows, cols] with its last two dimensions exchanged.
func Transpose(g *graph.Graph, x graph.Tensor) graph.Tensor { return g.Apply(transposeOp, nil, x)[0] }
