package graph

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// The operations that the tape itself needs: its inputs and states, assign, reshape,
// and fill and add, which Grad records. join is in join.go, all others are in ops.

var inputOp = &Op{Name: "input"}
var stateOp = &Op{Name: "state"}

var assignOp = &Op{
	Name: "assign",
	Infer: func(n *Node) ([]Spec, error) {
		if !n.In[0].Valid() {
			return nil, errors.New("nothing is assigned")
		}
		return []Spec{n.In[0].Spec()}, nil
	},
	Lower: func(n *Node) []Launch {
		if dst := n.into[0]; dst.Packed() {
			w, count := n.Packing(dst), dst.Shape.Elems()
			kernel := shaders.Variant{File: "pack", Consts: w.Arrangement.Consts()}
			return []Launch{{Kernel: kernel, Params: append([]uint32{uint32(count)}, w.IndexParams()...), Args: []Arg{In(0), Out(0)}, Rows: count}}
		}
		return n.PerChunk(n.Out[0], func(c Chunk) Launch {
			return Launch{Kernel: shaders.Variant{File: "copy"}, Params: []uint32{uint32(c.Elems)}, Args: []Arg{In(0), Out(0)}, Rows: c.Elems}
		})
	},
	Ref: func(_ *Node, in, out [][]float64) { copy(out[0], in[0]) },
}

var reshapeOp = &Op{
	Name: "reshape",
	Infer: func(n *Node) ([]Spec, error) {
		x, to := n.In[0].Spec(), n.Attr.(Shape)
		if !n.In[0].Valid() || x.Shape.Elems() != to.Elems() {
			return nil, fmt.Errorf("%v to %v: the number of elements differs", x, []int(to))
		}
		return []Spec{{to, x.Element}}, nil
	},
	Ref: func(_ *Node, in, out [][]float64) { copy(out[0], in[0]) },
}

func init() { // a VJP that records its own op would be an initialization cycle
	reshapeOp.VJP = func(g *Graph, n *Node, dy []Tensor) []Tensor {
		return []Tensor{g.Reshape(dy[0], n.In[0].Shape()...)}
	}
}

// Reshape gives x another shape of as many elements; nothing moves.
func (g *Graph) Reshape(x Tensor, shape ...int) Tensor {
	if g.owns(x) && slices.Equal(x.Shape(), shape) {
		return x
	}
	return g.Apply(reshapeOp, Shape(slices.Clone(shape)), x)[0]
}

var fillOp = &Op{
	Name:  "fill",
	Infer: func(n *Node) ([]Spec, error) { return []Spec{{n.Attr.(fillAttr).shape, F32}}, nil },
	Lower: func(n *Node) []Launch {
		value := math.Float32bits(float32(n.Attr.(fillAttr).value))
		return n.PerChunk(n.Out[0], func(c Chunk) Launch {
			return Launch{Kernel: shaders.Variant{File: "fill"}, Params: []uint32{uint32(c.Elems), value}, Args: []Arg{Out(0)}, Rows: c.Elems}
		})
	},
	VJP: func(*Graph, *Node, []Tensor) []Tensor { return nil },
	Ref: func(n *Node, _, out [][]float64) {
		for i := range out[0] {
			out[0][i] = n.Attr.(fillAttr).value
		}
	},
}

type fillAttr struct {
	shape Shape
	value float64
}

// Fill records an f32 tensor of a shape, all of whose elements are value.
func (g *Graph) Fill(value float64, shape ...int) Tensor {
	return g.Apply(fillOp, fillAttr{slices.Clone(shape), value})[0]
}

var addOp = &Op{
	Name: "add",
	Infer: func(n *Node) ([]Spec, error) {
		a, b := n.In[0].Spec(), n.In[1].Spec()
		if !n.In[0].Valid() || !n.In[1].Valid() || a.Element != F32 || b.Element != F32 || !slices.Equal(a.Shape, b.Shape) {
			return nil, fmt.Errorf("%v + %v: want two f32 of one shape", a, b)
		}
		return []Spec{a}, nil
	},
	Lower: func(n *Node) []Launch {
		return n.PerChunk(n.Out[0], func(c Chunk) Launch {
			count := uint32(c.Elems)
			return Launch{
				Kernel: shaders.Variant{File: "binary", Consts: map[string]any{"OP": 0}},
				Params: []uint32{count, count, 1},
				Args:   []Arg{In(0), In(1), Out(0)},
				Rows:   c.Elems,
			}
		})
	},
	VJP: func(_ *Graph, _ *Node, dy []Tensor) []Tensor { return []Tensor{dy[0], dy[0]} },
	Ref: func(_ *Node, in, out [][]float64) {
		for i := range out[0] {
			out[0][i] = in[0][i] + in[1][i]
		}
	},
}

// Add records a + b of one shape.
func (g *Graph) Add(a, b Tensor) Tensor { return g.Apply(addOp, nil, a, b)[0] }

// Ceil is ⌈n/size⌉: the workgroups of size invocations that cover n elements.
func Ceil(n, size int) int { return (n + size - 1) / size }
