//go:build glfw || darwin || windows

package window

import (
	"context"
	"fmt"
	"image"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/gpu/scene"
)

// FrameFunc makes frame i for a window of size pixels: a scene of exactly that size,
// and the window's title.
type FrameFunc func(i int, size image.Point) (frame *scene.Scene, title string, err error)

// Show opens a window on frame 0 of n and returns when it is closed, as Run does. Space and
// the right arrow go to the next frame, the left arrow goes back, escape closes
// the window. It ends early with frame's error.
func Show(ctx context.Context, d *gpu.Device, n int, frame FrameFunc) error {
	if n < 1 {
		return fmt.Errorf("a window of %d frames", n)
	}
	return Run(ctx, d, &slides{n: n, frame: frame})
}

// slides are frames, one of which is shown.
type slides struct {
	n, i  int
	frame FrameFunc
	size  image.Point
}

// Handle turns to another frame.
func (s *slides) Handle(w *Window, e Event) error {
	switch e := e.(type) {
	case Resize:
		s.size = e.Size
	case Press:
		switch e.Key {
		case KeySpace, KeyRight:
			s.i = min(s.i+1, s.n-1)
		case KeyLeft:
			s.i = max(s.i-1, 0)
		case KeyEscape:
			w.Close()
		}
	}
	return nil
}

// Scene is the frame.
func (s *slides) Scene() (*scene.Scene, string, error) { return s.frame(s.i, s.size) }
