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
// Within a colour, activations whose lives do not overlap share memory. What a run
// leaves to the next has colours of its own, the last ones.

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
	kept        bool // from one run to the next: steps that run once make it
	arena       int  // the buffer, when allocated
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
	kept        []bool    // by color
	arenas      []int64
	shared      int // how many arenas there are before those of kept activations
}

// plan colours and places all activations, and returns the bytes that the
// colouring needs at least: the sum over colours of the most that is alive. The
// outputs of Joins live long and forbid their colour to what their makers read. Where
// the first few of them have one colour and the others a second, the activations of
// one tower may find room where the gradients of another will be: plan tries every
// number of first ones, then also the largest activations first, and keeps the smallest
// plan.
func (p *planner) plan() (bound int64, err error) {
	joins := 0
	for i := range p.activations {
		a := &p.activations[i]
		a.joined = a.joined && !a.kept
		if a.joined {
			joins++
		}
	}
	best := p.attempt(joins, byFirst)
	try := func(q *planner) {
		if q.bytes() < best.bytes() {
			best = q
		}
	}
	for first := 1; first < joins; first++ {
		try(p.attempt(first, byFirst))
	}
	try(p.attempt(joins, bySize))
	*p = *best
	for c, load := range p.load {
		if !p.kept[c] {
			bound += slices.Max(load)
		}
	}
	return bound, p.check()
}

// bytes is the memory that a plan takes.
func (p *planner) bytes() (sum int64) {
	for _, arena := range p.arenas {
		sum += arena
	}
	return sum
}

// attempt makes a plan in which the first outputs of Joins get colour 0 and the other
// outputs of Joins colour 1, both unless a step forbids it. All others follow in order.
func (p *planner) attempt(first int, order func(a, b activation) int) *planner {
	q := &planner{activations: slices.Clone(p.activations), steps: p.steps}
	turns := make([]int, len(q.activations))
	for i := range turns {
		turns[i] = i
		q.activations[i].color = -1
	}
	slices.SortStableFunc(turns, func(i, j int) int {
		a, b := q.activations[i], q.activations[j]
		// Joins live long: what does not finds room beside them.
		return cmp.Or(compare(a.kept, b.kept), compare(b.joined, a.joined), order(a, b))
	})
	for n, i := range turns {
		switch {
		case !q.activations[i].joined:
			q.paint(i, -1)
		case n < first:
			q.paint(i, 0)
		default:
			q.paint(i, 1)
		}
	}
	for c := range q.load {
		q.assignOffsets(c)
		if !q.kept[c] {
			q.shared = len(q.arenas)
		}
	}
	return q
}

// byFirst orders activations as they are made.
func byFirst(a, b activation) int { return cmp.Compare(a.first, b.first) }

// bySize orders the largest first: what is small finds room beside them.
func bySize(a, b activation) int { return cmp.Or(cmp.Compare(b.size, a.size), byFirst(a, b)) }

// compare orders false before true.
func compare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// paint gives activation i the wanted colour. Where a step forbids it, or wanted is
// -1, i gets the colour whose memory grows the least.
func (p *planner) paint(i, wanted int) {
	a := &p.activations[i]
	forbidden := p.forbidden(i)
	a.color = wanted
	if wanted < 0 || forbidden[wanted] {
		a.color = p.least(*a, forbidden)
	}
	if a.color == len(p.load) {
		p.load = append(p.load, make([]int64, len(p.steps)+1))
		p.kept = append(p.kept, a.kept)
	}
	for s := a.first; s <= a.last; s++ {
		p.load[a.color][s] += a.size
	}
}

// least is the colour that grows the least by a, a new one where all are forbidden.
func (p *planner) least(a activation, forbidden map[int]bool) int {
	best, growth := len(p.load), int64(0)
	for c, load := range p.load {
		if forbidden[c] || p.kept[c] != a.kept {
			continue
		}
		g := max(0, slices.Max(load[a.first:a.last+1])+a.size-slices.Max(load))
		if best == len(p.load) || g < growth {
			best, growth = c, g
		}
	}
	return best
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
	var allocated []int
	for _, i := range order {
		a := &p.activations[i]
		for a.arena = base; ; a.arena++ {
			if a.arena == len(p.arenas) {
				p.arenas = append(p.arenas, 0)
			}
			a.offset = p.lowest(*a, allocated)
			if a.offset == 0 || a.offset+a.size <= maxArena {
				break
			}
		}
		p.arenas[a.arena] = max(p.arenas[a.arena], a.offset+a.size)
		allocated = append(allocated, i)
	}
}

// lowest is the lowest offset in a's arena at which a fits between the allocated
// activations whose lives overlap a's.
func (p *planner) lowest(a activation, allocated []int) int64 {
	var busy []activation
	for _, i := range allocated {
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
