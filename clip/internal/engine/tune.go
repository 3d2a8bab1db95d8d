package engine

import (
	"context"
	"time"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/await"
)

// Tune measures, for every class of problems in the tasks at the given batches,
// all kernels that can solve it. Round k runs the tasks with everybody's k-th
// candidate, counted around, so the rounds are as many as the most candidates that
// a class has. All rounds come twice, so that a while in which the device was slow
// does not decide. progress, where given, is told after each run.
func (e *Engine) Tune(ctx context.Context, batches []int, tasks []Task, progress func(done, total int)) (*gpu.Tuning, error) {
	tuning := e.device.NewTuning()
	rounds, done := 1, 0
	for round := 0; round < tunePasses*rounds; round++ {
		for _, batch := range batches {
			for _, t := range tasks {
				r := &tuneRound{round: round % rounds, tuning: tuning, chosen: map[string]string{}}
				if err := e.tune(ctx, t, batch, r); err != nil {
					return nil, err
				}
				rounds = max(rounds, r.most)
				if done++; progress != nil {
					progress(done, tunePasses*rounds*len(batches)*len(tasks))
				}
			}
		}
	}
	return tuning, nil
}

// tuneRound runs tasks with the round-th candidate of every class.
type tuneRound struct {
	round  int
	tuning *gpu.Tuning
	chosen map[string]string // candidate by class
	most   int               // candidates of one class
}

func (r *tuneRound) choose(class string, candidates []string) string {
	r.most = max(r.most, len(candidates))
	r.chosen[class] = candidates[r.round%len(candidates)]
	return r.chosen[class]
}

const (
	tunePasses = 2
	tuneRuns   = 2 // are timed in each
)

func (e *Engine) tune(ctx context.Context, t Task, batch int, r *tuneRound) error {
	prog, _, err := e.compile(t, batch, r.choose)
	if err != nil {
		return err
	}
	feed := t.Feed(0, batch)
	sums, err := await.Do(ctx, func() ([]map[string]time.Duration, error) { return e.measure(ctx, prog, feed) }, nil)
	for _, sum := range sums {
		for class, d := range sum {
			r.tuning.Add(class, r.chosen[class], d.Seconds())
		}
	}
	return err
}

// measure returns, for each of tuneRuns, what prog's steps took by class.
func (e *Engine) measure(ctx context.Context, prog *graph.Program, feed map[string]any) ([]map[string]time.Duration, error) {
	session, err := e.device.LoadContext(ctx, prog, e.store)
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
		if s.Class != "" && i >= p.Once { // those before did not run
			sums[s.Class] += timings[i].Duration
		}
	}
	return sums
}
