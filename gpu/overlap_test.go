package gpu

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// held puts a submission in flight that is done, or has failed, when done is called.
// Nothing behind it is finished before.
func held(t *testing.T, c *core) (j *job, done func(failed bool)) {
	t.Helper()
	j = &job{pending: 1}
	f := newFence()
	require.NoError(t, c.alone(t.Context(), func() error {
		c.calls.Lock()
		defer c.calls.Unlock()
		c.began = time.Now()
		c.flight = append(c.flight, submission{job: j, fence: f})
		return nil
	}))
	var once sync.Once // then the fence is freed
	done = func(failed bool) {
		once.Do(func() {
			c.calls.Lock()
			defer c.calls.Unlock()
			if f.c.done = true; failed {
				f.c.status = 1
			}
		})
	}
	t.Cleanup(func() { done(false) })
	return j, done
}

// inFlight waits until n submissions are in flight.
func inFlight(t *testing.T, c *core, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		c.calls.Lock()
		flight := len(c.flight)
		c.calls.Unlock()
		if flight == n {
			return
		}
		require.True(t, time.Now().Before(deadline), "%d in flight, want %d", flight, n)
	}
}

// counter adds one to a State and gives the sum.
func counter(t *testing.T, n int) (*graph.Program, *graph.State) {
	sum := &graph.State{Name: "sum", Spec: graph.Spec{Shape: graph.Shape{n}}}
	g := graph.New()
	next := g.Add(g.State(sum), g.Fill(1, n))
	g.Assign(sum, next)
	return build(t, g, next), sum
}

// A Run is submitted while the results of those before are still to come, up to
// the bound, and whoever waits for room can leave.
func TestRunsAreSubmittedBehindOthers(t *testing.T) {
	for _, depth := range []int{1, 3} {
		t.Run(fmt.Sprint(depth), func(t *testing.T) {
			d := open(t, Options{depth: depth})
			s := load(t, d, plus(t, 64, 1), nil)
			require.NoError(t, s.Run(t.Context(), IO{Inputs: inputs("x", count(64))})) // now its cost is known
			j, done := held(t, d.core)
			var runs sync.WaitGroup
			for i := 1; i < depth; i++ {
				runs.Go(func() {
					x, out := count(64), make([]float32, 64)
					x[0] = float32(100 * i)
					assert.NoError(t, s.Run(t.Context(), IO{Inputs: inputs("x", x), Outputs: [][]float32{out}}))
					assert.Equal(t, x[0]+1, out[0])
					assert.Equal(t, float32(64), out[63])
				})
				inFlight(t, d.core, i+1)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			start := time.Now()
			require.ErrorIs(t, s.Run(ctx, IO{Inputs: inputs("x", count(64))}), context.DeadlineExceeded)
			assert.Less(t, time.Since(start), 120*time.Millisecond)
			inFlight(t, d.core, depth)
			done(true)
			runs.Wait()
			require.ErrorContains(t, d.core.wait(t.Context(), j), "status 1", "what goes wrong is told to whose it is")
		})
	}
}

// Uploads take none of the places in flight, or a run with large inputs would only be submitted
// when somebody has noticed the end of the one before.
func TestRunsWithUploadsAreSubmittedBehindOthers(t *testing.T) {
	const n = maxUploads * uploadBytes / 4
	d := open(t, Options{depth: 2})
	s := load(t, d, plus(t, n, 1), nil)
	x, out := count(n), make([]float32, n)
	io := IO{Inputs: inputs("x", x), Outputs: [][]float32{out}}
	require.NoError(t, s.Run(t.Context(), io)) // now its cost is known
	x[0], x[n-1] = 100, 200
	_, done := held(t, d.core)
	ended := make(chan error)
	go func() { ended <- s.Run(t.Context(), io) }()
	inFlight(t, d.core, 1+maxUploads+1)
	done(false)
	require.NoError(t, <-ended)
	assert.Equal(t, []float32{101, 2, 201}, []float32{out[0], out[1], out[n-1]})
}

// Submitted is called while the run is still to end, and not for one that the device does
// not get.
func TestSubmittedIsToldBeforeTheEnd(t *testing.T) {
	d := open(t, Options{depth: 2})
	s := load(t, d, plus(t, 64, 1), nil)
	io := IO{Inputs: inputs("x", count(64))}
	require.NoError(t, s.Run(t.Context(), io)) // now its cost is known
	_, done := held(t, d.core)
	submitted, ended := make(chan struct{}), make(chan error)
	io.Submitted = func() { close(submitted) } // a second call would panic
	go func() { ended <- s.Run(t.Context(), io) }()
	<-submitted
	select {
	case err := <-ended:
		require.Fail(t, "ended behind a submission that is held", "%v", err)
	default:
	}
	done(false)
	require.NoError(t, <-ended)
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Run(t.Context(), io), ErrClosed)
}

// A step that never ran waits until nothing is in flight, and nothing follows it
// before it is done: so its time is its own.
func TestUnknownStepsGoAlone(t *testing.T) {
	d := open(t, Options{depth: 3})
	known, unknown := load(t, d, plus(t, 64, 1), nil), load(t, d, plus(t, 64, 1), nil)
	io := IO{Inputs: inputs("x", count(64))}
	require.NoError(t, known.Run(t.Context(), io))
	_, done := held(t, d.core)
	waits := func(s *Session) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		assert.ErrorIs(t, s.Run(ctx, io), context.DeadlineExceeded)
		inFlight(t, d.core, 1)
	}
	waits(unknown)
	d.core.calls.Lock()
	d.core.flight[0].alone = true
	d.core.calls.Unlock()
	waits(known)
	done(false)
	require.NoError(t, unknown.Run(t.Context(), io))
}

// A Run that is left in flight writes no memory of its caller any more, and one that
// writes a State is not left.
func TestRunsAreLeftInFlight(t *testing.T) {
	d := open(t, Options{depth: 2})
	w := d.NewStore()
	defer w.Close()
	s := load(t, d, plus(t, 64, 1), w)
	p, sum := counter(t, 64)
	counts := load(t, d, p, w)
	io := IO{Inputs: inputs("x", count(64)), Outputs: [][]float32{make([]float32, 64)}}
	require.NoError(t, s.Run(t.Context(), io))
	require.NoError(t, counts.Run(t.Context(), IO{}))

	_, done := held(t, d.core)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	clear(io.Outputs[0])
	require.ErrorIs(t, s.Run(ctx, io), context.DeadlineExceeded)
	done(false)
	require.NoError(t, counts.Run(t.Context(), IO{}))
	require.Equal(t, make([]float32, 64), io.Outputs[0])

	_, done = held(t, d.core)
	ctx, cancel = context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- counts.Run(ctx, IO{}) }()
	inFlight(t, d.core, 2)
	cancel()
	time.Sleep(20 * time.Millisecond)
	done(false)
	require.NoError(t, <-ended)
	got := make([]float32, 64)
	require.NoError(t, w.Read(t.Context(), sum, got))
	require.Equal(t, float32(3), got[63])
}

// The inputs of a Run that is submitted while another executes are not seen by that one.
func TestInputsWaitTheirTurn(t *testing.T) {
	d := open(t, Options{depth: 2})
	p := plus(t, 64, 1)
	delay := handmade(slow, 64, 1, rounds(t, d, 150*time.Millisecond)).Steps[0]
	delay.Slots[0].Index = len(p.Arena)
	p.Arena = append(p.Arena, delay.Slots[0].Bytes)
	p.Steps = append([]graph.Step{delay}, p.Steps...)
	s := load(t, d, p, nil)
	for range 3 { // first a step at a time, then together
		var runs sync.WaitGroup
		for i := range 3 {
			runs.Go(func() {
				x, out := slices.Repeat([]float32{float32(i)}, 64), make([]float32, 64)
				assert.NoError(t, s.Run(t.Context(), IO{Inputs: inputs("x", x), Outputs: [][]float32{out}}))
				assert.Equal(t, slices.Repeat([]float32{float32(i + 1)}, 64), out)
			})
		}
		runs.Wait()
	}
}

// chain is a program of many short steps, whose values depend on all of them.
func chain(t *testing.T, n, steps int) *graph.Program {
	g := graph.New()
	x := g.Input("x", graph.Shape{n}, graph.F32)
	y := x
	for range steps {
		y = ops.Mul(g, g.Add(y, x), g.Fill(0.4, n))
	}
	return build(t, g, y, g.Add(y, y))
}

// product is x·x·x for a square matrix.
func product(t *testing.T, n int) *graph.Program {
	g := graph.New()
	x := g.Input("x", graph.Shape{n, n}, graph.F32)
	return build(t, g, ops.MatMul(g, ops.MatMul(g, x, x, false, false), x, false, false))
}

// Many sessions at once, on one pool of activations, compute the bits that they compute one by one.
func TestOverlappingRunsEqualSerial(t *testing.T) {
	const users, sizes = 6, 48 * 48
	programs := []*graph.Program{plus(t, sizes, 0.1), chain(t, sizes, 20), product(t, 48)}
	input := func(user, program int) map[string]any {
		r := rand.New(rand.NewPCG(uint64(user), uint64(program)))
		x := make([]float32, sizes)
		for i := range x {
			x[i] = r.Float32() - 0.5
		}
		return inputs("x", x)
	}
	outputs := func(p *graph.Program) (outs [][]float32) {
		for _, o := range p.Outputs {
			outs = append(outs, make([]float32, o.Shape.Elems()))
		}
		return outs
	}
	var want [users][][][]float32
	serial := open(t, Options{depth: 1})
	for i, p := range programs {
		s := load(t, serial, p, nil)
		for user := range users {
			out := outputs(p)
			require.NoError(t, s.Run(t.Context(), IO{Inputs: input(user, i), Outputs: out}))
			want[user] = append(want[user], out)
		}
	}
	for name, check := range map[string]bool{"fast": false, "checked": true} {
		t.Run(name, func(t *testing.T) {
			d := open(t, Options{depth: 2, Check: check})
			w := d.NewStore()
			defer w.Close()
			var shared []*Session
			for _, p := range programs {
				shared = append(shared, load(t, d, p, w))
			}
			rounds := 60
			if check {
				rounds = 3
			}
			var wg sync.WaitGroup
			for user := range users {
				wg.Go(func() {
					r := rand.New(rand.NewPCG(1, uint64(user)))
					for range rounds {
						i := r.IntN(len(programs))
						out := outputs(programs[i])
						assert.NoError(t, shared[i].Run(t.Context(), IO{Inputs: input(user, i), Outputs: out}))
						assert.Equal(t, want[user][i], out)
					}
				})
			}
			wg.Wait()
		})
	}
}

// Runs of a State's update count exactly: each gives a sum of its own, whether
// others are cancelled, loaded or closed meanwhile.
func TestOverlappingRunsCount(t *testing.T) {
	d := open(t, Options{depth: 2})
	w := d.NewStore()
	defer w.Close()
	before := d.MemoryInUse()
	p, sum := counter(t, 64)
	s := load(t, d, p, w)
	var mu sync.Mutex
	var sums []float32
	var wg sync.WaitGroup
	for user := range 6 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(2, uint64(user)))
			own := s
			for i := range 100 {
				if user%2 == 1 && i%10 == 0 { // a session of its own, which it closes in the middle of others' runs
					var err error
					own, err = d.Load(p, w)
					assert.NoError(t, err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(2000))*time.Microsecond)
				out := make([]float32, 64)
				err := own.Run(ctx, IO{Outputs: [][]float32{out}})
				cancel()
				if err == nil {
					mu.Lock()
					sums = append(sums, out[63])
					mu.Unlock()
				} else {
					assert.ErrorIs(t, err, context.DeadlineExceeded)
					assert.Zero(t, out[63])
				}
				if user%2 == 1 && i%10 == 9 {
					assert.NoError(t, own.Close())
				}
			}
		})
	}
	wg.Wait()
	require.NotEmpty(t, sums)
	slices.Sort(sums)
	for i, v := range sums {
		require.Equal(t, float32(i+1), v)
	}
	got := make([]float32, 64)
	require.NoError(t, w.Read(t.Context(), sum, got))
	require.Equal(t, float32(len(sums)), got[63])
	require.NoError(t, s.Close())
	require.Equal(t, before+256, d.MemoryInUse(), "the State is what is left")
}
