package await

import "context"

// Lock is a mutex that a context can give up waiting for.
type Lock chan struct{}

// NewLock returns an open lock.
func NewLock() Lock { return make(Lock, 1) }

// Acquire locks l, or returns ctx's error when ctx ends before.
func (l Lock) Acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Lock locks l, however long that takes.
func (l Lock) Lock() { l <- struct{}{} }

// Unlock opens l, which whoever calls it has locked.
func (l Lock) Unlock() { <-l }
