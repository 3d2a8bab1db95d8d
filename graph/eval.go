package graph

import (
	"fmt"
	"slices"
)

// Eval computes outs on the CPU in float64 with every op's Ref: what finite
// differences and the tests of the kernels compare with. inputs are by name; state
// holds the values of each State and receives those that are assigned. All values are
// row-major; the result has those of each of outs.
func (g *Graph) Eval(inputs map[string][]float64, state map[*State][]float64, outs ...Tensor) ([][]float64, error) {
	if g.err != nil {
		return nil, g.err
	}
	live, err := g.live(outs)
	if err != nil {
		return nil, err
	}
	values := make([][][]float64, len(g.nodes))
	for id, n := range g.nodes {
		if !live[id] {
			continue
		}
		if values[id], err = n.eval(inputs, state, values); err != nil {
			return nil, err
		}
		for i, s := range n.into {
			if s.Parts != nil {
				s.setParts(state, values[id][i])
			} else {
				state[s] = values[id][i]
			}
		}
	}
	result := make([][]float64, len(outs))
	for i, t := range outs {
		result[i] = values[t.node.id][t.out]
	}
	return result, nil
}

func (n *Node) eval(inputs map[string][]float64, state map[*State][]float64, values [][][]float64) ([][]float64, error) {
	switch n.Op {
	case inputOp:
		return leafValue(n, inputs[n.Attr.(string)])
	case stateOp:
		if s := n.Attr.(*State); s.Parts != nil {
			return leafValue(n, s.partsOf(state))
		}
		return leafValue(n, state[n.Attr.(*State)])
	}
	in := make([][]float64, len(n.In))
	for i, t := range n.In {
		if t.Valid() {
			in[i] = values[t.node.id][t.out]
		}
	}
	out := make([][]float64, len(n.Out))
	for i, s := range n.Out {
		out[i] = make([]float64, s.Shape.Elems())
	}
	n.Op.Ref(n, in, out)
	return out, nil
}

func leafValue(n *Node, v []float64) ([][]float64, error) {
	if len(v) != n.Out[0].Shape.Elems() {
		return nil, fmt.Errorf("%s %v has %d values, want %v", n.Op.Name, n.Attr, len(v), n.Out[0])
	}
	return [][]float64{v}, nil
}

// live marks the nodes that outs and the new values of States depend on. It goes
// backwards through the tape.
func (g *Graph) live(outs []Tensor) ([]bool, error) {
	if g.Pure {
		if err := g.checkPure(); err != nil {
			return nil, err
		}
	}
	live := make([]bool, len(g.nodes))
	for i, t := range outs {
		if !t.Valid() || t.node.g != g {
			return nil, fmt.Errorf("output %d is not a tensor of this graph", i)
		}
		live[t.node.id] = true
	}
	for id := len(g.nodes) - 1; id >= 0; id-- {
		n := g.nodes[id]
		if n.into != nil && !g.Pure {
			live[id] = true
		}
		if !live[id] {
			continue
		}
		for _, t := range n.In {
			if t.Valid() {
				live[t.node.id] = true
			}
		}
	}
	return live, nil
}

// checkPure refuses what reads a State's new value, as it would not be there.
func (g *Graph) checkPure() error {
	var changed []*State
	for _, n := range g.nodes {
		for _, t := range n.In {
			if t.Valid() && t.node.into != nil {
				return fmt.Errorf("%s.%s reads what %s has changed, which a pure graph leaves as it is", n.Scope, n.Op.Name, t.node.into[0].Name)
			}
		}
		if n.Op == stateOp && slices.ContainsFunc(changed, n.Attr.(*State).shares) {
			return fmt.Errorf("%s reads %s after it has changed, which a pure graph leaves as it is", n.Scope, n.Attr.(*State).Name)
		}
		changed = append(changed, n.into...)
	}
	return nil
}
