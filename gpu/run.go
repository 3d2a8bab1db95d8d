package gpu

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// IO is what one run takes and gives.
type IO struct {
	Inputs  map[string]any // []float32 or []int32, row-major, for every input of the Program
	Outputs [][]float32    // filled, one for each output of the Program; nil, whole or in part, is not read back
	Took    *RunTime       // added to where a run succeeds; nil where nobody asks
	// Submitted, unless nil, is called when the device has all of the run: what others run
	// from then on follows it. It is not called where the run fails before.
	Submitted func()
}

// RunTime is where the time of runs goes, but for waiting for those before.
type RunTime struct {
	Upload   time.Duration // the inputs' copying to the driver
	Compute  time.Duration // the submissions', as far as the CPU sees it
	Readback time.Duration // the outputs' copying from the driver
}

// maxSubmission is how long one submission should take: cancelling happens
// between them, and drivers reset a GPU that is busy for seconds.
const maxSubmission = 200 * time.Millisecond

// maxSteps is the most steps of one submission, so that Profile has a query for each.
const maxSteps = 4096

// Run replays the Program once. Everything in io is checked before the GPU sees
// any of it. When ctx ends, Run returns its error within the time of a
// submission and no State has changed; once a State's new value is on its way,
// the run goes on to its end. After an error Outputs may be partly filled.
func (s *Session) Run(ctx context.Context, io IO) error {
	return s.run(ctx, io, func(ctx context.Context, j *job) error {
		if s.core.debug.Watches() {
			return s.replay(ctx, j, s.watched())
		}
		if s.core.options.Check {
			return s.replay(ctx, j, s.checked)
		}
		return s.replay(ctx, j, s.submit)
	})
}

// replayer submits the Program's steps and the job's reads. The caller holds run.
type replayer func(ctx context.Context, j *job) error

// run does what belongs around a replay.
func (s *Session) run(ctx context.Context, io IO, replay replayer) error {
	if s == nil {
		return ErrClosed
	}
	if err := s.checkIO(io); err != nil {
		return err
	}
	j := jobs.Get().(*job)
	err := s.enqueue(ctx, j, io, replay)
	if err == nil {
		if io.Submitted != nil {
			io.Submitted()
		}
		if j.committed {
			ctx = context.Background()
		}
		err = s.core.wait(ctx, j)
	}
	if err == nil && io.Took != nil {
		io.Took.Upload += j.upload
		io.Took.Compute += j.took
		io.Took.Readback += j.readback
	}
	if err != nil {
		j.leave()
		return err
	}
	j.recycle()
	return nil
}

// enqueue uploads the inputs and submits the rest.
func (s *Session) enqueue(ctx context.Context, j *job, io IO, replay replayer) error {
	return s.core.alone(ctx, func() error {
		if s.closed {
			return ErrClosed
		}
		start := time.Now()
		if err := s.write(ctx, j, io.Inputs); err != nil {
			return err
		}
		j.upload = time.Since(start)
		j.reads = s.appendReads(j.reads, io.Outputs)
		return replay(ctx, j)
	})
}

func (s *Session) checkIO(io IO) error {
	for _, in := range s.program.Inputs {
		v, ok := io.Inputs[in.Name]
		if !ok {
			return fmt.Errorf("input %s %v is missing", in.Name, in.Spec)
		}
		var n int
		var dtype graph.Element
		switch v := v.(type) {
		case []float32:
			n, dtype = len(v), graph.F32
		case []int32:
			n, dtype = len(v), graph.I32
		default:
			return fmt.Errorf("input %s %v is a %T, want []float32 or []int32", in.Name, in.Spec, v)
		}
		if dtype != in.Element || n != in.Shape.Elems() {
			return fmt.Errorf("input %s %v takes %d values, got %d of %v", in.Name, in.Spec, in.Shape.Elems(), n, dtype)
		}
	}
	if len(io.Inputs) > len(s.program.Inputs) {
		for _, name := range slices.Sorted(maps.Keys(io.Inputs)) {
			if !slices.ContainsFunc(s.program.Inputs, func(b graph.Binding) bool { return b.Name == name }) {
				return fmt.Errorf("the program has no input %s", name)
			}
		}
	}
	if io.Outputs != nil && len(io.Outputs) != len(s.program.Outputs) {
		return fmt.Errorf("the program has %d outputs, got room for %d", len(s.program.Outputs), len(io.Outputs))
	}
	for i, dst := range io.Outputs {
		out := s.program.Outputs[i]
		if dst != nil && (out.Element != graph.F32 || len(dst) != out.Shape.Elems()) {
			return fmt.Errorf("output %d %v has %d values, got room for %d of f32", i, out.Spec, out.Shape.Elems(), len(dst))
		}
	}
	return nil
}

// write uploads the inputs.
func (s *Session) write(ctx context.Context, j *job, inputs map[string]any) error {
	u := uploader{core: s.core, job: j}
	if s.core.options.Check {
		if err := s.poison(ctx, &u, s.memory, s.program.Arena); err != nil {
			return err
		}
	}
	for i, in := range s.program.Inputs {
		var data []byte
		switch v := inputs[in.Name].(type) {
		case []float32:
			data = bytesOf(v)
		case []int32:
			data = bytesOf(v)
		}
		if err := u.write(ctx, s.memory[len(s.program.Arena)+i], 0, data); err != nil {
			return err
		}
	}
	return nil
}

// submitter gives steps lo to hi, then reads, to the GPU.
type submitter func(ctx context.Context, j *job, lo, hi int, reads []transfer) error

// replay submits all steps, the first reads together with the last of them. No
// end of ctx counts any more once a State is being written.
func (s *Session) replay(ctx context.Context, j *job, submit submitter) error {
	if err := s.computeOnce(ctx, j, submit); err != nil {
		return err
	}
	reads := j.reads
	for lo, hi := s.program.Once, 0; lo < len(s.steps); lo = hi {
		hi = s.submissionEnd(lo)
		var first []transfer
		if hi == len(s.steps) {
			first, reads = s.core.batch(reads)
		}
		if hi > s.commits && !j.committed {
			s.store.outdate(s.writes)
		}
		if err := s.submitSteps(ctx, j, lo, hi, first, submit); err != nil {
			return err
		}
		if hi > s.commits {
			j.committed = true
			ctx = context.Background()
		}
	}
	return s.core.sendReads(ctx, j, reads)
}

// submitSteps submits steps lo to hi. Its error names them, or is ctx's.
func (s *Session) submitSteps(ctx context.Context, j *job, lo, hi int, reads []transfer, submit submitter) error {
	err := submit(ctx, j, lo, hi, reads)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("%s: %w", stepNames(s.program, lo, hi), err)
}

// submissionEnd ends the submission that starts with step lo. A step that never ran goes
// alone: nothing is known of it, and a kernel's first dispatch also compiles it. Steps
// that run once have submissions of their own.
func (s *Session) submissionEnd(lo int) int {
	s.costs.Lock()
	defer s.costs.Unlock()
	hi, cost, end := lo+1, s.steps[lo].cost, len(s.steps)
	if lo < s.program.Once {
		end = s.program.Once
	}
	if cost == 0 || s.core.options.Check || s.core.debug.Watches() {
		return hi
	}
	for hi < min(end, lo+maxSteps) && s.steps[hi].cost > 0 && cost+s.steps[hi].cost <= maxSubmission {
		cost += s.steps[hi].cost
		hi++
	}
	return hi
}

// submit is Run's submitter.
func (s *Session) submit(ctx context.Context, j *job, lo, hi int, reads []transfer) error {
	steps := s.steps[lo:hi]
	return s.core.send(ctx, submission{
		job:     j,
		session: s,
		steps:   steps,
		reads:   reads,
		alone:   s.cost(steps) == 0,
	})
}

func dispatch(e *wgpu.CommandEncoder, steps []step) error {
	pass := e.BeginComputePass(nil)
	defer pass.Release()
	for _, st := range steps {
		pass.SetPipeline(st.pipeline.ComputePipeline)
		pass.SetBindGroup(0, st.group, nil)
		pass.DispatchWorkgroups(st.x, st.y, 1)
	}
	return pass.End()
}

// cost estimates how long steps take together, from their earlier runs. It is 0 where
// none of them ever ran.
func (s *Session) cost(steps []step) time.Duration {
	s.costs.Lock()
	defer s.costs.Unlock()
	return costOf(steps)
}

func costOf(steps []step) (sum time.Duration) {
	for _, st := range steps {
		sum += st.cost
	}
	return sum
}

// shareOut tells submissions that were found done together how long they took. Their
// estimates say how much of elapsed belongs to which.
func shareOut(done []submission, elapsed time.Duration) {
	if len(done) == 1 {
		done[0].learn(elapsed)
		return
	}
	var sum time.Duration
	for i := range done {
		sum += done[i].cost
	}
	for i := range done {
		if s := &done[i]; s.cost > 0 {
			s.learn(time.Duration(float64(elapsed) * float64(s.cost) / float64(sum)))
		}
	}
}

// learn notes how long the submission took. Where the caller has left, the estimates
// stay as they are, because nobody looked when it was done. A submission that was
// behind others seems too short where their end was noticed late. So one measurement
// at most halves its estimate.
func (s *submission) learn(elapsed time.Duration) {
	if s.upload.from == nil { // RunTime.Upload has that time
		s.job.took += elapsed
	}
	if s.session != nil {
		s.session.traceSteps(s.steps, elapsed)
	}
	if s.session == nil || s.job.isLeft() {
		return
	}
	if s.behind {
		elapsed = max(elapsed, s.session.cost(s.steps)/2)
	}
	s.session.learn(s.steps, elapsed)
}

// learn corrects the estimates of steps that ran together by what they took together. A
// step that ran for the first time is one for all that do the same, as in the other
// blocks of a transformer: these then need not go alone.
func (s *Session) learn(steps []step, elapsed time.Duration) {
	s.costs.Lock()
	defer s.costs.Unlock()
	sum := costOf(steps)
	if sum == 0 {
		for i := range s.steps {
			if st := &s.steps[i]; st.cost == 0 && st.same(&steps[0]) {
				st.cost = max(elapsed, time.Microsecond)
			}
		}
	}
	for i := range steps {
		if st := &steps[i]; sum == 0 {
			st.cost = elapsed
		} else {
			st.cost = time.Duration(float64(st.cost) * float64(elapsed) / float64(sum))
		}
		steps[i].cost = max(steps[i].cost, time.Microsecond)
	}
}

// same reports whether both are the same work on other data.
func (st *step) same(o *step) bool {
	return st.pipeline == o.pipeline && st.x == o.x && st.y == o.y && slices.Equal(st.params, o.params)
}

// appendReads appends the transfers that fill outputs.
func (s *Session) appendReads(ts []transfer, outputs [][]float32) []transfer {
	for i, dst := range outputs {
		if dst == nil {
			continue
		}
		data := bytesOf(dst)
		for _, slot := range s.program.Outputs[i].Slots {
			b, offset := s.locate(slot)
			ts = append(ts, transfer{b, offset, data[:slot.Bytes]})
			data = data[slot.Bytes:]
		}
	}
	return ts
}

// stepNames names steps lo to hi.
func stepNames(p *graph.Program, lo, hi int) string {
	name := stepName(p, lo)
	if hi-1 > lo {
		name += fmt.Sprintf(" to %d", hi-1)
	}
	return name
}
