package graph

import "slices"

// fuse merges live nodes into the only readers of their outputs, where their Op.Fuse
// can, because that saves a dispatch each. Nodes that are not live are dropped. The
// result is the remaining nodes, in order, and the tensors that outs have become.
func (g *Graph) fuse(live []bool, outs []Tensor) ([]*Node, []Tensor) {
	f := fuser{renamed: map[Tensor]Tensor{}, readers: map[Tensor]int{}}
	for id, n := range g.nodes {
		if live[id] {
			for _, t := range n.In {
				f.readers[t]++
			}
		}
	}
	for _, t := range outs {
		f.readers[t] += 2 // an output must be made as it is
	}
	for id, n := range g.nodes {
		if live[id] {
			f.add(n)
		}
	}
	outs = slices.Clone(outs)
	for i, t := range outs {
		outs[i] = f.rename(t)
	}
	return f.nodes, outs
}

type fuser struct {
	nodes   []*Node
	renamed map[Tensor]Tensor // of rewritten nodes
	readers map[Tensor]int    // how many inputs and outputs a tensor is, under its new name
}

// rename gives t's newest name.
func (f *fuser) rename(t Tensor) Tensor {
	for {
		to, ok := f.renamed[t]
		if !ok {
			return t
		}
		t = to
	}
}

// add appends n with its inputs renamed, fused with the producer of one of
// them where that is possible.
func (f *fuser) add(n *Node) {
	in := slices.Clone(n.In)
	for i, t := range in {
		in[i] = f.rename(t)
	}
	if !slices.Equal(in, n.In) {
		n = f.replace(n, &Node{Op: n.Op, In: in, Out: n.Out, Attr: n.Attr, Scope: n.Scope, into: n.into})
	}
	for _, t := range in {
		if !n.g.Unfused && t.Valid() && t.out == 0 && f.readers[t] == 1 && t.node.Op.Fuse != nil && f.movable(t.node) {
			if fused := t.node.Op.Fuse(t.node, n); fused != nil {
				f.nodes = slices.DeleteFunc(f.nodes, func(m *Node) bool { return m == t.node })
				fused.fused = layers(t.node, n)
				n = f.replace(n, fused)
				f.rest(t.node, fused)
				break
			}
		}
	}
	f.nodes = append(f.nodes, n)
}

// replace makes to stand for n.
func (f *fuser) replace(n, to *Node) *Node {
	to.g, to.id = n.g, n.id
	if to.Scope == "" {
		to.Scope = n.Scope
	}
	for i := range n.Out {
		old, name := Tensor{n, i}, Tensor{to, i}
		f.readers[name] = f.readers[old]
		f.renamed[old] = name
	}
	return to
}

// rest makes the outputs of to, but the first, stand for those of n.
func (f *fuser) rest(n, to *Node) {
	for i := range n.Out[1:] {
		old, name := Tensor{n, i + 1}, Tensor{to, i + 1}
		f.readers[name] = f.readers[old]
		f.renamed[old] = name
	}
}

// movable reports whether n may run later, where the reader of its first output is:
// no state has been assigned since, and no other output was read.
func (f *fuser) movable(n *Node) bool {
	for i := len(f.nodes) - 1; i >= 0 && f.nodes[i] != n; i-- {
		if f.nodes[i].into != nil || slices.ContainsFunc(f.nodes[i].In, func(t Tensor) bool { return t.node == n }) {
			return false
		}
	}
	return true
}

// Layers are the scopes of those whose work n does, each once, in the order in which
// they end: n's own or, where Build made n of several nodes, theirs.
func (n *Node) Layers() []string { return layers(n) }

func layers(nodes ...*Node) (scopes []string) {
	for _, n := range nodes {
		of := n.fused
		if of == nil {
			of = []string{n.Scope}
		}
		for _, s := range of {
			scopes = append(slices.DeleteFunc(scopes, func(o string) bool { return o == s }), s)
		}
	}
	return scopes
}
