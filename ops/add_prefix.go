package ops

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

var addPrefixOp = &graph.Op{
	Name: "add_prefix",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		x, b := n.In[0], n.In[1]
		if !x.Valid() || !b.Valid() || wantF32(n.In...) != nil || b.Shape().Elems() > x.Shape().Elems() {
			return nil, fmt.Errorf("%s: want two f32, the second no longer than the first", specs(n.In))
		}
		return []graph.Spec{x.Spec()}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		args := []graph.Arg{graph.In(0), graph.In(1), graph.Out(0)}
		return []graph.Launch{elementwise(kernel("add_prefix"), n.Out[0].Shape.Elems(), args, uint32(n.In[1].Shape().Elems()))}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		x, b := n.In[0].Shape().Elems(), n.In[1].Shape().Elems()
		flow := g.Reshape(dy[0], x)
		if b < x {
			flow = Split(g, flow, 0, b, x-b)[0]
		}
		return []graph.Tensor{dy[0], g.Reshape(flow, n.In[1].Shape()...)}
	},
	Ref: func(_ *graph.Node, in, out [][]float64) {
		copy(out[0], in[0])
		for i, b := range in[1] {
			out[0][i] += b
		}
	},
}

// AddPrefix records x with b added to its first len(b) elements, both seen as
// flat row-major f32: a class embedding on the first row of a table of
// positions. The result has x's shape.
func AddPrefix(g *graph.Graph, x, b graph.Tensor) graph.Tensor {
	return g.Apply(addPrefixOp, nil, x, b)[0]
}
