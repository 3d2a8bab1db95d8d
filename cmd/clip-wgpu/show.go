//go:build glfw || darwin || windows

package main

import (
	"context"
	"fmt"
	"image"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/gpu/scene"
	"github.com/clip-wgpu/clip-wgpu/gpu/window"
)

// canShow tells whether the program has a window.
const canShow = true

func init() { runtime.LockOSThread() } // the window belongs to the main thread

// maxBars is how many labels a slide has room for.
const maxBars = 6

// slideshow writes answers and keeps them to be shown.
type slideshow struct {
	answerWriter
	options []preprocess.Option
	slides  []slide
	path    string // of picture
	picture image.Image
}

// slide is an image and its most probable labels, best first.
type slide struct {
	path    string
	answers []answer
}

func (s *slideshow) write(path string, answers []answer) error {
	s.slides = append(s.slides, slide{path, slices.Clone(answers[:min(maxBars, len(answers))])})
	return s.answerWriter.write(path, answers)
}

// show opens the window and returns when it is closed.
func (s *slideshow) show(ctx context.Context, d *gpu.Device) error {
	if len(s.slides) == 0 {
		return nil
	}
	return window.Show(ctx, d, len(s.slides), s.frame)
}

// frame draws slide i.
func (s *slideshow) frame(i int, size image.Point) (*scene.Scene, string, error) {
	sl := s.slides[i]
	if s.path != sl.path || s.picture == nil { // else only the window's size has changed
		img, err := preprocess.DecodeFile(sl.path, s.options...)
		if err != nil {
			return nil, "", err
		}
		s.path, s.picture = sl.path, opaque(img)
	}
	best := sl.answers[0]
	title := fmt.Sprintf("%.100s %.1f %% - %.100s (%d of %d)", // longer ones an X server may refuse
		oneLine(best.Label), 100*best.Probability, oneLine(filepath.Base(sl.path)), i+1, len(s.slides))
	return drawSlide(size, s.picture, sl.answers), title, nil
}
