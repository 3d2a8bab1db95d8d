package gpu

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/rajveermalviya/go-webgpu/wgpu"
)

// Timing is how long one step of a Program took.
type Timing struct {
	Scope, Op, Kernel string // as the Program's Step has them
	Duration          time.Duration
}

// Profile measures a run on the inputs: it returns a Timing for every step, in
// the Program's order, of 0 for those that run once. What they add up to is the
// wall time of the submissions, which is more than Run's, as every step has a pass
// of its own. The GPU's clock
// shares it out among the steps; where Info.Timestamps says that there is none,
// every step is submitted alone. Some clocks tick once a millisecond, and the way
// to the GPU and back is as long as many steps: unless the Program writes a
// State, short steps, and those of short runs, are each dispatched several times over. Nothing is
// read back. A kernel's first dispatch includes the driver's compiling, so let a
// Run go before.
func (s *Session) Profile(ctx context.Context, inputs map[string]any) ([]Timing, error) {
	var timings []Timing
	err := s.run(ctx, IO{Inputs: inputs}, func(ctx context.Context, j *job) error {
		if err := s.core.drain(ctx); err != nil {
			return err
		}
		p, err := s.newProfiler()
		if err != nil {
			return err
		}
		defer p.release()
		if err := s.replay(ctx, j, p.submit); err != nil {
			return err
		}
		timings = p.timings()
		return nil
	})
	return timings, err
}

// profiler measures one replay of a session. It learns the steps' costs.
type profiler struct {
	*Session
	repeats []int          // of each step
	queries *wgpu.QuerySet // nil without timestamps
	ticks   *buffer        // what the queries of a submission found, 8 bytes each
}

// newProfiler prepares a profile of the session. The caller holds run, and nothing is
// in flight.
func (s *Session) newProfiler() (*profiler, error) {
	p := &profiler{Session: s, repeats: s.repeats()}
	if !s.core.info.Timestamps {
		for i := s.program.Once; i < len(s.steps); i++ {
			s.steps[i].cost = 0 // a step of unknown cost goes alone
		}
		return p, nil
	}
	err := s.core.call(context.Background(), func() (err error) {
		n := min(len(s.steps), maxSteps) + 1
		p.ticks, err = s.core.newBuffer("timestamps", 8*int64(n), wgpu.BufferUsage_QueryResolve|wgpu.BufferUsage_CopySrc)
		if err != nil {
			return err
		}
		p.queries, err = s.core.device.CreateQuerySet(&wgpu.QuerySetDescriptor{Type: wgpu.QueryType_Timestamp, Count: uint32(n)})
		return err
	})
	if err != nil {
		p.release()
		return nil, err
	}
	return p, nil
}

// Steps are repeated until a measured run takes about profiledTime, and each step its
// share of that, where no more than maxRepeats make it so.
const (
	profiledTime = 250 * time.Millisecond
	maxRepeats   = 100
)

// repeats is how often a profiler dispatches each step.
func (s *Session) repeats() []int {
	all := slices.Repeat([]int{1}, len(s.steps))
	every := s.steps[s.program.Once:]
	if s.commits < len(s.steps) || slices.ContainsFunc(every, func(st step) bool { return st.cost == 0 }) { // it never ran
		return all
	}
	sum, share := costOf(every), profiledTime/time.Duration(max(1, len(every)))
	for i, st := range every {
		all[s.program.Once+i] = max(1, min(int(max(profiledTime/sum, share/st.cost)), maxRepeats))
	}
	return all
}

// release frees the profiler's buffers. Nothing that submit has submitted may be in
// flight.
func (p *profiler) release() {
	p.core.calls.Lock()
	defer p.core.calls.Unlock()
	p.core.freeBuffer(p.ticks)
	if p.queries != nil && p.core.lost == nil {
		p.queries.Release()
	}
}

// submit is Profile's submitter. It returns when the steps are done.
func (p *profiler) submit(ctx context.Context, _ *job, lo, hi int, reads []transfer) error {
	j := new(job) // of these steps only
	record := func(e *wgpu.CommandEncoder) error { return p.record(e, lo, hi) }
	if err := p.core.send(ctx, submission{job: j, record: record, reads: reads, alone: true}); err != nil {
		return err
	}
	// Nobody may free the queries before the GPU is done with them.
	ctx = context.WithoutCancel(ctx)
	if err := p.core.wait(ctx, j); err != nil {
		return err
	}
	var queries []transfer
	ticks := make([]byte, 8*(hi-lo+1))
	if p.queries != nil {
		queries = []transfer{{p.ticks, 0, ticks}}
	}
	if err := p.core.readback(ctx, queries); err != nil {
		return err
	}
	p.share(lo, hi, j.took, ticks)
	return nil
}

// record encodes steps lo to hi with a timestamp before each and after the last.
func (p *profiler) record(e *wgpu.CommandEncoder, lo, hi int) error {
	for i := lo; i < hi; i++ {
		if p.queries != nil {
			if err := e.WriteTimestamp(p.queries, uint32(i-lo)); err != nil {
				return err
			}
		}
		if err := dispatch(e, slices.Repeat(p.steps[i:i+1], p.repeats[i])); err != nil {
			return err
		}
	}
	if p.queries == nil {
		return nil
	}
	n := uint32(hi - lo)
	if err := e.WriteTimestamp(p.queries, n); err != nil {
		return err
	}
	return e.ResolveQuerySet(p.queries, 0, n+1, p.ticks.Buffer, 0)
}

// share divides elapsed among the repeats of steps lo to hi as the ticks between
// them say. The binding does not tell how long a tick is, so only their proportions count;
// where there are none, the shares are equal.
func (p *profiler) share(lo, hi int, elapsed time.Duration, ticks []byte) {
	counts := make([]float64, hi-lo)
	sum := 0.0
	for i := range counts {
		from, to := binary.LittleEndian.Uint64(ticks[8*i:]), binary.LittleEndian.Uint64(ticks[8*i+8:])
		if to > from {
			counts[i] = float64(to - from)
		}
		sum += counts[i]
	}
	for i, n := range counts {
		part := 1 / float64(len(counts))
		if sum > 0 {
			part = n / sum
		}
		p.steps[lo+i].cost = time.Duration(part * float64(elapsed) / float64(p.repeats[lo+i]))
	}
}

// timings are the costs that submit has found.
func (p *profiler) timings() []Timing {
	timings := make([]Timing, len(p.steps))
	for i, st := range p.program.Steps {
		timings[i] = Timing{Scope: st.Scope, Op: st.Op, Kernel: st.Kernel.Name}
		if i >= p.program.Once {
			timings[i].Duration = p.steps[i].cost
		}
		p.steps[i].cost = max(p.steps[i].cost, time.Microsecond)
	}
	return timings
}
