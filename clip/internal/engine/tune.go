package engine

import (
	"context"
	"slices"
	"time"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/await"
)

// Tune measures, for every class of problems in the tasks at the given batches, the
// kernels that can solve it. It runs one step of each class alone, not whole tasks: equal
// layers take equally long. Run k of a task takes everybody's k-th candidate. The device
// may be slow for a while, so there is a second pass. It leaves out the kernels that took
// tooSlow times as long as the best of their class. Of a batch that the device
// takes in parts, the largest part is measured. progress, where given, is told after each
// run: how many are done, how many there are at most, and, once it is known, how long the
// others take.
func (e *Engine) Tune(ctx context.Context, batches []int, tasks []Task, progress Progress) (*gpu.Tuning, error) {
	t := &tuner{tuning: e.device.NewTuning(), progress: progress, run: e.timer()}
	known := map[string]bool{} // classes
	for _, batch := range slices.Sorted(slices.Values(batches)) {
		for _, task := range tasks {
			one, err := e.newTuneTask(task, batch, known)
			if err != nil {
				return nil, err
			}
			t.tasks = append(t.tasks, one)
		}
	}
	return t.tuning, t.measure(ctx)
}

// Progress is told how far measurements are.
type Progress func(done, total int, left time.Duration)

const (
	tunePasses = 2
	tooSlow    = 3
	longEnough = 250 * time.Millisecond // of a step, to trust what it took once
)

// tuner measures the candidates of all classes.
type tuner struct {
	tuning   *gpu.Tuning
	tasks    []*tuneTask
	progress Progress
	done     int
	// run times a task's steps of the classes in chosen, with these candidates, by class.
	run func(ctx context.Context, t *tuneTask, chosen map[string]string) (map[string]time.Duration, error)
}

// tuneTask is a task at one batch.
type tuneTask struct {
	Task
	batch   int
	classes []*tuneClass  // that no task before has
	took    time.Duration // the last run; 0 before the first
}

// tuneClass is a class of problems and those kernels that may be the fastest.
type tuneClass struct {
	name       string
	candidates []string
}

// newTuneTask finds the classes of a task that are not known yet, and at least two
// kernels can solve.
func (e *Engine) newTuneTask(t Task, batch int, known map[string]bool) (*tuneTask, error) {
	for ; ; batch /= 2 {
		one := &tuneTask{Task: t, batch: batch}
		p, _, err := e.compile(t, batch, func(class string, candidates []string) string {
			if !known[class] && len(candidates) > 1 {
				one.classes = append(one.classes, &tuneClass{class, candidates})
			}
			known[class] = true
			return ""
		})
		if err == nil {
			err = e.store.Fits(p)
		}
		if err == nil || batch == 1 || !tooLarge(err) && !noMemory(err) {
			return one, err
		}
		for _, c := range one.classes {
			delete(known, c.name)
		}
	}
}

// measure makes all passes.
func (t *tuner) measure(ctx context.Context) error {
	for pass := range tunePasses {
		for round := 0; slices.ContainsFunc(t.tasks, func(one *tuneTask) bool { return one.runs() > round }); round++ {
			for i, one := range t.tasks {
				if one.runs() <= round {
					continue
				}
				if err := t.round(ctx, one, round); err != nil {
					return err
				}
				if t.done++; t.progress != nil {
					runs, left := t.left(pass, round, i)
					t.progress(t.done, t.done+runs, left)
				}
			}
		}
		for _, one := range t.tasks {
			for _, c := range one.classes {
				c.candidates = c.left(t.tuning)
			}
		}
	}
	return nil
}

// round runs a task with the round-th candidates of its classes.
func (t *tuner) round(ctx context.Context, one *tuneTask, round int) error {
	chosen := map[string]string{}
	for _, c := range one.classes {
		if round < len(c.candidates) {
			chosen[c.name] = c.candidates[round]
		}
	}
	start := time.Now()
	times, err := t.run(ctx, one, chosen)
	one.took = time.Since(start)
	for class, d := range times {
		t.tuning.Add(class, chosen[class], d.Seconds())
	}
	return err
}

// runs is how often a pass runs the task.
func (t *tuneTask) runs() (most int) {
	for _, c := range t.classes {
		most = max(most, len(c.candidates))
	}
	return most
}

// left are the candidates that are not known to be too slow: none where only one is left, with nothing to compare.
func (c *tuneClass) left(known *gpu.Tuning) []string {
	times := known.Seconds[c.name]
	best := times[known.Choose(c.name, c.candidates)]
	left := slices.DeleteFunc(slices.Clone(c.candidates), func(name string) bool {
		d, measured := times[name]
		return measured && d >= tooSlow*best
	})
	if len(left) == 1 {
		return nil
	}
	return left
}

// left is how many runs follow that of the at-th task in a round, at most, and how long
// they take if each takes as long as its task's last: 0 where a task has had none.
func (t *tuner) left(pass, round, at int) (runs int, d time.Duration) {
	unknown := false
	for i, one := range t.tasks {
		n := one.runs() - round
		if i <= at {
			n--
		}
		n = max(0, n)
		if pass+1 < tunePasses {
			most := 0
			for _, c := range one.classes {
				most = max(most, len(c.left(t.tuning)))
			}
			n += most
		}
		runs += n
		d += time.Duration(n) * one.took
		unknown = unknown || n > 0 && one.took == 0
	}
	if unknown {
		d = 0
	}
	return runs, d
}

// timer returns a tuner's run on e's device. It remembers which kernels have run: others
// run once more, because the driver compiles in the first run.
func (e *Engine) timer() func(context.Context, *tuneTask, map[string]string) (map[string]time.Duration, error) {
	ran := map[string]bool{} // by WGSL
	return func(ctx context.Context, t *tuneTask, chosen map[string]string) (map[string]time.Duration, error) {
		whole, _, err := e.compile(t.Task, t.batch, func(class string, _ []string) string { return chosen[class] })
		if err != nil {
			return nil, err
		}
		steps, runs := firstOfEach(whole, chosen), 1
		for _, i := range steps {
			if k := whole.Steps[i].Kernel; !ran[k.WGSL] {
				ran[k.WGSL], runs = true, 2
			}
		}
		feed := t.Feed(0, t.batch)
		return await.Do(ctx, func() (map[string]time.Duration, error) { return e.timeSteps(ctx, whole, steps, feed, runs) }, nil)
	}
}

// firstOfEach lists the steps of the first op of each chosen class, in ascending order, but
// for those that run once, whose time is nothing to a run.
func firstOfEach(p *graph.Program, chosen map[string]string) (steps []int) {
	last := map[string]int{} // by class
	for i, s := range p.Steps {
		if i < p.Once || chosen[s.Class] == "" {
			continue
		}
		j, seen := last[s.Class]
		if !seen || j == i-1 && p.Steps[j].Scope == s.Scope && p.Steps[j].Op == s.Op {
			steps, last[s.Class] = append(steps, i), i
		}
	}
	return steps
}

// timeSteps returns the least that some of p's steps take in so many runs, by class. Those
// that take less than longEnough are run twice more, by themselves: in the last run they
// are repeated, for which the one before tells how long they take.
func (e *Engine) timeSteps(ctx context.Context, p *graph.Program, steps []int, feed map[string]any, runs int) (map[string]time.Duration, error) {
	took := map[int]time.Duration{} // the least, by step: all that disturbs a run makes it longer
	if err := e.profile(ctx, p, steps, feed, runs, took); err != nil {
		return nil, err
	}
	var short []int
	for _, i := range steps {
		if took[i] < longEnough {
			short = append(short, i)
		}
	}
	if err := e.profile(ctx, p, short, feed, 2, took); err != nil {
		return nil, err
	}
	sums := map[string]time.Duration{}
	for i, d := range took {
		sums[p.Steps[i].Class] += max(d, time.Microsecond) // some clocks are too coarse for the shortest
	}
	return sums, nil
}

// profile runs some of p's steps and notes in took, by step, what took less than before.
func (e *Engine) profile(ctx context.Context, p *graph.Program, steps []int, feed map[string]any, runs int, took map[int]time.Duration) error {
	if len(steps) == 0 {
		return nil
	}
	part := p.Only(steps...)
	session, err := e.device.LoadContext(ctx, part, e.store)
	if err != nil {
		return err
	}
	defer session.Close()
	inputs := (&program{inputs: part.Inputs}).feed(feed)
	for range runs {
		timings, err := session.Profile(ctx, inputs)
		if err != nil {
			return err
		}
		for j, i := range steps {
			if d, ok := took[i]; !ok || timings[j].Duration < d {
				took[i] = timings[j].Duration
			}
		}
	}
	return nil
}
