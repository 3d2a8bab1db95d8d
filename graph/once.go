package graph

import (
	"slices"

	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// What depends on States alone is the same in every run until somebody writes them. Build
// puts the steps that compute it first, and what they make in memory of its own. It does
// so only where that takes no more room than what is read: a position embedding that is
// repeated for every picture of a batch is made in every run.

// hoist moves the steps that run once to the front.
func (b *builder) hoist() {
	once := b.once()
	for i, touches := range b.planner.steps {
		if once[i] {
			b.prog.Once++
			for _, t := range touches {
				b.planner.activations[t.activation].kept = true
			}
		}
	}
	b.prog.Steps = partition(b.prog.Steps, once)
	b.operands = partition(b.operands, once)
	b.nodes = partition(b.nodes, once)
	b.planner.steps = partition(b.planner.steps, once)
}

// partition returns those of list that are marked, then the others.
func partition[T any](list []T, marked []bool) []T {
	var first, rest []T
	for i, x := range list {
		if marked[i] {
			first = append(first, x)
		} else {
			rest = append(rest, x)
		}
	}
	return append(first, rest...)
}

// once marks the steps that run once. There are none with the switches that look at ops
// one by one, whose steps have to stay together, or that turn planning off.
func (b *builder) once() []bool {
	once := make([]bool, len(b.prog.Steps))
	if b.g.debug.Watches() || b.g.debug.NoPlan {
		return once
	}
	sources := make([]int64, len(b.planner.activations)) // the room of what their makers read
	written := make([]int, len(b.planner.activations))   // the last step that writes each
	for i, touches := range b.planner.steps {
		var read int64
		read, once[i] = b.constants(i)
		for _, t := range touches {
			if t.write {
				sources[t.activation] += read
				written[t.activation] = i
			}
		}
	}
	varies := make([]bool, len(b.planner.activations))
	for a, room := range sources {
		varies[a] = b.planner.activations[a].size > room
	}
	for changed := true; changed; {
		changed = false
		for i, touches := range b.planner.steps {
			for _, t := range touches {
				switch v := &varies[t.activation]; {
				case once[i] && *v: // it reads what differs from run to run
					once[i], changed = false, true
				case !once[i] && i <= written[t.activation] && !*v: // it writes, or reads what is not finished
					*v, changed = true, true
				}
			}
		}
	}
	return once
}

// constants reports whether step i binds neither inputs nor States that this or another
// step writes, and how much room what it reads would take.
func (b *builder) constants(i int) (room int64, only bool) {
	only = true
	bindings := b.prog.Steps[i].Kernel.Bindings
	first := len(bindings) - len(b.operands[i])
	for j, t := range b.operands[i] {
		if !t.Valid() {
			continue
		}
		if bindings[first+j].Access != shaders.ReadWrite {
			room += b.room(t)
		}
		switch s := b.fixed[t.Tensor]; s.Space {
		case SpaceInput:
			only = false
		case SpaceState:
			only = only && !slices.ContainsFunc(b.written, b.prog.States[s.Index].shares)
		}
	}
	return room, only
}
