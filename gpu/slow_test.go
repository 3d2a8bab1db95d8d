package gpu

import (
	"context"
	"math"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// slow makes y[i] what a chain of rounds multiplications leads to, as a number below 2^24.
var slow = &shaders.Kernel{
	Name: "slow",
	WGSL: `struct Params { rounds: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var h = id.x;
    for (var i = 0u; i < p.rounds; i = i + 1u) { h = h * 1664525u + 1013904223u; }
    y[id.x] = f32(h >> 8u);
}
`,
	Bindings:  []shaders.Binding{{Name: "p"}, {Name: "y", Access: shaders.ReadWrite, Elem: "f32"}},
	Params:    []string{"u32"},
	Workgroup: [3]uint32{64, 1, 1},
}

// slowValue is what slow computes from h, by squaring the step h → a·h + c.
func slowValue(h, rounds uint32) float32 {
	for a, c := uint32(1664525), uint32(1013904223); rounds > 0; rounds >>= 1 {
		if rounds&1 == 1 {
			h = a*h + c
		}
		a, c = a*a, a*c+c
	}
	return float32(h >> 8)
}

// rounds is how many make slow take d with 64 elements.
func rounds(t *testing.T, dev *Device, d time.Duration) uint32 {
	t.Helper()
	const trial = 4 << 20
	s := load(t, dev, handmade(slow, 64, 1, trial), nil)
	best := time.Duration(math.MaxInt64)
	for range 3 { // the first compiles
		start := time.Now()
		require.NoError(t, s.Run(t.Context(), IO{}))
		best = min(best, time.Since(start))
	}
	n := float64(trial) * float64(d) / float64(best)
	require.Less(t, n, float64(math.MaxUint32), "the device is too fast for this test")
	return uint32(n)
}

// repeated is p with its steps n times.
func repeated(p *graph.Program, n int) *graph.Program {
	step := p.Steps[0]
	for range n - 1 {
		p.Steps = append(p.Steps, step)
	}
	return p
}

// TestLongSubmission: the library's own waiting reports success after 5 s, with zeros for data.
func TestLongSubmission(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 7 s")
	}
	d := open(t, Options{})
	n := rounds(t, d, 6*time.Second)
	out := make([]float32, 64)
	for took := time.Duration(0); took <= 5*time.Second; n *= 2 { // again where the device has become faster
		s := load(t, d, handmade(slow, 64, 1, n), nil)
		start := time.Now()
		require.NoError(t, s.Run(t.Context(), IO{Outputs: [][]float32{out}}))
		took = time.Since(start)
	}
	n /= 2
	for i, v := range out {
		require.Equal(t, slowValue(uint32(i), n), v)
	}
}

// TestReadbackUnderGC: the binding lets the library keep addresses of Go variables, which this would move.
func TestReadbackUnderGC(t *testing.T) {
	d := open(t, Options{})
	s := load(t, d, plus(t, 256, 1), nil)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		var garbage [][]byte
		for ctx.Err() == nil {
			garbage = append(garbage, make([]byte, 64<<10))
			if len(garbage) == 16 {
				garbage = nil
				runtime.GC()
			}
		}
	})
	for i := range 1000 {
		x := count(256)
		x[0] = float32(i)
		out := make([]float32, 256)
		require.NoError(t, s.Run(t.Context(), IO{Inputs: inputs("x", x), Outputs: [][]float32{out}}))
		require.Equal(t, float32(i+1), out[0])
		require.Equal(t, float32(256), out[255])
	}
	stop()
	wg.Wait()
}

func TestCancel(t *testing.T) {
	d := open(t, Options{})
	n := rounds(t, d, 1300*time.Millisecond)
	s := load(t, d, repeated(handmade(slow, 64, 1, n), 12), nil) // 15 s in all
	out := make([]float32, 64)

	before, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Run(before, IO{}), context.Canceled)

	during, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	require.ErrorIs(t, s.Run(during, IO{Outputs: [][]float32{out}}), context.DeadlineExceeded)
	assert.Less(t, time.Since(start), time.Second)

	quick := load(t, d, plus(t, 64, 1), nil) // drains what the cancelled run left
	require.NoError(t, quick.Run(t.Context(), IO{Inputs: inputs("x", count(64)), Outputs: [][]float32{out}}))
	require.Equal(t, float32(64), out[63])
	assert.Less(t, time.Since(start), 8*time.Second, "the cancelled run went on to its end")

	leave, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { assert.ErrorIs(t, s.Run(leave, IO{}), context.DeadlineExceeded) })
	wg.Go(func() { assert.ErrorIs(t, s.Run(leave, IO{}), context.DeadlineExceeded) }) // in the queue
	wg.Wait()
}

// TestCancelledReadback: what arrives after Run has returned is not written to memory that is in other hands.
func TestCancelledReadback(t *testing.T) {
	d := open(t, Options{})
	s := load(t, d, handmade(slow, 64, 1, rounds(t, d, 300*time.Millisecond)), nil)
	late, out := make([]float32, 64), make([]float32, 64)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Run(ctx, IO{Outputs: [][]float32{late}}), context.DeadlineExceeded)
	require.NoError(t, s.Run(t.Context(), IO{Outputs: [][]float32{out}}))
	require.Equal(t, make([]float32, 64), late)
	require.NotContains(t, out, float32(0))
}

func TestCancelDuringUploadAndReadback(t *testing.T) {
	d := open(t, Options{})
	const n = 32 << 20 // elements: two pieces of upload, 32 of readback
	x := count(n)
	s := load(t, d, plus(t, n, 1), nil)
	io := IO{Inputs: inputs("x", x), Outputs: [][]float32{make([]float32, n)}}
	for _, after := range []time.Duration{time.Millisecond, 30 * time.Millisecond, 150 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		start := time.Now()
		err := s.Run(ctx, io)
		cancel()
		if err != nil { // a fast machine may be done
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		assert.Less(t, time.Since(start), after+time.Second)
	}
	require.NoError(t, s.Run(t.Context(), io))
	require.Equal(t, float32((n-1)%4096+1), io.Outputs[0][n-1])
}

// TestCancelKeepsStatesWhole: two States are written, with slow steps before, between and after.
func TestCancelKeepsStatesWhole(t *testing.T) {
	d := open(t, Options{})
	w := d.NewStore()
	defer w.Close()
	n := rounds(t, d, 50*time.Millisecond)
	spec := graph.Spec{Shape: graph.Shape{64}}
	a, b := &graph.State{Name: "a", Spec: spec}, &graph.State{Name: "b", Spec: spec}
	g := graph.New()
	one := g.Fill(1, 64)
	g.Assign(a, g.Add(g.State(a), one))
	g.Assign(b, g.Add(g.State(b), one))
	p := build(t, g)
	delay := handmade(slow, 64, 1, n).Steps[0]
	delay.Slots = []graph.Slot{{Space: graph.SpaceArena, Index: len(p.Arena), Bytes: spec.Bytes()}}
	p.Arena = append(p.Arena, spec.Bytes())
	var steps []graph.Step
	for _, st := range p.Steps {
		steps = append(steps, delay, delay, st)
	}
	p.Steps = append(steps, delay, delay)
	s := load(t, d, p, w)

	va, vb := make([]float32, 64), make([]float32, 64)
	finished := float32(0)
	for after := time.Duration(0); after <= 650*time.Millisecond; after += 65 * time.Millisecond {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		if after == 650*time.Millisecond { // a busy machine may have finished none
			ctx = t.Context()
		}
		err := s.Run(ctx, IO{})
		cancel()
		if err == nil {
			finished++
		}
		require.NoError(t, w.Read(t.Context(), a, va))
		require.NoError(t, w.Read(t.Context(), b, vb))
		require.Equal(t, va, vb, "after %v", after)
		require.Equal(t, finished, va[0], "Run says %v after %v", err, after)
	}
	require.NotZero(t, finished)
}

// TestSubmissionsAreShort: what runs learn of a step's cost splits the program.
func TestSubmissionsAreShort(t *testing.T) {
	d := open(t, Options{})
	n := rounds(t, d, 200*time.Millisecond)
	s := load(t, d, repeated(handmade(slow, 64, 1, n), 10), nil)
	require.Equal(t, 1, s.submissionEnd(0), "a step that nobody has timed goes alone")
	for range 3 {
		require.NoError(t, s.Run(t.Context(), IO{}))
	}
	var cost time.Duration
	for _, st := range s.steps[1:s.submissionEnd(0)] {
		cost += st.cost
	}
	assert.LessOrEqual(t, cost, maxSubmission)
	assert.Less(t, s.submissionEnd(0), len(s.steps))
}

func TestMemoryStaysFlat(t *testing.T) {
	if testing.Short() || race {
		t.Skip("takes 3 s, and the race detector's own memory grows")
	}
	d := open(t, Options{})
	s := load(t, d, plus(t, 3*224*224, 1), nil)
	io := IO{Inputs: inputs("x", count(3*224*224)), Outputs: [][]float32{make([]float32, 3*224*224)}}
	run := func(n int) {
		for range n {
			require.NoError(t, s.Run(t.Context(), io))
		}
		debug.FreeOSMemory() // what other tests have left would go at any time
	}
	run(200)
	before := memory(t, "VmRSS")
	run(800)
	assert.LessOrEqual(t, memory(t, "VmRSS"), before+20<<20)
}
