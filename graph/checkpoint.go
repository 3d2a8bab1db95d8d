package graph

import "slices"

// Gradient checkpointing (Chen et al., Training Deep Nets with Sublinear Memory Cost,
// 2016): what a block computes is computed once more when its gradient is, so that
// only the blocks' inputs are kept from the forward pass until then.

// block is a range of the tape.
type block struct{ lo, hi int }

// Block is Module. Where g.Checkpointing is set, Grad computes its nodes again instead of
// keeping them. A block within another is recomputed with the outer one.
func (g *Graph) Block(name string, forward func() Tensor) Tensor {
	if !g.Checkpointing {
		return g.Module(name, forward)
	}
	lo := len(g.nodes)
	t := g.Module(name, forward)
	g.blocks = slices.DeleteFunc(g.blocks, func(b block) bool { return b.lo >= lo })
	g.blocks = append(g.blocks, block{lo, len(g.nodes)})
	return t
}

// blockTo returns the block whose last node is at id.
func (g *Graph) blockTo(id int) (block, bool) {
	i, ok := slices.BinarySearchFunc(g.blocks, id+1, func(b block, hi int) int { return b.hi - hi })
	if !ok {
		return block{}, false
	}
	return g.blocks[i], true
}

// recompute records the nodes of b a second time and passes the gradients of the
// block's outputs on, through the second copy, to the block's inputs. So the backward
// pass reads the copy, and nothing keeps the first one in memory.
func (r *reverse) recompute(b block) {
	nodes := r.g.nodes[b.lo:b.hi]
	if !slices.ContainsFunc(nodes, func(n *Node) bool { return r.needs[n.id] && r.flows(n) }) {
		return
	}
	again := map[Tensor]Tensor{}
	for _, n := range nodes {
		if n.Op == inputOp || n.Op == stateOp || n.into != nil { // a State is assigned once
			continue
		}
		c := r.g.again(n, again)
		r.needs = append(r.needs, make([]bool, c.id+1-len(r.needs))...)
		r.needs[c.id] = r.needs[n.id]
		for i := range n.Out {
			again[Tensor{n, i}] = Tensor{c, i}
			if dy, ok := r.flow[Tensor{n, i}]; ok {
				r.flow[Tensor{c, i}] = dy
			}
		}
	}
	for _, n := range slices.Backward(nodes) {
		if c := again[Tensor{n, 0}]; c.Valid() {
			r.backward(c.node)
		}
	}
	for t, c := range again {
		if dy, ok := r.flow[c]; ok {
			r.flow[t] = dy
		}
	}
}

// again records a copy of n. Inputs that were copied themselves are replaced by their
// copies in renamed.
func (g *Graph) again(n *Node, renamed map[Tensor]Tensor) *Node {
	c := &Node{Op: n.Op, In: slices.Clone(n.In), Out: n.Out, Attr: n.Attr, Scope: n.Scope, g: g, id: len(g.nodes)}
	for i, t := range c.In {
		if to, ok := renamed[t]; ok {
			c.In[i] = to
		}
	}
	g.nodes = append(g.nodes, c)
	return c
}
