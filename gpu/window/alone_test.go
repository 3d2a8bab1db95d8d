//go:build glfw && linux

package window

import (
	"context"
	"errors"
	"image"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/gpu/internal/raw"
	"github.com/clip-wgpu/clip-wgpu/gpu/scene"
	"github.com/clip-wgpu/clip-wgpu/gpu/window/internal/slowrelease"
)

// The calls on one device exclude each other: nothing that was drawn on is
// released while another goroutine makes calls.
func TestReleasesAreAlone(t *testing.T) {
	display(t)
	_, d := open(t, gpu.Options{})
	ctx, stop := context.WithCancel(t.Context())
	others, disturbed := 0, 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			assert.NoError(t, d.Call(t.Context(), func() error {
				others++
				disturbed += slowrelease.InProgress()
				return nil
			}))
		}
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	draws := 0
	var w *Window
	w, err := openWindow(d, &slides{n: 1, frame: func(_ int, size image.Point) (*scene.Scene, string, error) {
		if draws++; draws == 50 {
			w.Close()
		}
		w.Wake()
		return noise(size), "", nil
	}})
	require.NoError(t, err)
	w.painter.PictureBytes = 0 // each picture is released when the next is drawn
	w.native.SetSize(64, 64)
	assert.NoError(t, w.run(t.Context()))
	w.close()
	stop()
	<-done
	assert.Zero(t, disturbed, "of %d calls", others)
}

// outdated is a device on which the first calls fail, as on a window that changes.
type outdated struct {
	raw.Core
	failed bool // inside Call
}

func (o *outdated) Call(ctx context.Context, _ func() error) error {
	return o.Core.Call(ctx, func() error {
		o.failed = true
		return errors.New("out of date")
	})
}

// A window that cannot draw tries again, unless another goroutine finds the device lost.
func TestDeviceIsLostMeanwhile(t *testing.T) {
	_, borrowed := open(t, gpu.Options{})
	core := &outdated{Core: borrowed.Core}
	failing := *borrowed
	failing.Core = core
	w := &Window{gpu: &failing}
	lost := make(chan error)
	go func() {
		for failed := false; !failed; { // not told by the window: only Call keeps them apart
			assert.NoError(t, borrowed.Call(t.Context(), func() error { failed = core.failed; return nil }))
		}
		lost <- borrowed.Lose(errors.New("a test"))
	}()
	view, err := w.next(t.Context(), image.Pt(64, 64))
	assert.NoError(t, err)
	assert.Nil(t, view)
	require.ErrorIs(t, <-lost, gpu.ErrLost)
	_, err = w.next(t.Context(), image.Pt(64, 64))
	require.ErrorIs(t, err, gpu.ErrLost)
	assert.Equal(t, 2, w.failures)
}
