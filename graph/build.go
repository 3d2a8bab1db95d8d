package graph

import (
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// Build lowers what outs and the assigns need into a Program. It returns the
// first misuse recorded on the graph.
func (g *Graph) Build(outs ...Tensor) (*Program, error) {
	if g.err != nil {
		return nil, g.err
	}
	live, err := g.live(outs)
	if err != nil {
		return nil, err
	}
	if err := g.checkStale(live); err != nil {
		return nil, err
	}
	b := &builder{
		g:     g,
		live:  live,
		prog:  &Program{Params: map[*State]*Param{}},
		slots: map[Tensor]Slot{},
		last:  map[Tensor]int{},
		index: map[*State]int{},
	}
	b.lifetimes(outs)
	for id, n := range g.nodes {
		if !live[id] {
			continue
		}
		if err := b.node(n); err != nil {
			return nil, fmt.Errorf("%s.%s: %w", n.Scope, n.Op.Name, err)
		}
	}
	for _, t := range outs {
		b.prog.Outputs = append(b.prog.Outputs, Binding{Spec: t.Spec(), Slot: b.slots[root(t)]})
	}
	return b.prog, nil
}

// checkStale refuses a handle of a state that is used after the state was
// assigned: it would read the new value.
func (g *Graph) checkStale(live []bool) error {
	stale := map[Tensor]bool{}
	handles := map[*State]Tensor{}
	for id, n := range g.nodes {
		if !live[id] {
			continue
		}
		for _, t := range n.In {
			if t.Valid() && stale[root(t)] {
				return fmt.Errorf("%s.%s uses state %s as it was before it was assigned", n.Scope, n.Op.Name, root(t).node.Attr.(*State).Name)
			}
		}
		switch n.Op {
		case stateOp:
			handles[n.Attr.(*State)] = Tensor{n, 0}
		case assignOp:
			if h, ok := handles[n.Attr.(*State)]; ok {
				stale[h] = true
			}
		}
	}
	return nil
}

// root follows reshapes to the tensor whose memory t shares.
func root(t Tensor) Tensor {
	for t.node.Op == reshapeOp {
		t = t.node.In[0]
	}
	return t
}

type builder struct {
	g     *Graph
	live  []bool
	prog  *Program
	slots map[Tensor]Slot
	last  map[Tensor]int // node that reads a root tensor last; none: it is never read
	index map[*State]int
	free  []int // arena buffers that hold nothing
}

// lifetimes finds each tensor's last reader and which outputs are read at all.
func (b *builder) lifetimes(outs []Tensor) {
	for id, n := range b.g.nodes {
		n.used = make([]bool, len(n.Out))
		if !b.live[id] {
			continue
		}
		for _, t := range n.In {
			if t.Valid() {
				t.node.used[t.out] = true
				b.last[root(t)] = id
			}
		}
	}
	for _, t := range outs {
		t.node.used[t.out] = true
		b.last[root(t)] = len(b.g.nodes)
	}
}

func (b *builder) node(n *Node) error {
	switch n.Op {
	case reshapeOp:
		return nil
	case inputOp:
		s := Slot{SpaceInput, len(b.prog.Inputs), n.Out[0].Bytes()}
		b.slots[Tensor{n, 0}] = s
		b.prog.Inputs = append(b.prog.Inputs, Binding{n.Attr.(string), n.Out[0], s})
		return nil
	case stateOp:
		b.slots[Tensor{n, 0}] = b.state(n.Attr.(*State))
		return nil
	case assignOp:
		b.slots[Tensor{n, 0}] = b.state(n.Attr.(*State))
	default:
		for i, spec := range n.Out {
			b.slots[Tensor{n, i}] = b.alloc(spec.Bytes())
		}
	}
	for _, l := range n.Op.Lower(n) {
		if err := b.launch(n, l); err != nil {
			return err
		}
	}
	b.release(n)
	return nil
}

func (b *builder) state(s *State) Slot {
	i, ok := b.index[s]
	if !ok {
		i = len(b.prog.States)
		b.index[s] = i
		b.prog.States = append(b.prog.States, s)
		if p := b.g.params[s]; p != nil {
			b.prog.Params[s] = p
		}
	}
	return Slot{SpaceState, i, s.Bytes()}
}

// alloc takes the smallest free buffer that holds size, or widens the largest
// free one, or adds one: a tensor has a buffer to itself while it lives, so no
// dispatch reads and writes the same one.
func (b *builder) alloc(size int64) Slot {
	best := -1
	for i, f := range b.free {
		if best < 0 || b.better(f, b.free[best], size) {
			best = i
		}
	}
	if best < 0 {
		b.prog.Arena = append(b.prog.Arena, size)
		return Slot{SpaceArena, len(b.prog.Arena) - 1, size}
	}
	f := b.free[best]
	b.free = slices.Delete(b.free, best, best+1)
	b.prog.Arena[f] = max(b.prog.Arena[f], size)
	return Slot{SpaceArena, f, size}
}

// better reports whether buffer x suits size more than y does.
func (b *builder) better(x, y int, size int64) bool {
	bx, by := b.prog.Arena[x], b.prog.Arena[y]
	if bx >= size && by >= size {
		return bx < by
	}
	return bx > by
}

// release frees what n read last, and those of its outputs that nobody reads.
func (b *builder) release(n *Node) {
	free := func(t Tensor) {
		if s := b.slots[t]; s.Space == SpaceArena && b.last[t] <= n.id && !slices.Contains(b.free, s.Index) {
			b.free = append(b.free, s.Index)
		}
	}
	for _, t := range n.In {
		if t.Valid() {
			free(root(t))
		}
	}
	for i := range n.Out {
		if t := (Tensor{n, i}); b.last[t] == 0 {
			free(t)
		}
	}
}

// fold is the widest row of workgroups; kernels undo it in group_index.
const fold = 32768

func (b *builder) launch(n *Node, l Launch) error {
	k, err := shaders.Load(l.Kernel)
	if err != nil {
		return err
	}
	first := len(k.Bindings) - len(l.Args)
	if len(l.Params) != len(k.Params) || first != min(1, len(k.Params)) {
		return fmt.Errorf("kernel %s takes %d params and %d storage bindings, got %d and %d",
			l.Kernel, len(k.Params), len(k.Bindings)-min(1, len(k.Params)), len(l.Params), len(l.Args))
	}
	if l.Groups <= 0 || l.Groups > fold*65535 {
		return fmt.Errorf("kernel %s: %d workgroups", l.Kernel, l.Groups)
	}
	s := Step{Scope: n.Scope, Op: n.Op.Name, Kernel: k, Params: l.Params, Groups: [2]uint32{uint32(l.Groups), 1}}
	if l.Groups > fold {
		s.Groups = [2]uint32{fold, uint32(Ceil(l.Groups, fold))}
	}
	written := map[Slot]bool{}
	for i, a := range l.Args {
		slot, err := b.arg(n, a, k.Bindings[first+i])
		if err != nil {
			return fmt.Errorf("kernel %s: %w", l.Kernel, err)
		}
		if k.Bindings[first+i].Access == shaders.ReadWrite && slot.Space != SpaceNone {
			if written[slot] {
				return fmt.Errorf("kernel %s writes one tensor through two bindings", l.Kernel)
			}
			written[slot] = true
		}
		s.Slots = append(s.Slots, slot)
	}
	b.prog.Steps = append(b.prog.Steps, s)
	return nil
}

func (b *builder) arg(n *Node, a Arg, k shaders.Binding) (Slot, error) {
	switch {
	case a.kind == argNone || a.kind == argIn && !n.In[a.index].Valid():
		return Slot{}, nil
	case a.kind == argOut:
		return b.slots[Tensor{n, a.index}], nil
	case k.Access != shaders.Read:
		return Slot{}, fmt.Errorf("input %d is bound to %s, which the kernel writes", a.index, k.Name)
	}
	return b.slots[root(n.In[a.index])], nil
}
