package graph

// Grad records the gradient of a scalar loss with respect to each of wrt, f32
// parameters, inputs or other tensors, by reverse accumulation over the tape (Griewank
// & Walther, Evaluating Derivatives, 2008). A tensor that the loss does not depend on
// gets zeros.
func (g *Graph) Grad(loss Tensor, wrt ...Tensor) []Tensor {
	grads := make([]Tensor, len(wrt))
	switch {
	case !loss.Valid():
		g.Fail("grad: the loss is absent")
	case !g.owns(loss):
		g.Fail("grad: the loss belongs to another graph")
	case loss.Shape().Elems() != 1 || loss.Spec().Element != F32:
		g.Fail("grad: the loss is %v, want one f32", loss.Spec())
	}
	for i, t := range wrt {
		if !g.owns(t) || t.Spec().Element != F32 {
			g.Fail("grad: tensor %d, %v, is not an f32 of this graph", i, t.Spec())
		}
	}
	if g.err != nil {
		return grads
	}
	r := &reverse{g, g.dependents(wrt), map[Tensor]Tensor{loss: g.Fill(1, loss.Shape()...)}}
	for id := loss.node.id; id >= 0; id-- {
		if b, ok := g.blockTo(id); ok {
			r.recompute(b)
			id = b.lo
			continue
		}
		r.backward(g.nodes[id])
	}
	for i, t := range wrt {
		if grads[i] = r.flow[t]; !grads[i].Valid() {
			grads[i] = g.Fill(0, t.Shape()...)
		}
	}
	return grads
}

// reverse is one reverse accumulation.
type reverse struct {
	g     *Graph
	needs []bool            // by place in the tape: nodes that depend on what the gradient is wanted of
	flow  map[Tensor]Tensor // the gradients of tensors, as far as their readers have been passed
}

// flows reports whether a gradient has reached n.
func (r *reverse) flows(n *Node) bool {
	for i := range n.Out {
		if r.flow[Tensor{n, i}].Valid() {
			return true
		}
	}
	return false
}

// backward computes the gradients of n's inputs from those of its outputs and adds
// them to what has reached the inputs so far.
func (r *reverse) backward(n *Node) {
	if !r.needs[n.id] || len(n.In) == 0 || !r.flows(n) {
		return
	}
	if n.Op.VJP == nil {
		r.g.Fail("%s in %s is not differentiable", n.Op.Name, n.Scope)
		return
	}
	dy := make([]Tensor, len(n.Out))
	for i := range dy {
		dy[i] = r.flow[Tensor{n, i}]
	}
	defer r.g.Scope("grad." + n.Scope)()
	for i, dx := range n.Op.VJP(r.g, n, dy) {
		x := n.In[i]
		if !dx.Valid() || !x.Valid() || !r.needs[x.node.id] {
			continue
		}
		if sum, ok := r.flow[x]; ok {
			dx = r.g.Add(sum, dx)
		}
		r.flow[x] = dx
	}
}

// dependents marks, by place in the tape, every node that depends on one of wrt.
func (g *Graph) dependents(wrt []Tensor) []bool {
	needs := make([]bool, len(g.nodes))
	for _, t := range wrt {
		needs[t.node.id] = true
	}
	for id, n := range g.nodes {
		for _, x := range n.In {
			needs[id] = needs[id] || x.Valid() && needs[x.node.id]
		}
	}
	return needs
}
