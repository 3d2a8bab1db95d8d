// Package window stands for gpu/window where macOS's own headers are missing: go vet then
// checks all else for macOS.
package window

import (
	"context"
	"errors"
	"image"

	"github.com/clip-wgpu/clip-wgpu/gpu"
)

// FrameFunc is as in gpu/window.
type FrameFunc func(i int, size image.Point) (frame *image.RGBA, title string, err error)

// Show is as in gpu/window.
func Show(context.Context, *gpu.Device, int, FrameFunc) error { return errors.ErrUnsupported }
