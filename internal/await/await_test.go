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
