package gpu

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// openFor opens a device with the adapter's own features, or without any.
func openFor(t *testing.T, timestamps bool) *Device {
	t.Helper()
	d, err := Open(Options{DefaultLimits: !timestamps, depth: *depth})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	if d.Info().Timestamps != timestamps {
		t.Skip("the adapter has no timestamps")
	}
	return d
}

// unequal multiplies [n, n] matrices and adds to one element.
func unequal(t *testing.T, n int) *graph.Program {
	g := graph.New()
	defer g.Scope("layer")()
	x := g.Input("x", graph.Shape{n, n}, graph.F32)
	one := g.Input("one", graph.Shape{1}, graph.F32)
	return build(t, g, g.Add(one, one), ops.MatMul(g, x, x, false, false))
}

func TestProfile(t *testing.T) {
	const n = 512
	for name, timestamps := range map[string]bool{"by timestamps": true, "by submissions": false} {
		t.Run(name, func(t *testing.T) {
			d := openFor(t, timestamps)
			p := unequal(t, n)
			s := load(t, d, p, nil)
			one, y := make([]float32, 1), make([]float32, n*n)
			io := IO{Inputs: map[string]any{"x": count(n * n), "one": []float32{1}}, Outputs: [][]float32{one, y}}
			require.NoError(t, s.Run(t.Context(), io)) // the driver compiles
			want := y[n*n-1]
			start := time.Now()
			require.NoError(t, s.Run(t.Context(), io))
			run := time.Since(start)
			used := d.core.used
			for range 2 {
				start := time.Now()
				timings, err := s.Profile(t.Context(), io.Inputs)
				wall := time.Since(start)
				require.NoError(t, err)
				require.Len(t, timings, len(p.Steps))
				var sum, slowest, rest time.Duration
				for i, timing := range timings {
					st := p.Steps[i]
					assert.Equal(t, []string{st.Scope, st.Op, st.Kernel.Name}, []string{timing.Scope, timing.Op, timing.Kernel})
					assert.GreaterOrEqual(t, timing.Duration, time.Duration(0))
					sum += timing.Duration
					if st.FLOPs > 0 {
						slowest += timing.Duration
					} else {
						rest += timing.Duration
					}
				}
				assert.LessOrEqual(t, sum, wall)
				assert.Greater(t, sum, run/8, "of one repeat")
				assert.Greater(t, slowest, rest, "a product of 512×512 matrices against one addition: %v", timings)
			}
			clear(y)
			require.NoError(t, s.Run(t.Context(), io))
			assert.Equal(t, want, y[n*n-1], "a Run after Profile")
			assert.Equal(t, used, d.core.used, "Profile keeps no memory")
		})
	}
}

func TestProfileRefuses(t *testing.T) {
	d := openFor(t, true)
	s := load(t, d, plus(t, 4, 1), nil)
	_, err := s.Profile(t.Context(), nil)
	assert.ErrorContains(t, err, "input x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Profile(ctx, inputs("x", count(4)))
	assert.ErrorIs(t, err, context.Canceled)
	require.NoError(t, s.Close())
	_, err = s.Profile(t.Context(), inputs("x", count(4)))
	assert.ErrorIs(t, err, ErrClosed)
	var none *Session
	_, err = none.Profile(t.Context(), nil)
	assert.ErrorIs(t, err, ErrClosed)
}
