// Package await lets a caller leave when its context ends: from work that hears no
// context, such as a driver that compiles a kernel, and from the wait for a lock.
package await

import "context"

// Do returns what f returns, or ctx's error as soon as ctx ends. Then f goes on in
// its own goroutine; if it succeeds, drop (unless nil) gets its value.
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
