package ops

import (
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

var concatOp = &graph.Op{
	Name:  "concat",
	Infer: inferConcat,
	Lower: func(n *graph.Node) []graph.Launch {
		var launches []graph.Launch
		for i, s := range shares(n.Out[0].Shape, n.Attr.(int), shapes(n.In)) {
			launches = append(launches, s.launch(graph.In(i), graph.Out(0)))
		}
		return launches
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		for i, s := range shares(n.Out[0].Shape, n.Attr.(int), shapes(n.In)) {
			s.ref(in[i], out[0])
		}
	},
}

func inferConcat(n *graph.Node) ([]graph.Spec, error) {
	if len(n.In) == 0 {
		return nil, fmt.Errorf("nothing to concatenate")
	}
	y := n.In[0].Spec()
	axis, err := axisIn(y, n.Attr.(int))
	if err != nil {
		return nil, err
	}
	y.Shape = slices.Clone(y.Shape)
	y.Shape[axis] = 0
	for _, x := range n.In {
		like := slices.Clone(y.Shape)
		if len(x.Shape()) == len(like) {
			like[axis] = x.Dim(axis)
		}
		if !x.Valid() || x.Spec().Element != y.Element || !slices.Equal(x.Shape(), like) {
			return nil, fmt.Errorf("%s: want one type and one shape but for axis %d", specs(n.In), axis)
		}
		y.Shape[axis] += x.Dim(axis)
	}
	return []graph.Spec{y}, nil
}

func shapes(ts []graph.Tensor) []graph.Shape {
	s := make([]graph.Shape, len(ts))
	for i, t := range ts {
		s[i] = t.Shape()
	}
	return s
}

// shares returns the slices that copy parts, each of which is contiguous, to where
// they lie in the whole along an axis.
func shares(whole graph.Shape, axis int, parts []graph.Shape) []slice {
	var all []slice
	outer, length, inner := around(whole, axis)
	at := 0
	for _, p := range parts {
		_, size, _ := around(p, axis)
		all = append(all, slice{
			outer: outer, length: size, inner: inner,
			x: runs{0, size * inner}, xStep: inner,
			y: runs{at, length * inner},
		})
		at += size * inner
	}
	return all
}

// reversed is the slice that copies from the whole to the part.
func (s slice) reversed() slice {
	s.x, s.y = s.y, s.x
	return s
}

// Concat joins tensors of one type along an axis, counted from the end when
// negative; the other dimensions agree.
func Concat(g *graph.Graph, axis int, xs ...graph.Tensor) graph.Tensor {
	return g.Apply(concatOp, axis, slices.Clone(xs)...)[0]
}

type splitAttr struct {
	axis  int
	sizes []int
}

var splitOp = &graph.Op{
	Name:  "split",
	Infer: inferSplit,
	Lower: func(n *graph.Node) []graph.Launch {
		var launches []graph.Launch
		for i, s := range splitSlices(n) {
			if n.Used(i) {
				launches = append(launches, s.launch(graph.In(0), graph.Out(i)))
			}
		}
		return launches
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		for i, s := range splitSlices(n) {
			s.ref(in[0], out[i])
		}
	},
}

func inferSplit(n *graph.Node) ([]graph.Spec, error) {
	x, attr := n.In[0].Spec(), n.Attr.(splitAttr)
	axis, err := axisIn(x, attr.axis)
	if err != nil {
		return nil, err
	}
	var parts []graph.Spec
	rest := x.Shape[axis]
	for _, size := range attr.sizes {
		shape := slices.Clone(x.Shape)
		shape[axis] = size
		parts = append(parts, graph.Spec{Shape: shape, Element: x.Element})
		rest -= size
	}
	if rest != 0 || len(parts) == 0 {
		return nil, fmt.Errorf("%v into %v: want sizes that add up to %d", x, attr.sizes, x.Shape[axis])
	}
	return parts, nil
}

func splitSlices(n *graph.Node) []slice {
	var parts []graph.Shape
	for _, s := range n.Out {
		parts = append(parts, s.Shape)
	}
	all := shares(n.In[0].Shape(), n.Attr.(splitAttr).axis, parts)
	for i := range all {
		all[i] = all[i].reversed()
	}
	return all
}

// Split cuts x along an axis, counted from the end when negative, into parts of
// the given sizes, which add up to the whole.
func Split(g *graph.Graph, x graph.Tensor, axis int, sizes ...int) []graph.Tensor {
	return outputs(g.Apply(splitOp, splitAttr{axis, slices.Clone(sizes)}, x), len(sizes))
}

func init() { // each is the other's gradient, which no pair of literals can say
	concatOp.VJP = func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		axis := n.Attr.(int)
		var sizes []int
		for _, x := range n.In {
			_, size, _ := around(x.Shape(), axis)
			sizes = append(sizes, size)
		}
		return Split(g, dy[0], axis, sizes...)
	}
	splitOp.VJP = func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		parts := slices.Clone(dy)
		for i, part := range parts {
			if !part.Valid() {
				parts[i] = g.Fill(0, n.Out[i].Shape...)
			}
		}
		return []graph.Tensor{Concat(g, n.Attr.(splitAttr).axis, parts...)}
	}
}
