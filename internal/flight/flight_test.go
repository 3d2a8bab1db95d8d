package flight

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// depth is that of a GPU: a batch in each stage of its queue.
const depth = 3

// queue is a device whose bus up, processor and bus down each do one batch at a time, in
// the time that is set.
type queue struct {
	stages [3]chan struct{} // with room for one: synctest's clock stands still behind a Mutex
	takes  [3]time.Duration
	broken int // the batch that fails in the processor, from 1
	begun  atomic.Int32
}

func newQueue(takes ...time.Duration) *queue {
	q := &queue{takes: [3]time.Duration(takes)}
	for i := range q.stages {
		q.stages[i] = make(chan struct{}, 1)
	}
	return q
}

func (q *queue) run(ctx context.Context) error {
	batch := int(q.begun.Add(1))
	for i := range q.stages {
		q.stages[i] <- struct{}{}
		time.Sleep(q.takes[i])
		<-q.stages[i]
		switch {
		case i == 1 && batch == q.broken:
			return errors.New("out of order")
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
	return nil
}

// The slowest of upload, computation and readback decides how long batches take.
func TestTheDeviceNeverWaits(t *testing.T) {
	const ms, batches = time.Millisecond, 100
	for _, takes := range [][3]time.Duration{{2 * ms, 10 * ms, 1 * ms}, {10 * ms, 4 * ms, 9 * ms}, {3 * ms, 3 * ms, 10 * ms}, {5 * ms, 5 * ms, 5 * ms}} {
		synctest.Test(t, func(t *testing.T) {
			q, start := newQueue(takes[:]...), time.Now()
			f := New(t.Context(), depth)
			for range batches {
				require.NoError(t, f.Next())
				f.Begin(q.run)
			}
			require.NoError(t, f.End(nil))
			assert.EqualValues(t, batches, q.begun.Load())
			longest := batches * max(takes[0], takes[1], takes[2])
			assert.LessOrEqual(t, time.Since(start), longest*11/10, "%v", takes)
		})
	}
}

// A batch that fails ends those under way, and nothing more begins.
func TestABatchThatFailsEndsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1, 5, 1)
		q.broken = 4
		f := New(t.Context(), depth)
		var err error
		for err == nil {
			if err = f.Next(); err == nil {
				f.Begin(q.run)
			}
		}
		require.ErrorIs(t, err, context.Canceled)
		require.EqualError(t, f.End(err), "out of order")
		assert.LessOrEqual(t, q.begun.Load(), int32(3+depth))
	})
}

// A context that ends leaves nothing running; what has ended before is whole.
func TestCancelledFlightsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		q := newQueue(1, 1, 1)
		f := New(ctx, depth)
		require.NoError(t, f.Next())
		f.Begin(q.run)
		require.NoError(t, f.Next())
		assert.True(t, f.Settled())
		f.Skip()
		assert.False(t, f.Settled())
		cancel()
		require.NoError(t, f.End(nil), "all had been begun")
		require.ErrorIs(t, f.Next(), context.Canceled)
		require.ErrorIs(t, f.End(context.Canceled), context.Canceled)
	})
}

// Batches in order overlap, and each is placed before the next begins.
func TestBeginInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const upload, compute, batches = time.Millisecond, 10 * time.Millisecond, 20
		device, start := make(chan struct{}, 1), time.Now()
		var order []int
		f := New(t.Context(), 2)
		for batch := range batches {
			require.NoError(t, f.Next())
			f.BeginInOrder(func(ctx context.Context, placed func()) error {
				time.Sleep(upload)
				order = append(order, batch)
				if batch%3 != 0 { // what returns is placed, too
					placed()
				}
				device <- struct{}{}
				time.Sleep(compute)
				<-device
				return nil
			})
		}
		require.NoError(t, f.End(nil))
		assert.IsIncreasing(t, order)
		assert.Len(t, order, batches)
		assert.Less(t, time.Since(start), batches*(upload+compute))
	})
}
