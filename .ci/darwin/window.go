// Package window stands for gpu/window where macOS's own headers are missing: go vet then
// checks all else for macOS.
package window

import (
	"context"
	"errors"
	"image"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/gpu/scene"
)

// App is as in gpu/window.
type App interface {
	Handle(*Window, Event) error
	Scene() (s *scene.Scene, title string, err error)
}

// Window is as in gpu/window.
type Window struct{}

// SetClipboard is as in gpu/window.
func (*Window) SetClipboard(string) {}

// Close is as in gpu/window.
func (*Window) Close() {}

// Wake is as in gpu/window.
func (*Window) Wake() {}

// Run is as in gpu/window.
func Run(context.Context, *gpu.Device, App) error { return errors.ErrUnsupported }

// FrameFunc is as in gpu/window.
type FrameFunc func(i int, size image.Point) (frame *scene.Scene, title string, err error)

// Show is as in gpu/window.
func Show(context.Context, *gpu.Device, int, FrameFunc) error { return errors.ErrUnsupported }
