package graph

import (
	"fmt"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// Program is what Build makes of a tape: steps to replay in order, and the
// memory they work in. It is read-only and may be loaded on several devices.
type Program struct {
	Target  Target // that it is built for
	Steps   []Step
	Once    int     // the first of Steps, which depend on States alone: they run when one of these has been written
	Arena   []int64 // bytes of each activation buffer; no step reads and writes the same one
	Kept    []int64 // bytes of each buffer for what the first Once steps make and later runs read
	Inputs  []Binding
	Outputs []Binding
	States  []*State
	Params  map[*State]*Param // the sources of those States that are parameters

	ArenaBound int64 // bytes: Arena's sum is at least this, the most that is alive at once in each buffer, added up
	Guard      int64 // bytes behind every activation that no step touches
}

// Binding is a named value that crosses the Program's border.
type Binding struct {
	Name string // of an input; an output is known by its place
	Spec
	Slots []Slot // one after the other; of an output longer than Target.MaxBinding, several
}

// Step is one dispatch.
type Step struct {
	Scope  string // the layer that recorded it
	Op     string
	Class  string // of the problem that a variant was chosen for; "" where there is one kernel only
	Kernel *shaders.Kernel
	Params []uint32
	Slots  []Slot    // by storage binding, the first of which is 1, or 0 in a kernel without Params
	Groups [2]uint32 // workgroups in x and y; see the kernels' group_index
	FLOPs  int64     // twice the multiplications of a matrix product, 0 for other kernels

	// What the op reads and makes, for those who look at steps one by one: nil but
	// with check or dump in CLIPWGPU. An op's steps follow one another.
	Node    *Node
	In, Out []Binding // as Node has them, without Slots where nothing is read or made
}

// Space says which memory a Slot lies in.
type Space uint8

const (
	SpaceNone  Space = iota // a dummy, absent on purpose
	SpaceArena              // Program.Arena[Index]
	SpaceInput              // Program.Inputs[Index]
	SpaceState              // Program.States[Index]
	SpaceKept               // Program.Kept[Index]
)

// Slot is a place in the Program's memory: Bytes from Offset on in one buffer.
type Slot struct {
	Space  Space
	Index  int
	Offset int64 // a multiple of 256
	Bytes  int64
}

func (s Slot) String() string {
	switch {
	case s.Space == SpaceNone:
		return "-"
	case s.Offset > 0:
		return fmt.Sprintf("%c%d+%d", " aisk"[s.Space], s.Index, s.Offset)
	}
	return fmt.Sprintf("%c%d", " aisk"[s.Space], s.Index)
}

// Only returns a Program of some of p's steps, ascending and none that runs once, to time
// them alone: it has no outputs, and of the inputs and States those that these steps touch.
// What other steps would have made is what the memory happens to hold.
func (p *Program) Only(steps ...int) *Program {
	q := *p
	q.Steps, q.Once, q.Inputs, q.States, q.Outputs = nil, 0, nil, nil, nil
	inputs, states := map[int]int{}, map[*State]int{}
	for _, i := range steps {
		s := p.Steps[i]
		s.Node, s.In, s.Out = nil, nil, nil
		s.Slots = slices.Clone(s.Slots)
		for j := range s.Slots {
			slot := &s.Slots[j]
			switch slot.Space {
			case SpaceInput:
				at, ok := inputs[slot.Index]
				if !ok {
					at = len(q.Inputs)
					inputs[slot.Index] = at
					in := p.Inputs[slot.Index]
					in.Slots = []Slot{{Space: SpaceInput, Index: at, Bytes: in.Bytes()}}
					q.Inputs = append(q.Inputs, in)
				}
				slot.Index = at
			case SpaceState:
				slot.Index = q.addState(states, p.States[slot.Index])
			}
		}
		q.Steps = append(q.Steps, s)
	}
	return &q
}

// addState gives the place of s, and of its parts, among p's States.
func (p *Program) addState(places map[*State]int, s *State) int {
	at, ok := places[s]
	if !ok {
		at = len(p.States)
		places[s] = at
		p.States = append(p.States, s)
		for _, part := range s.Parts {
			p.addState(places, part)
		}
	}
	return at
}

// ArenaBytes is the memory of all activation buffers.
func (p *Program) ArenaBytes() int64 {
	var sum int64
	for _, b := range p.Arena {
		sum += b
	}
	return sum
}

// Dispatches counts the steps of every run.
func (p *Program) Dispatches() int { return len(p.Steps) - p.Once }

// KeptBytes is the memory of what steps that run once make.
func (p *Program) KeptBytes() int64 {
	var sum int64
	for _, b := range p.Kept {
		sum += b
	}
	return sum
}

// FLOPs counts what the matrix products of every run compute, as model profiles do: two for a
// multiplication and its addition, attention in full where a mask hides part of it.
func (p *Program) FLOPs() int64 {
	var sum int64
	for _, s := range p.Steps[p.Once:] {
		sum += s.FLOPs
	}
	return sum
}

// String lists the program, one line a step: what it binds (a: activation,
// i: input, s: state, k: kept from run to run), the kernel, its workgroups and the layer
// it came from.
func (p *Program) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d steps, %d activation buffers of %d bytes, %d states\n", len(p.Steps), len(p.Arena), p.ArenaBytes(), len(p.States))
	if p.Once > 0 {
		fmt.Fprintf(&b, "%d steps run once, %d buffers of %d bytes keep what they make\n", p.Once, len(p.Kept), p.KeptBytes())
	}
	for i, in := range p.Inputs {
		fmt.Fprintf(&b, "i%d = %s %v\n", i, in.Name, in.Spec)
	}
	for i, s := range p.States {
		fmt.Fprintf(&b, "s%d = %s %v", i, s.Name, s.Spec)
		if s.Packed() {
			fmt.Fprintf(&b, " packed as %v", s.Format)
		}
		if s.Parts != nil {
			fmt.Fprintf(&b, " holding %d states", len(s.Parts))
		}
		b.WriteString("\n")
	}
	for i, s := range p.Steps {
		if p.Once > 0 && i == 0 {
			b.WriteString("once:\n")
		} else if p.Once > 0 && i == p.Once {
			b.WriteString("every run:\n")
		}
		slots := make([]string, len(s.Slots))
		for j, slot := range s.Slots {
			slots[j] = slot.String()
		}
		fmt.Fprintf(&b, "%4d %-44s %-28s %4d×%d  %s.%s\n", i, s.Kernel.Name, strings.Join(slots, " "), s.Groups[0], s.Groups[1], s.Scope, s.Op)
	}
	for i, out := range p.Outputs {
		fmt.Fprintf(&b, "output %d = %s %v\n", i, strings.Trim(fmt.Sprint(out.Slots), "[]"), out.Spec)
	}
	return b.String()
}
