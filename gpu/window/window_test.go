//go:build glfw || darwin || windows

package window

import (
	"context"
	"errors"
	"image"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/go-gl/glfw/v3.3/glfw"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/gpu/internal/raw"
	"github.com/clip-wgpu/clip-wgpu/gpu/scene"
)

// noise is a picture of random colours, as large as the window.
func noise(size image.Point) *scene.Scene {
	img := image.NewRGBA(image.Rectangle{Max: size})
	r := rand.New(rand.NewPCG(1, uint64(size.X)))
	for i := range img.Pix {
		img.Pix[i] = byte(r.Uint32()) | byte(i%4/3*255)
	}
	s := &scene.Scene{Size: size}
	s.Picture(img.Rect, img, 0)
	return s
}

// open opens a device with the limits that every GPU has, and borrows it.
func open(t *testing.T, o gpu.Options) (*gpu.Device, *raw.Device) {
	t.Helper()
	o.DefaultLimits = true
	d, err := gpu.Open(o)
	require.NoError(t, err)
	borrowed, err := raw.Borrow(d)
	require.NoError(t, err)
	t.Cleanup(func() {
		borrowed.Close()
		require.NoError(t, d.Close())
	})
	return d, borrowed
}

// display skips where no window can be opened by a test.
func display(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "darwin" {
		t.Skip("tests do not run on the main thread")
	}
	if runtime.GOOS != "windows" && os.Getenv("DISPLAY") == "" {
		t.Skip("no DISPLAY")
	}
}

// script opens a window that gets the keys one by one, each when a frame is
// asked for, and returns the frames that were.
func script(t *testing.T, d *raw.Device, n int, keys ...glfw.Key) []int {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var seen []int
	var w *Window
	w, err := openWindow(d, &slides{n: n, frame: func(i int, size image.Point) (*scene.Scene, string, error) {
		seen = append(seen, i)
		w.key(nil, keys[0], 0, glfw.Press, 0)
		w.key(nil, keys[0], 0, glfw.Release, 0)
		keys = keys[1:]
		return noise(size), "frame", nil
	}})
	require.NoError(t, err)
	defer w.close()
	require.NoError(t, w.run(t.Context()))
	return seen
}

func TestKeysTurnFrames(t *testing.T) {
	display(t)
	d, borrowed := open(t, gpu.Options{})
	used := d.MemoryInUse()
	for range 2 { // a window can follow another
		seen := script(t, borrowed, 3, glfw.KeyRight, glfw.KeySpace, glfw.KeyLeft, glfw.KeyLeft, glfw.KeySpace, glfw.KeyEscape)
		assert.Equal(t, []int{0, 1, 2, 1, 0, 1}, seen)
	}
	assert.Equal(t, used, d.MemoryInUse(), "all memory given back")
}

func TestFramesFollowTheWindowsSize(t *testing.T) {
	display(t)
	_, d := open(t, gpu.Options{})
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	want := []image.Point{{300, 200}, {640, 480}, {301, 77}}
	var w *Window
	w, err := openWindow(d, &slides{n: 1, frame: func(_ int, size image.Point) (*scene.Scene, string, error) {
		if size == want[0] {
			want = want[1:]
		}
		if len(want) == 0 {
			w.Close()
		} else {
			w.native.SetSize(want[0].X, want[0].Y) // so this frame is out of date when it gets there
		}
		return noise(size), "", nil
	}})
	require.NoError(t, err)
	defer w.close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, w.run(ctx))
}

func TestShowEndsWithErrors(t *testing.T) {
	display(t)
	d, _ := open(t, gpu.Options{})
	broken := errors.New("broken")
	err := Show(t.Context(), d, 1, func(int, image.Point) (*scene.Scene, string, error) { return nil, "", broken })
	require.ErrorIs(t, err, broken)
	err = Show(t.Context(), d, 1, func(int, image.Point) (*scene.Scene, string, error) {
		return noise(image.Pt(2, 2)), "", nil
	})
	require.ErrorContains(t, err, "(2,2)")
	ctx, cancel := context.WithCancel(t.Context())
	err = Show(ctx, d, 1, func(_ int, size image.Point) (*scene.Scene, string, error) {
		cancel()
		return noise(size), "", nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Error(t, Show(t.Context(), d, 0, nil))
	closed, err := d.Retain()
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	require.ErrorIs(t, Show(t.Context(), closed, 1, nil), gpu.ErrClosed)
}

func TestNoDisplay(t *testing.T) {
	if runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
		t.Skip("there is always one")
	}
	d, _ := open(t, gpu.Options{})
	for name, value := range map[string]string{"unset": "", "nobody there": ":98765"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("DISPLAY", value)
			err := Show(t.Context(), d, 1, nil)
			require.ErrorContains(t, err, "cannot open a window: X11")
			assert.ErrorContains(t, err, value)
		})
	}
}
