// Package flight keeps a device busy with the batches of one call: while one is computed,
// the next is uploaded and the one before is read back.
package flight

import (
	"context"
	"sync"
)

// Flight is the batches of one call that are under way. One goroutine begins them.
type Flight struct {
	ctx    context.Context
	cancel context.CancelFunc
	room   chan struct{} // has a place taken for each batch under way, and for the next one
	wait   sync.WaitGroup
	once   sync.Once
	err    error // of the first batch that failed
}

// New returns a Flight of depth batches at most. End must follow.
func New(ctx context.Context, depth int) *Flight {
	f := &Flight{room: make(chan struct{}, depth)}
	f.ctx, f.cancel = context.WithCancel(ctx)
	return f
}

// Context ends when the call's does, and when a batch has failed.
func (f *Flight) Context() context.Context { return f.ctx }

// Next waits until one more batch may be under way. Begin or Skip must follow, unless
// there is an error: ctx has ended, or a batch has failed.
func (f *Flight) Next() error {
	select {
	case f.room <- struct{}{}:
		if f.ctx.Err() == nil {
			return nil
		}
		f.Skip()
	case <-f.ctx.Done():
	}
	return f.ctx.Err()
}

// Skip gives back the place that Next took.
func (f *Flight) Skip() { <-f.room }

// Begin runs a batch in the place that Next took.
func (f *Flight) Begin(run func(ctx context.Context) error) {
	f.wait.Go(func() {
		defer f.Skip()
		if err := run(f.ctx); err != nil {
			f.once.Do(func() { f.err = err })
			f.cancel()
		}
	})
}

// BeginInOrder is Begin for batches that change what the next ones find: run calls placed
// once all that others begin later comes after it, and BeginInOrder returns then, or when run
// does.
func (f *Flight) BeginInOrder(run func(ctx context.Context, placed func()) error) {
	done := make(chan struct{})
	placed := sync.OnceFunc(func() { close(done) })
	f.Begin(func(ctx context.Context) error {
		defer placed()
		return run(ctx, placed)
	})
	<-done
}

// Settled waits until no batch is under way, and tells whether one was. The caller has the
// place that Next took.
func (f *Flight) Settled() bool {
	busy := len(f.room) > 1
	f.wait.Wait()
	return busy
}

// End waits until no batch is under way. It returns the error of the first that failed, or
// else err, the reason why no more were begun.
func (f *Flight) End(err error) error {
	f.wait.Wait()
	f.cancel()
	if f.err != nil {
		return f.err
	}
	return err
}
