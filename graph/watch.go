package graph

// What CLIPWGPU adds to a Program.

// exposeNodes tells every step the op that it belongs to, and where that op's tensors
// lie.
func (b *builder) exposeNodes() {
	for i, n := range b.nodes {
		s := &b.prog.Steps[i]
		if i > 0 && b.nodes[i-1] == n {
			last := b.prog.Steps[i-1]
			s.Node, s.In, s.Out = n, last.In, last.Out
			continue
		}
		s.Node = n
		for _, t := range n.In {
			s.In = append(s.In, b.binding(t))
		}
		for i := range n.Out {
			out := Tensor{n, i}
			if _, assigned := b.fixed[out]; !assigned && !n.used[i] || n.Op == joinOp {
				out = Tensor{} // memory that the op alone works in, or with gaps
			}
			s.Out = append(s.Out, b.binding(out))
		}
	}
}

// binding says where t lies: nowhere if it is absent or nothing makes it.
func (b *builder) binding(t Tensor) Binding {
	if !t.Valid() {
		return Binding{}
	}
	x := Binding{Spec: t.Spec()}
	_, outside := b.fixed[root(t)]
	for _, c := range b.chunks(root(t)) {
		p := piece{root(t), c}
		if _, made := b.arena[p]; made || outside {
			x.Slots = append(x.Slots, b.slot(p))
		}
	}
	return x
}
