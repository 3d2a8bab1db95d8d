package graph

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// The planner gives every activation a place in a few arenas. A dispatch must
// not read and write one buffer, so activations are coloured: those that a step
// reads and those that it writes differ in colour, and a colour is an arena.
// Within a colour, activations whose lives do not overlap share memory.

const (
	// alignment is WebGPU's default minStorageBufferOffsetAlignment.
	alignment = 256
	// maxArena is WebGPU's default maxBufferSize; an arena beyond it is split.
	maxArena = 256 << 20
)

// activation is one tensor in the arenas.
type activation struct {
	size        int64 // rounded up to the alignment, with the guard
	first, last int   // the steps that touch it
	color       int
	joined      bool // the output of a Join
	arena       int  // the buffer, when placed
	offset      int64
}

// touch is one step's use of an activation.
type touch struct {
	activation int
	write      bool
}

// planner places activations.
type planner struct {
	activations []activation
	steps       [][]touch
	load        [][]int64 // by color and step: bytes alive
	arenas      []int64
}

// plan colours and places all activations, and returns the bytes that the
// colouring needs at least: the sum over colours of the most that is alive.
func (p *planner) plan() (bound int64, err error) {
	order := make([]int, len(p.activations))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		a, b := p.activations[i], p.activations[j]
		if a.joined == b.joined {
			return cmp.Compare(a.first, b.first)
		}
		if a.joined { // they live long: what does not finds room beside them
			return -1
		}
		return 1
	})
	for i := range p.activations {
		p.activations[i].color = -1
	}
	for _, i := range order {
		p.paint(i)
	}
	for c, load := range p.load {
		bound += slices.Max(load)
		p.assignOffsets(c)
	}
	return bound, p.check()
}

// paint gives activation i the colour that grows the least of those that no
// step forbids.
func (p *planner) paint(i int) {
	a := &p.activations[i]
	forbidden := p.forbidden(i)
	best, growth := -1, int64(0)
	for c, load := range p.load {
		if forbidden[c] {
			continue
		}
		g := max(0, slices.Max(load[a.first:a.last+1])+a.size-slices.Max(load))
		if best < 0 || g < growth {
			best, growth = c, g
		}
	}
	if best < 0 {
		best = len(p.load)
		p.load = append(p.load, make([]int64, len(p.steps)+1))
	}
	a.color = best
	for s := a.first; s <= a.last; s++ {
		p.load[best][s] += a.size
	}
}

// forbidden are the colours of what some step reads where it writes i, or
// writes where it reads i.
func (p *planner) forbidden(i int) map[int]bool {
	colors := map[int]bool{}
	a := p.activations[i]
	for s := a.first; s <= min(a.last, len(p.steps)-1); s++ {
		for _, mine := range p.steps[s] {
			if mine.activation != i {
				continue
			}
			for _, other := range p.steps[s] {
				if other.activation != i && other.write != mine.write {
					colors[p.activations[other.activation].color] = true
				}
			}
		}
	}
	return colors
}

// assignOffsets finds offsets within a colour: the largest first, each at the lowest
// offset that is free all its life (Pisarchyk & Lee, 2020).
func (p *planner) assignOffsets(color int) {
	var order []int
	for i, a := range p.activations {
		if a.color == color {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(p.activations[b].size, p.activations[a].size)
	})
	base := len(p.arenas)
	var placed []int
	for _, i := range order {
		a := &p.activations[i]
		for a.arena = base; ; a.arena++ {
			if a.arena == len(p.arenas) {
				p.arenas = append(p.arenas, 0)
			}
			a.offset = p.lowest(*a, placed)
			if a.offset == 0 || a.offset+a.size <= maxArena {
				break
			}
		}
		p.arenas[a.arena] = max(p.arenas[a.arena], a.offset+a.size)
		placed = append(placed, i)
	}
}

// lowest is the lowest offset in a's arena that nothing placed uses during a's life.
func (p *planner) lowest(a activation, placed []int) int64 {
	var busy []activation
	for _, i := range placed {
		if b := p.activations[i]; b.arena == a.arena && b.first <= a.last && a.first <= b.last {
			busy = append(busy, b)
		}
	}
	slices.SortFunc(busy, func(x, y activation) int { return cmp.Compare(x.offset, y.offset) })
	offset := int64(0)
	for _, b := range busy {
		if offset+a.size <= b.offset {
			break
		}
		offset = max(offset, b.offset+b.size)
	}
	return offset
}

// check asserts what WebGPU does not: that no step binds overlapping ranges, or
// one buffer both to read and to write.
func (p *planner) check() error {
	for s, touches := range p.steps {
		for i, x := range touches {
			for _, y := range touches[:i] {
				a, b := p.activations[x.activation], p.activations[y.activation]
				if a.arena != b.arena || x.activation == y.activation && !x.write && !y.write {
					continue
				}
				if x.write != y.write || a.offset < b.offset+b.size && b.offset < a.offset+a.size {
					return fmt.Errorf("plan: step %d binds overlapping activations", s)
				}
			}
		}
	}
	for i, a := range p.activations {
		for _, b := range p.activations[:i] {
			if a.arena == b.arena && a.first <= b.last && b.first <= a.last && a.offset < b.offset+b.size && b.offset < a.offset+a.size {
				return errors.New("plan: two activations overlap while alive")
			}
		}
	}
	return nil
}
