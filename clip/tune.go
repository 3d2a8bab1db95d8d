package clip

import (
	"context"
	"slices"
	"time"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/await"
)

// Tune measures, for every class of problems in the towers at the given
// batches, all kernels that can solve it. Round k runs the towers with
// everybody's k-th candidate, counted around, so the rounds are as many as the
// most candidates that a class has. All rounds come twice, so that a while in
// which the device was slow does not decide. progress, where given, is told after
// each run.
func (e *engine) Tune(ctx context.Context, batches []int, progress func(done, total int)) (*gpu.Tuning, error) {
	tuning := e.dev.NewTuning()
	rounds, done := 1, 0
	for round := 0; round < tunePasses*rounds; round++ {
		for _, batch := range batches {
			for _, tower := range []func(context.Context, int, *tuneRound) error{e.tuneImage, e.tuneText} {
				r := &tuneRound{round: round % rounds, tuning: tuning, taken: map[string]string{}}
				if err := tower(ctx, batch, r); err != nil {
					return nil, err
				}
				rounds = max(rounds, r.most)
				if done++; progress != nil {
					progress(done, tunePasses*rounds*len(batches)*2)
				}
			}
		}
	}
	return tuning, nil
}

// tuneRound runs towers with the round-th candidate of every class.
type tuneRound struct {
	round  int
	tuning *gpu.Tuning
	taken  map[string]string // candidate by class
	most   int               // candidates of one class
}

func (r *tuneRound) choose(class string, candidates []string) string {
	r.most = max(r.most, len(candidates))
	r.taken[class] = candidates[r.round%len(candidates)]
	return r.taken[class]
}

func (e *engine) tuneImage(ctx context.Context, batch int, r *tuneRound) error {
	s := e.cfg.VisionCfg.ImageSize
	feed := map[string]any{"image": make([]float32, batch*3*s[0]*s[1])}
	return e.tune(ctx, e.imageTask(), batch, feed, r)
}

func (e *engine) tuneText(ctx context.Context, batch int, r *tuneRound) error {
	rows := slices.Repeat([][]int32{make([]int32, e.text.ContextLength)}, batch)
	return e.tune(ctx, e.textTask(e.text.ContextLength), batch, e.text.feed(rows), r)
}

const (
	tunePasses = 2
	tuneRuns   = 2 // are timed in each
)

func (e *engine) tune(ctx context.Context, t task, batch int, feed map[string]any, r *tuneRound) error {
	prog, err := e.compile(t, batch, r.choose)
	if err != nil {
		return err
	}
	sums, err := await.Do(ctx, func() ([]map[string]time.Duration, error) { return e.measure(ctx, prog, feed) }, nil)
	for _, sum := range sums {
		for class, d := range sum {
			r.tuning.Add(class, r.taken[class], d.Seconds())
		}
	}
	return err
}

// measure returns, for each of tuneRuns, what prog's steps took by class.
func (e *engine) measure(ctx context.Context, prog *graph.Program, feed map[string]any) ([]map[string]time.Duration, error) {
	session, err := e.dev.LoadContext(ctx, prog, e.store)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	for range 2 { // in the first the driver compiles, in the second the session learns what a step costs
		if err := session.Run(ctx, gpu.IO{Inputs: feed}); err != nil {
			return nil, err
		}
	}
	var sums []map[string]time.Duration
	for range tuneRuns {
		timings, err := session.Profile(ctx, feed)
		if err != nil {
			return nil, err
		}
		sums = append(sums, sumByClass(prog, timings))
	}
	return sums, nil
}

func sumByClass(p *graph.Program, timings []gpu.Timing) map[string]time.Duration {
	sums := map[string]time.Duration{}
	for i, s := range p.Steps {
		if s.Class != "" {
			sums[s.Class] += timings[i].Duration
		}
	}
	return sums
}
