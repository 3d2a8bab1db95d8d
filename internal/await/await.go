// Package await lets a caller stop waiting for work that cannot be interrupted,
// such as a driver that compiles a kernel.
package await

import "context"

// Do returns the results of f, or ctx's error as soon as ctx ends. Then f runs on
// in its own goroutine. If it succeeds, drop gets its value, unless drop is nil.
func Do[T any](ctx context.Context, f func() (T, error), drop func(T)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result)
	go func() {
		value, err := f()
		select {
		case done <- result{value, err}:
		case <-ctx.Done():
			if err == nil && drop != nil {
				drop(value)
			}
		}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
