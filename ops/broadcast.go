package ops

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

var addBroadcastOp = &graph.Op{
	Name:  "add_broadcast",
	Infer: inferBroadcast,
	Lower: func(n *graph.Node) []graph.Launch { return lowerBroadcast(n, addKernel) },
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		return []graph.Tensor{dy[0], sumBroadcast(g, dy[0], n.In[1].Shape(), n.Attr.(int))}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		for i, x := range in[0] {
			out[0][i] = x + in[1][i/n.Attr.(int)%len(in[1])]
		}
	},
}

var mulBroadcastOp = &graph.Op{
	Name:  "mul_broadcast",
	Infer: inferBroadcast,
	Lower: func(n *graph.Node) []graph.Launch { return lowerBroadcast(n, multiplyKernel) },
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		return []graph.Tensor{
			g.Apply(n.Op, n.Attr, dy[0], n.In[1])[0],
			sumBroadcast(g, Mul(g, dy[0], n.In[0]), n.In[1].Shape(), n.Attr.(int)),
		}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		for i, x := range in[0] {
			out[0][i] = x * in[1][i/n.Attr.(int)%len(in[1])]
		}
	},
}

func inferBroadcast(n *graph.Node) ([]graph.Spec, error) {
	x, b, inner := n.In[0], n.In[1], n.Attr.(int)
	if !x.Valid() || !b.Valid() || x.Spec().Element != graph.F32 || b.Spec().Element != graph.F32 {
		return nil, fmt.Errorf("%s: want two f32", specs(n.In))
	}
	if inner <= 0 || x.Shape().Elems()%(inner*b.Shape().Elems()) != 0 {
		return nil, fmt.Errorf("%s, inner %d: want the first's length a multiple of inner times the second's", specs(n.In), inner)
	}
	return []graph.Spec{x.Spec()}, nil
}

func lowerBroadcast(n *graph.Node, kernel shaders.Variant) []graph.Launch {
	args := []graph.Arg{graph.In(0), graph.In(1), graph.Out(0)}
	return []graph.Launch{elementwise(kernel, n.Out[0].Shape.Elems(), args, uint32(n.In[1].Shape().Elems()), uint32(n.Attr.(int)))}
}

// sumBroadcast adds up, for each element of a broadcast operand of shape b,
// what flows back from all its uses: the gradient of that operand.
func sumBroadcast(g *graph.Graph, flow graph.Tensor, b graph.Shape, inner int) graph.Tensor {
	repeats := flow.Shape().Elems() / (inner * b.Elems())
	flow = g.Reshape(flow, repeats, b.Elems(), inner)
	if inner > 1 {
		flow = SumAxis(g, flow, 2)
	}
	if repeats > 1 {
		flow = SumAxis(g, flow, 0)
	}
	return g.Reshape(flow, b...)
}

// AddBroadcast records y[i] = x[i] + b[i/inner mod len(b)] on flat row-major
// tensors: with inner 1, b is a trailing vector or table, such as a bias or the
// positions of every sequence; with inner d, one value for each d neighbours,
// such as a head; a b of one element is a scalar. len(x) is a multiple of
// inner·len(b); y has x's shape.
func AddBroadcast(g *graph.Graph, x, b graph.Tensor, inner int) graph.Tensor {
	return g.Apply(addBroadcastOp, inner, x, b)[0]
}

// MulBroadcast records y[i] = x[i] · b[i/inner mod len(b)], as AddBroadcast.
func MulBroadcast(g *graph.Graph, x, b graph.Tensor, inner int) graph.Tensor {
	return g.Apply(mulBroadcastOp, inner, x, b)[0]
}
