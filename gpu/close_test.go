package gpu

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Runs that a closing session has in flight end as if it were open.
func TestCloseBehindRuns(t *testing.T) {
	d := open(t, Options{depth: 3})
	w := d.NewStore()
	defer w.Close()
	s, err := d.Load(plus(t, 64, 1), w)
	require.NoError(t, err)
	require.NoError(t, s.Run(t.Context(), IO{Inputs: inputs("x", count(64))}))
	_, done := held(t, d.core)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			out := make([]float32, 64)
			assert.NoError(t, s.Run(t.Context(), IO{Inputs: inputs("x", count(64)), Outputs: [][]float32{out}}))
			assert.Equal(t, float32(64), out[63])
		})
	}
	inFlight(t, d.core, 3)
	wg.Go(func() { assert.NoError(t, s.Close()) })
	for len(d.core.run) == 0 { // until Close has it
		time.Sleep(time.Millisecond)
	}
	wg.Go(func() { assert.ErrorIs(t, s.Run(t.Context(), IO{Inputs: inputs("x", count(64))}), ErrClosed) })
	done(false)
	wg.Wait()
}

// What has been computed is returned though everything is closed by then.
func TestEverythingIsClosedBehindRuns(t *testing.T) {
	for range 5 {
		d := open(t, Options{depth: 3})
		w := d.NewStore()
		s, err := d.Load(plus(t, 64, 1), w)
		require.NoError(t, err)
		require.NoError(t, s.Run(t.Context(), IO{Inputs: inputs("x", count(64))}))
		_, done := held(t, d.core)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				out := make([]float32, 64)
				assert.NoError(t, s.Run(t.Context(), IO{Inputs: inputs("x", count(64)), Outputs: [][]float32{out}}))
				assert.Equal(t, float32(64), out[63])
			})
		}
		inFlight(t, d.core, 3)
		wg.Go(func() { assert.NoError(t, errors.Join(w.Close(), d.Close(), s.Close())) })
		for len(d.core.run) == 0 { // until Close has it
			time.Sleep(time.Millisecond)
		}
		done(false)
		wg.Wait()
	}
}
