package gpu

import (
	"math"
	"runtime/cgo"
	"testing"

	"github.com/rajveermalviya/go-webgpu/wgpu"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// TestReplayAllocates what the binding allocates for a submission, and nothing else.
func TestReplayAllocates(t *testing.T) {
	for h := cgo.Handle(0); h < 256; h.Delete() { // the binding's first handles cost one allocation less
		h = cgo.NewHandle(nil)
	}
	d := open(t, Options{})
	allocations := func(run func() error) float64 {
		least := math.Inf(1) // a run that waits for others is cut into more submissions
		for range 30 {
			least = min(least, testing.AllocsPerRun(1, func() { require.NoError(t, run()) }))
		}
		return least
	}
	submitting := func(record func(*wgpu.CommandEncoder) error) float64 {
		return allocations(func() error {
			j := jobs.Get().(*job)
			defer j.recycle()
			return d.core.alone(t.Context(), func() error {
				if err := d.core.send(t.Context(), submission{job: j, record: record}); err != nil {
					return err
				}
				return d.core.wait(t.Context(), j)
			})
		})
	}
	binding := submitting(func(e *wgpu.CommandEncoder) error { return dispatch(e, nil) })
	w := d.NewStore()
	defer w.Close()
	for _, steps := range []int{2, 300} {
		for _, writes := range []bool{false, true} {
			g := graph.New()
			x := g.Input("x", graph.Shape{64}, graph.F32)
			y := g.Add(x, x)
			for range steps - 1 {
				y = g.Add(y, x)
			}
			if writes {
				sum := &graph.State{Name: "sum", Spec: y.Spec()}
				y = g.Add(g.State(sum), y)
				g.Assign(sum, y)
			}
			s := load(t, d, build(t, g, y), w)
			require.Equal(t, writes, s.commits < len(s.steps))
			io := IO{Inputs: inputs("x", count(64)), Outputs: [][]float32{make([]float32, 64)}}
			assert.Equal(t, binding, allocations(func() error { return s.Run(t.Context(), io) }), "%d steps, a State %v", steps, writes)
		}
	}

	const n = (uploadBytes + leastUpload) / 4 // two uploads
	s := load(t, d, plus(t, n, 1), w)
	io := IO{Inputs: inputs("x", count(n))}
	want := binding + 2*submitting(nil)
	assert.Equal(t, want, allocations(func() error { return s.Run(t.Context(), io) }), "with uploads")
}
