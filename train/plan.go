package train

import (
	"fmt"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// Plan is a step before it is loaded.
type Plan struct {
	Pairs, MicroBatch int   // of the step, and those that the towers see at once
	StateBytes        int64 // of device memory that stays: parameters, moments, averages, sums of gradients
	WorkBytes         int64 // that the step works in: activations, inputs, uniforms

	whole              *graph.Program
	features, backward []*graph.Program // by sizes
	loss, update       *graph.Program
}

// NewPlan plans a step of n pairs, of lengths l, for a device, which need
// not be there: with the largest micro-batch, c.MicroBatch or a half, quarter … of n,
// that fits the device's bindings and budget bytes of its memory. A budget of 0 is any.
// Where not even one pair fits, the error is a *graph.SizeError or a *gpu.MemoryError.
// Others are those of New.
func NewPlan(s Structure, target graph.Target, c Config, n int, l towers.Lengths, budget int64) (*Plan, error) {
	if n < 1 || l.Text < 1 || l.Image < 0 || budget < 0 {
		return nil, fmt.Errorf("%w: a step of %d pairs of lengths %+v in %d bytes, want a pair, a token of text, and no negative budget", clip.ErrInput, n, l, budget)
	}
	r, err := newRecipe(s, target, c)
	if err != nil {
		return nil, err
	}
	return r.largest(n, l, func(p *Plan) error {
		if need := p.StateBytes + p.WorkBytes; budget > 0 && need > budget {
			return &gpu.MemoryError{Needed: need, Allowed: budget}
		}
		return nil
	})
}

// Plan is how the trainer makes steps of n pairs of lengths l, nil where it has made none
// yet. It waits for a step in progress.
func (t *Trainer) Plan(n int, l towers.Lengths) *Plan {
	t.turn.Lock()
	defer t.turn.Unlock()
	p := t.programs[size{n, l}]
	if p == nil {
		return nil
	}
	<-p.loaded
	if p.err != nil {
		return nil
	}
	return p.step.plan
}

// largest returns the plan with the largest micro-batch that can be built and that
// accept does not find too large.
func (r *recipe) largest(n int, l towers.Lengths, accept func(*Plan) error) (*Plan, error) {
	micro := n
	if r.cfg.MicroBatch > 0 {
		micro = min(n, r.cfg.MicroBatch)
	}
	for {
		p, err := r.plan(n, l, micro)
		if err == nil {
			err = accept(p)
		}
		if err == nil {
			return p, nil
		}
		if micro == 1 || !isTooLarge(err) {
			return nil, err
		}
		micro = (micro + 1) / 2
	}
}

// plan builds the programs of a step.
func (r *recipe) plan(n int, l towers.Lengths, micro int) (p *Plan, err error) {
	p = &Plan{Pairs: n, MicroBatch: micro}
	one := func(q *graph.Program, failure error) *graph.Program {
		if err == nil {
			err = failure
		}
		return q
	}
	if micro == n {
		p.whole = one(r.program(n, l))
	} else {
		for _, pairs := range p.sizes() {
			p.backward = append(p.backward, one(r.backward(pairs, l)))
			p.features = append(p.features, one(r.features(pairs, l)))
		}
		if err == nil {
			p.loss = one(r.lossProgram(n, p.width(), graph.Ceil(n, micro)))
			p.update = one(r.update())
		}
	}
	if err != nil {
		return nil, err
	}
	p.measure()
	return p, nil
}

// sizes are the different sizes of micro-batches: the last may be smaller.
func (p *Plan) sizes() []int {
	if rest := p.Pairs % p.MicroBatch; rest > 0 {
		return []int{p.MicroBatch, rest}
	}
	return []int{p.MicroBatch}
}

// width is that of the features.
func (p *Plan) width() int { return p.features[0].Outputs[0].Shape[1] }

// Part is one Program of a Plan.
type Part struct {
	Name    string
	Runs    int // how often a step replays it
	Program *graph.Program
}

// Parts are the plan's programs, in the order in which they are loaded: the update first,
// which makes the slabs, so that no parameter is there twice, and then those of most
// memory, in which the others find theirs.
func (p *Plan) Parts() []Part {
	if p.whole != nil {
		return []Part{{fmt.Sprintf("step of %d pairs", p.Pairs), 1, p.whole}}
	}
	all := []Part{{"update", 1, p.update}}
	for i, pairs := range p.sizes() {
		runs := 1
		if i == 0 {
			runs = p.Pairs / p.MicroBatch
		}
		all = append(all, Part{fmt.Sprintf("gradients of %d pairs", pairs), runs, p.backward[i]},
			Part{fmt.Sprintf("features of %d pairs", pairs), runs, p.features[i]})
	}
	return append(all, Part{fmt.Sprintf("loss of %d pairs", p.Pairs), 1, p.loss})
}

// measure counts the bytes.
func (p *Plan) measure() {
	slabs, parts := map[*graph.State]bool{}, map[*graph.State]bool{} // of slabs the first part
	states := map[*graph.State]bool{}
	var programs []*graph.Program
	for _, part := range p.Parts() {
		programs = append(programs, part.Program)
		for _, s := range part.Program.States {
			states[s] = true
			for _, within := range s.Parts {
				parts[within] = true
			}
		}
	}
	p.WorkBytes = gpu.WorkBytes(programs...)
	for s := range states {
		switch {
		case s.Parts != nil && slabs[s.Parts[0]] || parts[s]: // counted, or to be counted with its slab
		case s.Parts != nil:
			slabs[s.Parts[0]] = true
			p.StateBytes += s.Bytes()
		default:
			p.StateBytes += s.Bytes()
		}
	}
}

// String lists the programs and their memory.
func (p *Plan) String() string {
	const mib = 1 << 20
	var b strings.Builder
	fmt.Fprintf(&b, "a step of %d pairs, %d at a time: %.1f MiB, of which %.1f MiB are state\n",
		p.Pairs, p.MicroBatch, float64(p.StateBytes+p.WorkBytes)/mib, float64(p.StateBytes)/mib)
	for _, part := range p.Parts() {
		fmt.Fprintf(&b, "%d × %s: %d dispatches, %.1f MiB of activations\n",
			part.Runs, part.Name, part.Program.Dispatches(), float64(part.Program.ArenaBytes())/mib)
	}
	return b.String()
}
