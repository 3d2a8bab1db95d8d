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
	needs := g.dependents(wrt)
	flow := map[Tensor]Tensor{loss: g.Fill(1, loss.Shape()...)}
	for id := loss.node.id; id >= 0; id-- {
		if n := g.nodes[id]; needs[id] && len(n.In) > 0 {
			g.backward(n, needs, flow)
		}
	}
	for i, t := range wrt {
		if grads[i] = flow[t]; !grads[i].Valid() {
			grads[i] = g.Fill(0, t.Shape()...)
		}
	}
	return grads
}

// backward moves what flows into n's outputs to its inputs.
func (g *Graph) backward(n *Node, needs []bool, flow map[Tensor]Tensor) {
	dy := make([]Tensor, len(n.Out))
	any := false
	for i := range dy {
		dy[i] = flow[Tensor{n, i}]
		any = any || dy[i].Valid()
	}
	if !any {
		return
	}
	if n.Op.VJP == nil {
		g.Fail("%s in %s is not differentiable", n.Op.Name, n.Scope)
		return
	}
	end := g.Scope("grad." + n.Scope)
	defer end()
	for i, dx := range n.Op.VJP(g, n, dy) {
		x := n.In[i]
		if !dx.Valid() || !x.Valid() || !needs[x.node.id] {
			continue
		}
		if sum, ok := flow[x]; ok {
			dx = g.Add(sum, dx)
		}
		flow[x] = dx
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
