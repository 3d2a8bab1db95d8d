package await

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
)

func TestDo(t *testing.T) {
	broken := errors.New("broken")
	got, err := Do(t.Context(), func() (int, error) { return 7, broken }, nil)
	assert.Equal(t, 7, got)
	assert.ErrorIs(t, err, broken)
}

// Whoever leaves, the result has one owner: the caller or drop.
func TestDoIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		release, dropped := make(chan struct{}), 0
		work := func() (int, error) { <-release; return 7, nil }
		go cancel()
		got, err := Do(ctx, work, func(v int) { dropped = v })
		assert.Zero(t, got)
		assert.ErrorIs(t, err, context.Canceled)
		close(release)
		synctest.Wait()
		assert.Equal(t, 7, dropped)
	})
}

func TestLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLock()
		assert.NoError(t, l.Acquire(t.Context()))
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			synctest.Wait() // until Acquire waits
			cancel()
		}()
		assert.ErrorIs(t, l.Acquire(ctx), context.Canceled)
		l.Unlock()
		assert.ErrorIs(t, l.Acquire(ctx), context.Canceled, "an open lock is not taken for a context that has ended")
		l.Lock()
		l.Unlock()
	})
}
