package gpu

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// A Program that gives a State runs while others bring new States into the same Store.
func TestStatesAreReadWhileOthersAreLoaded(t *testing.T) {
	d := open(t, Options{})
	w := d.NewStore()
	defer w.Close()
	shared := param("shared", source(1), 64)
	whole := func() *graph.Program {
		g := graph.New()
		return build(t, g, g.Param(shared))
	}
	s := load(t, d, whole(), w)
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for out := make([]float32, 64); ; {
				select {
				case <-done:
					return
				default:
				}
				assert.NoError(t, s.Run(t.Context(), IO{Outputs: [][]float32{out}}))
				assert.Equal(t, float32(64), out[63])
				d.MemoryInUse()
			}
		})
	}
	var loads sync.WaitGroup
	for i := range 2 {
		loads.Go(func() {
			for j := range 5 {
				g := graph.New()
				sum := g.Param(shared)
				for k := range 100 {
					sum = g.Add(sum, g.State(&graph.State{Name: fmt.Sprint(i, j, k), Spec: shared.Spec}))
				}
				other, err := d.Load(build(t, g, sum), w)
				if assert.NoError(t, err) {
					assert.NoError(t, other.Run(t.Context(), IO{}))
					assert.NoError(t, other.Close())
				}
				assert.NoError(t, w.Write(t.Context(), &graph.State{Name: "new", Spec: shared.Spec}, make([]float32, 64)))
			}
		})
	}
	loads.Wait()
	close(done)
	wg.Wait()
}

// heldSource gives no values until it is released.
type heldSource chan struct{}

func (s heldSource) ReadF32(dst []float32, offset int) error {
	<-s
	return source(0).ReadF32(dst, offset)
}

// What waits for a slow disk keeps nobody from the States that are there, and a
// load can be given up: the store is as if it had not been tried.
func TestLoadIsCancelled(t *testing.T) {
	d := open(t, Options{})
	w := d.NewStore()
	defer w.Close()
	there, slow := param("there", source(1), 64), param("slow", make(heldSource), 64)
	g := graph.New()
	load(t, d, build(t, g, g.Param(there)), w)
	used := d.MemoryInUse()
	g = graph.New()
	p := build(t, g, g.Add(g.Param(there), g.Param(slow)))

	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 { // the second waits for the first
		wg.Go(func() {
			_, err := d.LoadContext(ctx, p, w)
			assert.ErrorIs(t, err, context.Canceled)
		})
	}
	for d.MemoryInUse() == used {
		time.Sleep(time.Millisecond)
	}
	out := make([]float32, 64)
	require.NoError(t, w.Read(t.Context(), &there.State, out))
	assert.Equal(t, float32(64), out[63])
	assert.ErrorIs(t, w.Read(t.Context(), &slow.State, out), errNotStored)
	soon, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	assert.ErrorIs(t, w.Write(soon, &slow.State, out), context.DeadlineExceeded)
	cancel()
	close(slow.Source.(heldSource))
	wg.Wait()
	assert.Eventually(t, func() bool { return d.MemoryInUse() == used }, 10*time.Second, time.Millisecond)

	s := load(t, d, p, w)
	require.NoError(t, s.Run(t.Context(), IO{Outputs: [][]float32{out}}))
	assert.Equal(t, float32(64+63), out[63])
}
