package clip

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/cliptest"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// crowd is who uses one device at once.
type crowd struct {
	*testing.T
	device *gpu.Device
	config config.Config // of all models, which are alike
	values sync.Map      // what a computation gave first, by its name
}

// same wants got of every caller, on every model.
func (c *crowd) same(name string, got any) {
	want, _ := c.values.LoadOrStore(name, got)
	assert.Equal(c, want, got, name)
}

func (c *crowd) open() (*Model, error) { return New(c.config, 1, WithDevice(c.device)) }

// encode asks m for more programs than it keeps loaded.
func (c *crowd) encode(m *Model, rounds int) error {
	for i := range rounds {
		length, n := 1+i%8, 1<<(i/8%4)
		texts := make([][]int32, n)
		for j := range texts {
			texts[j] = make([]int32, length)
		}
		x, err := m.EncodeText(c.Context(), texts, true)
		if err != nil {
			return err
		}
		c.same(fmt.Sprint("text ", length, n), x)
		y, err := m.Similarity(c.Context(), x, x)
		if err != nil {
			return err
		}
		c.same(fmt.Sprint("similarity ", length, n), y)
		if err := m.Refresh(c.Context()); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(c.Context(), time.Millisecond)
		_, err = m.Tune(ctx, []int{n}, nil)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
	return nil
}

// replay loads, runs and closes m's image tower on a store.
func (c *crowd) replay(m *Model, store *gpu.Store, rounds int) error {
	for i := range rounds {
		n := 1 << (i % 3)
		image, _, err := m.Programs(n)
		if err != nil {
			return err
		}
		s, err := c.device.Load(image, store)
		if err != nil {
			return err
		}
		out := make([]float32, n*20)
		err = s.Run(c.Context(), gpu.IO{Inputs: map[string]any{"image": randomImages(m, n).Data}, Outputs: [][]float32{out}})
		if err := errors.Join(err, s.Close()); err != nil {
			return err
		}
		c.same(fmt.Sprint("image ", n), out)
		own := &graph.State{Name: "own", Spec: graph.Spec{Shape: graph.Shape{n}}}
		back := make([]float32, n)
		if err := errors.Join(store.Write(c.Context(), own, out[:n]), store.Read(c.Context(), own, back)); err != nil {
			return err
		}
		assert.Equal(c, out[:n], back)
	}
	return nil
}

// Several models and bare programs load, run, are displaced and closed at once,
// on one store and on several: no race, the same values for all, no memory left.
func TestACrowdOnOneDevice(t *testing.T) {
	rounds := 64
	if raceEnabled {
		rounds = 33 // one more than the programs that there are
	}
	dev, err := gpu.Open(gpu.Options{DefaultLimits: true})
	require.NoError(t, err)
	defer dev.Close()
	c := &crowd{T: t, device: dev, config: parse(t, cliptest.With(t, "", `{"custom_text": true, "init_logit_bias": -10}`))}
	before := dev.MemoryInUse()
	a, err := c.open()
	require.NoError(t, err)
	b, err := c.open()
	require.NoError(t, err)

	var wg sync.WaitGroup
	for _, m := range []*Model{a, b} {
		for range 2 {
			wg.Go(func() { assert.NoError(t, c.encode(m, rounds)) })
		}
		wg.Go(func() { assert.NoError(t, c.replay(m, m.Store(), rounds)) })
	}
	wg.Go(func() {
		store := dev.NewStore()
		assert.NoError(t, c.replay(a, store, rounds))
		assert.NoError(t, store.Close())
	})
	wg.Go(func() { // closes models in the midst of work
		for range rounds / 10 {
			m, err := c.open()
			if !assert.NoError(t, err) {
				return
			}
			var users sync.WaitGroup
			for _, use := range []func() error{
				func() error { return c.encode(m, 4) },
				func() error { return c.replay(m, m.Store(), 4) },
			} {
				users.Go(func() {
					if err := use(); !errors.Is(err, gpu.ErrClosed) {
						assert.NoError(t, err)
					}
				})
			}
			assert.NoError(t, m.Close())
			users.Wait()
		}
	})
	wg.Wait()
	require.NoError(t, errors.Join(a.Close(), b.Close()))
	assert.Eventually(t, func() bool { return dev.MemoryInUse() == before }, 10*time.Second, time.Millisecond, "memory left behind")
}
