//go:build !glfw && !darwin && !windows

package main

import (
	"context"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/gpu"
)

// canShow tells whether the program has a window. On Linux building one takes
// headers of X11 and OpenGL, which nothing else here needs.
const canShow = false

type slideshow struct {
	answerWriter
	options []preprocess.Option
}

func (*slideshow) show(context.Context, *gpu.Device) error { return nil }

func showDemo(context.Context, *gpu.Device, *demo) error { return nil } // demo's arguments are refused before
