package gpu

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// doubled takes x, of 64 elements, to p + p and x + (p + p) + q, whose first two steps
// run once.
func doubled(t *testing.T, p, q *graph.Param) *graph.Program {
	g := graph.New()
	twice := g.Add(g.Param(p), g.Param(p))
	sum := g.Add(g.Input("x", graph.Shape{64}, graph.F32), g.Add(twice, g.Param(q)))
	prog := build(t, g, twice, sum)
	require.Equal(t, []int{2, 3}, []int{prog.Once, len(prog.Steps)})
	return prog
}

// replayed runs a session of doubled and returns the steps that it has dispatched. before
// is asked before each submission.
func replayed(ctx context.Context, s *Session, before func(lo int) error) (steps []int, twice, sum float32, err error) {
	out := [][]float32{make([]float32, 64), make([]float32, 64)}
	io := IO{Inputs: inputs("x", make([]float32, 64)), Outputs: out}
	err = s.run(ctx, io, func(ctx context.Context, j *job) error {
		return s.replay(ctx, j, func(ctx context.Context, j *job, lo, hi int, reads []transfer) error {
			if err := before(lo); err != nil {
				return err
			}
			for i := lo; i < hi; i++ {
				steps = append(steps, i)
			}
			if s.core.options.Check {
				return s.checked(ctx, j, lo, hi, reads)
			}
			return s.submit(ctx, j, lo, hi, reads)
		})
	})
	return steps, out[0][0], out[1][0], err
}

// wantSteps runs a session of doubled, whose parameters begin with p and q.
func wantSteps(t *testing.T, s *Session, want []int, p, q float32) {
	t.Helper()
	steps, twice, sum, err := replayed(t.Context(), s, func(int) error { return nil })
	require.NoError(t, err)
	assert.Equal(t, want, steps)
	assert.Equal(t, []float32{2 * p, 2*p + q}, []float32{twice, sum})
}

var all, later = []int{0, 1, 2}, []int{2}

// The steps run again when anyone has written what they read, and only then.
func TestStepsRunOnce(t *testing.T) {
	for name, o := range map[string]Options{"": {}, "check": {Check: true}, "depth 2": {depth: 2}} {
		t.Run(name, func(t *testing.T) {
			d := open(t, o)
			w := d.NewStore()
			defer w.Close()
			p, q, unread := param("p", source(1), 64), param("q", source(5), 64), param("unread", source(0), 64)
			prog := doubled(t, p, q)
			s, twin := load(t, d, prog, w), load(t, d, prog, w)
			wantSteps(t, s, all, 1, 5)
			wantSteps(t, s, later, 1, 5)
			wantSteps(t, twin, all, 1, 5) // has memory of its own
			works(t, d)                   // in the same activations
			wantSteps(t, s, later, 1, 5)

			values := count(64)
			values[0] = 7
			require.NoError(t, w.Write(t.Context(), &unread.State, values))
			wantSteps(t, s, later, 1, 5)
			require.NoError(t, w.Write(t.Context(), &p.State, values))
			wantSteps(t, s, all, 7, 5)
			wantSteps(t, s, later, 7, 5)
			wantSteps(t, twin, all, 7, 5)

			// Another session writes, the second time by a slab.
			g := graph.New()
			g.Assign(&q.State, g.Add(g.Param(q), g.Fill(1, 64)))
			next := load(t, d, build(t, g), w)
			for i := range 2 {
				require.NoError(t, next.Run(t.Context(), IO{}))
				wantSteps(t, s, all, 7, float32(6+i))
				wantSteps(t, s, later, 7, float32(6+i))
			}
			set := load(t, d, setting(t, 11, slabOf(unread, p), unread, p), w)
			wantSteps(t, s, later, 7, 7) // p has moved
			require.NoError(t, set.Run(t.Context(), IO{}))
			wantSteps(t, s, all, 11, 7)
			wantSteps(t, s, later, 11, 7)
			require.NoError(t, w.Write(t.Context(), slabOf(unread, p), make([]float32, 128)))
			wantSteps(t, s, all, 0, 7)

			unused := load(t, d, prog, w)
			timings, err := unused.Profile(t.Context(), inputs("x", make([]float32, 64)))
			require.NoError(t, err)
			require.Len(t, timings, 3)
			assert.Equal(t, []bool{true, true, false}, []bool{timings[0].Duration == 0, timings[1].Duration == 0, timings[2].Duration == 0})
			wantSteps(t, unused, later, 0, 7)
		})
	}
}

// A run that ends in the middle leaves nothing that the next one takes for done.
func TestStepsRunOnceMustSucceed(t *testing.T) {
	d := open(t, Options{})
	w := d.NewStore()
	defer w.Close()
	p, q := param("p", source(1), 64), param("q", source(5), 64)
	s := load(t, d, doubled(t, p, q), w)
	failure := errors.New("no luck")
	fails := func(at int) {
		t.Helper()
		_, _, _, err := replayed(t.Context(), s, func(lo int) error {
			if lo == at {
				return failure
			}
			return nil
		})
		require.ErrorIs(t, err, failure)
	}
	fails(1)
	wantSteps(t, s, all, 1, 5)
	fails(2)
	wantSteps(t, s, later, 1, 5)

	values := make([]float32, 64)
	for i := range 3 {
		values[0] = float32(10 + i)
		require.NoError(t, w.Write(t.Context(), &p.State, values))
		fails(0)
		wantSteps(t, s, all, values[0], 5)
	}
	require.NoError(t, w.Write(t.Context(), &q.State, values))
	ctx, cancel := context.WithCancel(t.Context())
	_, _, _, err := replayed(ctx, s, func(int) error { cancel(); return nil })
	require.ErrorIs(t, err, context.Canceled)
	wantSteps(t, s, all, values[0], values[0])
}

// What was kept belongs to the same place in the queue as the rest of a run, while another
// session writes.
func TestKeptValuesAreOfTheirRun(t *testing.T) {
	for _, depth := range []int{1, 2} {
		d := open(t, Options{depth: depth})
		w := d.NewStore()
		defer w.Close()
		prog, sum := counter(t, 64)
		count := load(t, d, prog, w)
		g := graph.New()
		x := g.Input("x", graph.Shape{64}, graph.F32)
		read := build(t, g, g.Add(g.State(sum), g.State(sum)), g.Add(g.State(sum), x))
		require.Equal(t, 1, read.Once)
		const rounds = 50
		var wg sync.WaitGroup
		for range 2 {
			s := load(t, d, read, w)
			wg.Go(func() {
				last := float32(0)
				for range rounds {
					twice, once := make([]float32, 64), make([]float32, 64)
					if !assert.NoError(t, s.Run(t.Context(), IO{Inputs: inputs("x", make([]float32, 64)), Outputs: [][]float32{twice, once}})) {
						return
					}
					assert.Equal(t, 2*once[63], twice[63])
					assert.GreaterOrEqual(t, once[63], last)
					last = once[63]
				}
			})
		}
		wg.Go(func() {
			for range rounds {
				assert.NoError(t, count.Run(t.Context(), IO{}))
			}
		})
		wg.Wait()
	}
}

// What is kept counts as memory, of each session.
func TestKeptMemoryCounts(t *testing.T) {
	d := open(t, Options{})
	w := d.NewStore()
	defer w.Close()
	prog := doubled(t, param("p", source(1), 64), param("q", source(5), 64))
	assert.Equal(t, int64(512), prog.KeptBytes())
	assert.Equal(t, prog.ArenaBytes()+256+512+3*paramsBytes, WorkBytes(prog))
	before := d.MemoryInUse()
	first := load(t, d, prog, w)
	assert.Equal(t, before+WorkBytes(prog)+512, d.MemoryInUse(), "with two parameters")
	one := d.MemoryInUse()
	second := load(t, d, prog, w)
	assert.Equal(t, one+512+3*paramsBytes, d.MemoryInUse())

	d.core.options.MaxMemory = d.MemoryInUse() + 512 + 3*paramsBytes - 1
	var memory *MemoryError
	_, err := d.Load(prog, w)
	require.ErrorAs(t, err, &memory)
	require.ErrorAs(t, w.Fits(prog), &memory)
	require.NoError(t, w.Fits(prog, second))
	d.core.options.MaxMemory = math.MaxInt64
	require.NoError(t, second.Close())
	assert.Equal(t, one, d.MemoryInUse())
	require.NoError(t, first.Close())
}

func TestOnceRefuses(t *testing.T) {
	p, q := param("p", source(1), 64), param("q", source(5), 64)
	for message, change := range map[string]func(prog *graph.Program){
		"4 of 3 steps run once":                 func(prog *graph.Program) { prog.Once = 4 },
		"-1 of 3 steps run once":                func(prog *graph.Program) { prog.Once = -1 },
		"is i0, and 3 steps run once":           func(prog *graph.Program) { prog.Once = 3 },
		"and 1 steps run once":                  func(prog *graph.Program) { prog.Once = 1 },
		"y is s0, and 2 steps run once":         func(prog *graph.Program) { prog.Steps[1].Slots[2] = graph.Slot{Space: graph.SpaceState, Bytes: 256} },
		"the program has no k0":                 func(prog *graph.Program) { prog.Kept = nil },
		"bytes of kept buffer 0: 0, the device": func(prog *graph.Program) { prog.Kept[0] = 0 },
	} {
		prog := doubled(t, p, q)
		change(prog)
		refused(t, prog, message)
	}
}
