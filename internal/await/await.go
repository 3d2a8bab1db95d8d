// Package await lets a caller leave work that looks at no context: a driver that
// compiles a kernel, memory that is freed once a run has ended.
package await

import "context"

// Do returns what f returns, or ctx's error as soon as ctx ends. In that case f
// goes on in its goroutine, and drop, unless nil, gets what it returns without
// an error.
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
