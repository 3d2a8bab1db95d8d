package graph

import (
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// Build lowers what outs and the assigns need into a Program: it prunes, fuses,
// lowers every op to kernels and plans the activations. Its error is the first misuse
// recorded on the graph, a *SizeError where a tensor is too long for a kernel, or says
// what else does not fit.
func (g *Graph) Build(outs ...Tensor) (*Program, error) {
	if g.err != nil {
		return nil, g.err
	}
	live, err := g.live(outs)
	if err != nil {
		return nil, err
	}
	if err := g.checkStale(live, outs); err != nil {
		return nil, err
	}
	for i, t := range outs {
		if s := t.State(); s != nil && s.Packed() {
			return nil, fmt.Errorf("output %d is %s, which is packed as %v", i, s.Name, s.Format)
		}
	}
	nodes, outs := g.fuse(live, outs)
	markUsed(nodes, outs)
	b := &builder{
		g:      g,
		prog:   &Program{Target: g.Target, Params: map[*State]*Param{}, Guard: g.Guard},
		fixed:  map[Tensor]Slot{},
		states: map[*State]int{},
		arena:  map[piece]int{},
		joined: g.joined(nodes, outs),
	}
	for _, n := range nodes {
		if err := b.node(n); err != nil {
			return nil, fmt.Errorf("%s.%s: %w", n.Scope, n.Op.Name, err)
		}
	}
	return b.finish(outs)
}

// checkStale refuses a handle of a state that is used after the state was
// assigned: it would read the new value.
func (g *Graph) checkStale(live []bool, outs []Tensor) error {
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
		}
		for _, s := range n.into {
			for other, h := range handles {
				if other.shares(s) {
					stale[h] = true
				}
			}
		}
	}
	for i, t := range outs {
		if stale[root(t)] {
			return fmt.Errorf("output %d is state %s as it was before it was assigned", i, root(t).node.Attr.(*State).Name)
		}
	}
	return nil
}

// markUsed notes which outputs anything reads.
func markUsed(nodes []*Node, outs []Tensor) {
	for _, n := range nodes {
		n.used = make([]bool, len(n.Out))
	}
	for _, n := range nodes {
		for _, t := range n.In {
			if t.Valid() {
				t.node.used[t.out] = true
			}
		}
	}
	for _, t := range outs {
		t.node.used[t.out] = true
	}
}

// root follows reshapes to the tensor whose memory t shares.
func root(t Tensor) Tensor {
	for t.node.Op == reshapeOp {
		t = t.node.In[0]
	}
	return t
}

// builder collects steps, and then the memory they work in.
type builder struct {
	g        *Graph
	prog     *Program
	fixed    map[Tensor]Slot // inputs and states
	states   map[*State]int
	written  []*State      // by steps
	arena    map[piece]int // activations, by their place in the planner
	joined   map[Tensor]joinOffset
	planner  planner
	operands [][]piece // by step and binding: of the root tensor, zero where absent
	nodes    []*Node   // by step
}

func (b *builder) node(n *Node) error {
	switch n.Op {
	case reshapeOp:
		return nil
	case inputOp:
		s := Slot{Space: SpaceInput, Index: len(b.prog.Inputs), Bytes: n.Out[0].Bytes()}
		b.fixed[Tensor{n, 0}] = s
		b.prog.Inputs = append(b.prog.Inputs, Binding{n.Attr.(string), n.Out[0], []Slot{s}})
		return nil
	case stateOp:
		b.fixed[Tensor{n, 0}] = b.state(n.Attr.(*State))
	}
	for i, s := range n.into {
		b.fixed[Tensor{n, i}] = b.state(s)
		b.written = append(b.written, s)
	}
	if n.Op.Lower == nil {
		return nil
	}
	launches := n.Op.Lower(n)
	if err := b.keepApart(n, launches); err != nil {
		return err
	}
	for i, l := range launches {
		if n.Op == joinOp && b.isJoined(n.In[i]) {
			continue
		}
		if err := b.launch(n, l); err != nil {
			return fmt.Errorf("kernel %s: %w", l.Kernel, err)
		}
	}
	return nil
}

func (b *builder) state(s *State) Slot {
	i, ok := b.states[s]
	if !ok {
		i = len(b.prog.States)
		b.states[s] = i
		b.prog.States = append(b.prog.States, s)
		if p := b.g.params[s]; p != nil {
			b.prog.Params[s] = p
		}
		for _, part := range s.Parts {
			b.state(part)
		}
	}
	return Slot{Space: SpaceState, Index: i, Bytes: s.Bytes()}
}

// fold is the widest row of workgroups; kernels undo it in group_index.
const fold = 4096

// launch appends the step that l asks for and notes which activations it touches.
func (b *builder) launch(n *Node, l Launch) error {
	k, err := b.g.load(l.Kernel)
	if err != nil {
		return err
	}
	first := len(k.Bindings) - len(l.Args)
	if len(l.Params) != len(k.Params) || first != min(1, len(k.Params)) {
		return fmt.Errorf("takes %d params and %d storage bindings, got %d and %d",
			len(k.Params), len(k.Bindings)-min(1, len(k.Params)), len(l.Params), len(l.Args))
	}
	groups := k.Groups(max(1, l.Batch), l.Rows, max(1, l.Cols))
	if groups <= 0 || groups > fold*65535 {
		return fmt.Errorf("%s: %d workgroups", k.Name, groups)
	}
	s := Step{Scope: n.Scope, Op: n.Op.Name, Class: n.class, Kernel: k, Params: l.Params, Groups: [2]uint32{uint32(groups), 1}, FLOPs: l.FLOPs}
	if groups > fold {
		s.Groups = [2]uint32{fold, uint32(Ceil(groups, fold))}
	}
	operands := make([]piece, len(l.Args))
	var touches []touch
	for i, a := range l.Args {
		t, err := b.piece(n.operand(a), l)
		if err != nil {
			return err
		}
		if !t.Valid() {
			continue
		}
		operands[i] = t
		write := k.Bindings[first+i].Access == shaders.ReadWrite
		if write && a.kind == argIn {
			return fmt.Errorf("input %d is bound to %s, which the kernel writes", a.index, k.Bindings[first+i].Name)
		}
		if _, ok := b.fixed[t.Tensor]; !ok {
			a, err := b.touch(t, write)
			if err != nil {
				return err
			}
			if !slices.Contains(touches, touch{a, write}) { // several outputs may be joined
				touches = append(touches, touch{a, write})
			}
		}
	}
	b.prog.Steps = append(b.prog.Steps, s)
	b.operands = append(b.operands, operands)
	b.nodes = append(b.nodes, n)
	b.planner.steps = append(b.planner.steps, touches)
	return nil
}

// operand is the tensor that an Arg stands for, zero when it is absent.
func (n *Node) operand(a Arg) Tensor {
	switch {
	case a.kind == argOut:
		return Tensor{n, a.index}
	case a.kind == argIn && n.In[a.index].Valid():
		return root(n.In[a.index])
	}
	return Tensor{}
}

// touch notes that the next step binds activation t.
func (b *builder) touch(t piece, write bool) (int, error) {
	if p, ok := b.joined[t.Tensor]; ok {
		t = piece{p.in, b.chunks(p.in)[0]}
	}
	i, ok := b.arena[t]
	if !ok {
		if !write {
			return 0, fmt.Errorf("reads output %d of %s before anything has written it", t.out, t.node.Op.Name)
		}
		i = len(b.planner.activations)
		b.planner.activations = append(b.planner.activations, activation{size: b.room(t), joined: t.node.Op == joinOp})
		b.arena[t] = i
	}
	return i, nil
}

// room is what p takes in an arena: its bytes and the guard, rounded up to the alignment.
func (b *builder) room(p piece) int64 {
	return (b.bytes(p) + b.g.Guard + alignment - 1) / alignment * alignment
}

// finish plans the memory and fills in where everything lies.
func (b *builder) finish(outs []Tensor) (*Program, error) {
	b.hoist()
	b.measureLives(outs)
	var err error
	if b.prog.ArenaBound, err = b.planner.plan(); err != nil {
		return nil, err
	}
	b.prog.Arena, b.prog.Kept = b.planner.arenas[:b.planner.shared:b.planner.shared], b.planner.arenas[b.planner.shared:]
	for s, operands := range b.operands {
		for _, t := range operands {
			b.prog.Steps[s].Slots = append(b.prog.Steps[s].Slots, b.slot(t))
		}
	}
	for _, t := range outs {
		out := Binding{Spec: t.Spec()}
		for _, c := range b.chunks(root(t)) {
			out.Slots = append(out.Slots, b.slot(piece{root(t), c}))
		}
		b.prog.Outputs = append(b.prog.Outputs, out)
	}
	if b.g.debug.Watches() {
		b.exposeNodes()
	}
	return b.prog, nil
}

// measureLives notes from which step to which each activation lives: with plan=off all
// the time. What steps that run once leave to others lives to the end.
func (b *builder) measureLives(outs []Tensor) {
	all := b.planner.activations
	for i := range all {
		all[i].first, all[i].last = len(b.prog.Steps), 0
		if b.g.debug.NoPlan {
			all[i].first, all[i].last = 0, len(b.prog.Steps)
		}
	}
	for s, touches := range b.planner.steps {
		for _, t := range touches {
			a := &all[t.activation]
			a.first, a.last = min(a.first, s), max(a.last, s)
			if a.kept && s >= b.prog.Once {
				a.last = len(b.prog.Steps)
			}
		}
	}
	for _, t := range outs {
		for _, c := range b.chunks(root(t)) {
			if i, ok := b.arena[piece{root(t), c}]; ok {
				all[i].last = len(b.prog.Steps)
			}
		}
	}
}

func (b *builder) slot(p piece) Slot {
	if !p.Valid() {
		return Slot{}
	}
	if s, ok := b.fixed[p.Tensor]; ok {
		return Slot{Space: s.Space, Index: s.Index, Offset: p.offset(), Bytes: b.bytes(p)}
	}
	bytes, offset := b.bytes(p), int64(0)
	if to, ok := b.joined[p.Tensor]; ok {
		p, offset = piece{to.in, b.chunks(to.in)[0]}, to.offset
	}
	a := b.planner.activations[b.arena[p]]
	at := Slot{Space: SpaceArena, Index: a.arena, Offset: a.offset + offset, Bytes: bytes}
	if a.kept {
		at.Space, at.Index = SpaceKept, a.arena-b.planner.shared
	}
	return at
}
