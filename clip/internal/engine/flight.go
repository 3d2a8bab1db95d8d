package engine

import (
	"context"
	"sync"
)

// flight is the batches of one call that are under way: while one is computed, the next
// is uploaded and the one before is read back. One goroutine begins them.
type flight struct {
	ctx    context.Context // ends when a batch has failed
	cancel context.CancelFunc
	room   chan struct{} // has a place taken for each batch under way, and for the next one
	wait   sync.WaitGroup
	once   sync.Once
	err    error // of the first batch that failed
}

func newFlight(ctx context.Context, depth int) *flight {
	f := &flight{room: make(chan struct{}, depth)}
	f.ctx, f.cancel = context.WithCancel(ctx)
	return f
}

// next waits until one more batch may be under way. begin or skip must follow.
func (f *flight) next() error {
	select {
	case f.room <- struct{}{}:
		if f.ctx.Err() == nil {
			return nil
		}
		f.skip()
	case <-f.ctx.Done():
	}
	return f.ctx.Err()
}

// skip gives back the place that next took.
func (f *flight) skip() { <-f.room }

// begin runs a batch in the place that next took.
func (f *flight) begin(run func(ctx context.Context) error) {
	f.wait.Go(func() {
		defer f.skip()
		if err := run(f.ctx); err != nil {
			f.once.Do(func() { f.err = err })
			f.cancel()
		}
	})
}

// settled waits until no batch is under way, and tells whether one was.
func (f *flight) settled() bool {
	busy := len(f.room) > 1
	f.wait.Wait()
	return busy
}

// end waits until no batch is under way. It returns the error of the first that failed, or
// else err, the reason why no more were begun.
func (f *flight) end(err error) error {
	f.wait.Wait()
	f.cancel()
	if f.err != nil {
		return f.err
	}
	return err
}
