package graph

import (
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// joinOp's inputs lie in its output as the parts of its attribute, a slab, lie in
// that. Build makes an input that nothing else reads in its place; it copies the others.
var joinOp = &Op{
	Name: "join",
	Infer: func(n *Node) ([]Spec, error) {
		slab := n.Attr.(*State)
		if err := n.g.Check(slab); err != nil {
			return nil, err
		}
		if len(n.In) != len(slab.Parts) {
			return nil, fmt.Errorf("%d tensors, %s holds %d", len(n.In), slab.Name, len(slab.Parts))
		}
		for i, x := range n.In {
			if want := slab.Parts[i]; !x.Valid() || x.Spec().Element != want.Element || !slices.Equal(x.Shape(), want.Shape) {
				return nil, fmt.Errorf("%v as %s %v", x.Spec(), want.Name, want.Spec)
			}
		}
		return []Spec{slab.Spec}, nil
	},
	Lower: func(n *Node) []Launch {
		slab := n.Attr.(*State)
		all := make([]Launch, len(n.In))
		for i, x := range n.In {
			count, at := uint32(x.Shape().Elems()), uint32(slab.Offsets[i]/4)
			all[i] = Launch{
				Kernel: shaders.Variant{File: "copy_slice"},
				Params: []uint32{count, 1, count, 0, 0, 0, at, 0},
				Args:   []Arg{In(i), Out(0)},
				Rows:   int(count),
			}
		}
		return all
	},
	Ref: func(n *Node, in, out [][]float64) {
		for i, x := range in {
			copy(out[0][n.Attr.(*State).Offsets[i]/4:], x)
		}
	},
}

// Join records a tensor like slab, in which xs, row-major, lie as slab's parts lie
// in it. What is between them is undefined.
func (g *Graph) Join(slab *State, xs ...Tensor) Tensor {
	return g.Apply(joinOp, slab, slices.Clone(xs)...)[0]
}

// joinOffset is where a tensor lies in the output of a Join.
type joinOffset struct {
	in     Tensor
	offset int64 // in bytes
}

// joined finds the tensors that can be made where a Join wants them: those that a
// kernel makes and that nothing else reads. With a Guard, and for those who look at
// tensors one by one, every tensor is apart.
func (g *Graph) joined(nodes []*Node, outs []Tensor) map[Tensor]joinOffset {
	if g.Guard > 0 || g.debug.Watches() || g.debug.NoPlan {
		return nil
	}
	readers := map[Tensor]int{}
	for _, n := range nodes {
		if n.Op == reshapeOp {
			continue
		}
		for _, t := range n.In {
			if t.Valid() {
				readers[root(t)]++
			}
		}
	}
	for _, t := range outs {
		readers[root(t)]++
	}
	all := map[Tensor]joinOffset{}
	for _, n := range nodes {
		if n.Op != joinOp || len(n.Out[0].chunks(g.BindingLimit())) > 1 {
			continue
		}
		for i, t := range n.In {
			from := root(t)
			if by := from.node; readers[from] == 1 && by.Op.Lower != nil && by.into == nil && by.Op != joinOp {
				all[from] = joinOffset{Tensor{n, 0}, n.Attr.(*State).Offsets[i]}
			}
		}
	}
	return all
}

func (b *builder) isJoined(t Tensor) bool {
	_, ok := b.joined[root(t)]
	return ok
}

// keepApart gives memory of their own, outside the Join, to the outputs of n that n's
// own kernels read: WebGPU lets no kernel read a buffer that it writes, and in the
// Join it may write a neighbour.
func (b *builder) keepApart(n *Node, launches []Launch) error {
	for _, l := range launches {
		k, err := b.g.load(l.Kernel)
		if err != nil {
			return err
		}
		first := len(k.Bindings) - len(l.Args)
		for i, a := range l.Args {
			if a.kind == argOut && first >= 0 && k.Bindings[first+i].Access == shaders.Read {
				delete(b.joined, Tensor{n, a.index})
			}
		}
	}
	return nil
}
