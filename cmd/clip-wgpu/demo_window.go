//go:build glfw || darwin || windows

package main

import (
	"context"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/gpu/scene"
	"github.com/clip-wgpu/clip-wgpu/gpu/window"
)

// showDemo opens the demo's window and returns when it is closed.
func showDemo(ctx context.Context, device *gpu.Device, d *demo) error {
	return window.Run(ctx, device, &demoWindow{ctx, d})
}

// demoWindow is the demo as a window's App.
type demoWindow struct {
	ctx context.Context
	*demo
}

// Handle passes an event on.
func (d *demoWindow) Handle(w *window.Window, e window.Event) error {
	_, woken := e.(window.Wake)
	return d.handle(d.ctx, w, e, woken)
}

// Scene is the gallery's.
func (d *demoWindow) Scene() (*scene.Scene, string, error) { return d.scene() }
