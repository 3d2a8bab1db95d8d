package ops

import (
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

type sumAttr struct {
	axis int
	mean bool
}

// sumAxisOp adds in passes, each of which leaves one term of up to sumTerms: an
// order that is fixed and, for long sums, far more exact than one running sum
// (Higham, The Accuracy of Floating Point Summation, 1993). Outputs from 1 on
// hold what the passes leave.
var sumAxisOp = &graph.Op{
	Name: "sum_axis",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		x := n.In[0].Spec()
		if !n.In[0].Valid() || x.Element != graph.F32 {
			return nil, fmt.Errorf("%s: want f32", specs(n.In))
		}
		axis, err := axisIn(x, n.Attr.(sumAttr).axis)
		if err != nil {
			return nil, err
		}
		outer, length, inner := around(x.Shape, axis)
		y := graph.Spec{Shape: slices.Delete(slices.Clone(x.Shape), axis, axis+1)}
		return append([]graph.Spec{y}, sumLeaves(outer, length, inner)...), nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		attr := n.Attr.(sumAttr)
		outer, length, inner := around(n.In[0].Shape(), attr.axis)
		scale := 1.0
		if attr.mean {
			scale = 1 / float64(length)
		}
		return sumPasses(outer, length, inner, scale, graph.In(0), graph.Out(0), 1)
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		attr := n.Attr.(sumAttr)
		_, length, inner := around(n.In[0].Shape(), attr.axis)
		scale := 1.0
		if attr.mean {
			scale = 1 / float64(length)
		}
		for i, x := range in[0] {
			out[0][i/(length*inner)*inner+i%inner] += scale * x
		}
	},
}

// sumTerms is how many elements one invocation adds up.
const sumTerms = 64

// sumLeaves are what the passes of sumPasses leave, but for the last.
func sumLeaves(outer, length, inner int) (leaves []graph.Spec) {
	for length > sumTerms {
		length = graph.Ceil(length, sumTerms)
		leaves = append(leaves, graph.Spec{Shape: graph.Shape{outer, length, inner}})
	}
	return leaves
}

// sumPasses make y [outer, inner], the sum of x [outer, length, inner] times scale.
// The node's outputs from leaves on are those of sumLeaves.
func sumPasses(outer, length, inner int, scale float64, x, y graph.Arg, leaves int) []graph.Launch {
	pass := func(length, chunks int, scale float64, x, y graph.Arg) graph.Launch {
		return elementwise(kernel("sum_axis"), outer*chunks*inner, []graph.Arg{x, y},
			uint32(length), uint32(inner), uint32(chunks), bits(scale))
	}
	var launches []graph.Launch
	for i, left := range sumLeaves(outer, length, inner) {
		to := graph.Out(leaves + i)
		launches = append(launches, pass(length, left.Shape[1], 1, x, to))
		x, length = to, left.Shape[1]
	}
	return append(launches, pass(length, 1, scale, x, y))
}

// SumAxis adds x up along an axis, counted from the end when negative, and
// removes it.
func SumAxis(g *graph.Graph, x graph.Tensor, axis int) graph.Tensor {
	return g.Apply(sumAxisOp, sumAttr{axis, false}, x)[0]
}

// MeanAxis averages x along an axis, counted from the end when negative, and
// removes it.
func MeanAxis(g *graph.Graph, x graph.Tensor, axis int) graph.Tensor {
	return g.Apply(sumAxisOp, sumAttr{axis, true}, x)[0]
}

// Sum adds up all elements of x to a scalar, shape [].
func Sum(g *graph.Graph, x graph.Tensor) graph.Tensor {
	return SumAxis(g, g.Reshape(x, x.Shape().Elems()), 0)
}

type expandAttr struct{ axis, count int }

// expandOp adds an axis of count copies.
var expandOp = &graph.Op{
	Name: "expand",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		x, attr := n.In[0].Spec(), n.Attr.(expandAttr)
		if !n.In[0].Valid() || attr.count <= 0 {
			return nil, fmt.Errorf("%s, %d copies: want a tensor and at least one copy", specs(n.In), attr.count)
		}
		return []graph.Spec{{Shape: slices.Insert(slices.Clone(x.Shape), attr.axis, attr.count), Element: x.Element}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		return []graph.Launch{expandSlice(n).launch(graph.In(0), graph.Out(0))}
	},
	Ref: func(n *graph.Node, in, out [][]float64) { expandSlice(n).ref(in[0], out[0]) },
}

func expandSlice(n *graph.Node) slice {
	outer, count, inner := around(n.Out[0].Shape, n.Attr.(expandAttr).axis)
	return slice{outer: outer, length: count, inner: inner, x: runs{0, inner}, xStep: 0, y: runs{0, count * inner}}
}

// Expand records a new leading axis of n copies of x.
func Expand(g *graph.Graph, x graph.Tensor, n int) graph.Tensor {
	return g.Apply(expandOp, expandAttr{0, n}, x)[0]
}

func init() { // each is the other's gradient, which no pair of literals can say
	sumAxisOp.VJP = func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		attr := n.Attr.(sumAttr)
		axis := fromStart(n.In[0].Shape(), attr.axis)
		length := n.In[0].Dim(axis)
		flow := dy[0]
		if attr.mean {
			flow = Scale(g, flow, 1/float64(length))
		}
		return g.Apply(expandOp, expandAttr{axis, length}, flow)
	}
	expandOp.VJP = func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		return []graph.Tensor{SumAxis(g, dy[0], n.Attr.(expandAttr).axis)}
	}
}
