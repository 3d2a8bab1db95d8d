// Package raw is the WebGPU device behind a *gpu.Device, for the packages below
// gpu. Package gpu fills in Borrow, so none of this shows in its own API.
package raw

import (
	"context"

	"github.com/rajveermalviya/go-webgpu/wgpu"
)

// Borrow lends the device of a *gpu.Device, which may be closed meanwhile. The
// borrower calls Close. The error is gpu.ErrClosed.
var Borrow func(gpuDevice any) (*Device, error)

// Device is a device that is lent. Its objects are used inside Call only.
type Device struct {
	Name     string // of the adapter
	Instance *wgpu.Instance
	Adapter  *wgpu.Adapter
	Device   *wgpu.Device
	Queue    *wgpu.Queue
	Core
}

// Core is what guards a device that several users share.
type Core interface {
	// Call runs f, which makes calls on the library, while nobody else makes any.
	// It returns the error of f or, failing that, of the device. On a lost device
	// it returns gpu.ErrLost and f does not run: what is lost is never freed.
	Call(ctx context.Context, f func() error) error

	// Alone runs f while nobody else gives the GPU work.
	Alone(ctx context.Context, f func() error) error
	// Submit gives the GPU what record encodes. The caller is inside Alone.
	Submit(ctx context.Context, record func(*wgpu.CommandEncoder) error) error
	// Finish waits until the GPU has done what Submit gave it. The caller is inside Alone.
	Finish(ctx context.Context) error
	// Read fills dst from the beginning of b. The caller is inside Alone.
	Read(ctx context.Context, b *wgpu.Buffer, dst []byte) error

	// Reserve counts n bytes as used, or returns a *gpu.MemoryError. The caller is inside Call.
	Reserve(n int64) error
	// Free counts n bytes as free again. The caller is inside Call.
	Free(n int64)
	// Fault returns the first error of the device that no call has returned yet,
	// such as a lack of memory. The caller is inside Call.
	Fault() error

	// Lose gives the device up, for everyone, and returns gpu.ErrLost with its cause.
	Lose(cause error) error
	// Close ends the borrowing.
	Close()
}
