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
	"github.com/rajveermalviya/go-webgpu/wgpu"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/gpu/internal/raw"
)

// noise is an opaque image of random colours.
func noise(size image.Point) *image.RGBA {
	img := image.NewRGBA(image.Rectangle{Max: size})
	r := rand.New(rand.NewPCG(1, uint64(size.X)))
	for i := range img.Pix {
		img.Pix[i] = byte(r.Uint32()) | byte(i%4/3*255)
	}
	return img
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

// canvas is a texture that a painter paints on, and a buffer to read it back from.
type canvas struct {
	painter *painter
	texture *wgpu.Texture
	view    *wgpu.TextureView
	buffer  *wgpu.Buffer
	extent  wgpu.Extent3D
	row     int // bytes of one in the buffer, as copies to buffers want it
}

func newCanvas(d *raw.Device, size image.Point) (c canvas, err error) {
	if c.painter, err = newPainter(d, wgpu.TextureFormat_RGBA8Unorm); err != nil {
		return c, err
	}
	c.extent = wgpu.Extent3D{Width: uint32(size.X), Height: uint32(size.Y), DepthOrArrayLayers: 1}
	c.row = (4*size.X + 255) &^ 255
	c.texture, err = d.Device.CreateTexture(&wgpu.TextureDescriptor{
		Usage:         wgpu.TextureUsage_RenderAttachment | wgpu.TextureUsage_CopySrc,
		Dimension:     wgpu.TextureDimension_2D,
		Size:          c.extent,
		Format:        c.painter.format,
		MipLevelCount: 1,
		SampleCount:   1,
	})
	if err != nil {
		return c, err
	}
	if c.view, err = c.texture.CreateView(nil); err != nil {
		return c, err
	}
	c.buffer, err = d.Device.CreateBuffer(&wgpu.BufferDescriptor{Size: uint64(c.row * size.Y), Usage: wgpu.BufferUsage_CopySrc | wgpu.BufferUsage_CopyDst})
	return c, err
}

func (c canvas) release() {
	c.buffer.Release()
	c.view.Release()
	c.texture.Release()
	c.painter.release()
}

// paint records the picture's way onto the texture and from there into the buffer.
func (c canvas) paint(e *wgpu.CommandEncoder, pic *picture) error {
	if err := c.painter.paint(e, pic, c.view); err != nil {
		return err
	}
	return e.CopyTextureToBuffer(c.texture.AsImageCopy(), &wgpu.ImageCopyBuffer{
		Buffer: c.buffer,
		Layout: wgpu.TextureDataLayout{BytesPerRow: uint32(c.row), RowsPerImage: c.extent.Height},
	}, &c.extent)
}

// painted is what a painter makes of img, read back from the GPU.
func painted(t *testing.T, d *raw.Device, img *image.RGBA) []byte {
	t.Helper()
	ctx := t.Context()
	size := img.Rect.Size()
	var c canvas
	require.NoError(t, d.Call(ctx, func() (err error) {
		c, err = newCanvas(d, size)
		return err
	}))
	rows := make([]byte, c.row*size.Y)
	require.NoError(t, d.Alone(ctx, func() error {
		pic, err := c.painter.upload(ctx, img)
		if err != nil {
			return err
		}
		defer pic.release()
		err = d.Submit(ctx, func(e *wgpu.CommandEncoder) error { return c.paint(e, pic) })
		if err != nil {
			return err
		}
		return d.Read(ctx, c.buffer, rows)
	}))
	require.NoError(t, d.Call(ctx, func() error {
		c.release()
		return nil
	}))
	var pixels []byte
	for y := range size.Y {
		pixels = append(pixels, rows[y*c.row:][:4*size.X]...)
	}
	return pixels
}

func TestPaintKeepsEveryPixel(t *testing.T) {
	d, borrowed := open(t, gpu.Options{})
	used := d.MemoryInUse()
	for _, size := range []image.Point{{1, 1}, {7, 3}, {65, 197}, {256, 64}} {
		img := noise(size)
		assert.Equal(t, img.Pix, painted(t, borrowed, img), "%v", size)
	}
	assert.Equal(t, used, d.MemoryInUse(), "all memory given back")
}

func TestPaintKeepsToTheBudget(t *testing.T) {
	d, borrowed := open(t, gpu.Options{MaxMemory: 6 << 20})
	used := d.MemoryInUse()
	var p *painter
	require.NoError(t, borrowed.Call(t.Context(), func() (err error) {
		p, err = newPainter(borrowed, wgpu.TextureFormat_RGBA8Unorm)
		return err
	}))
	_, err := p.upload(t.Context(), noise(image.Pt(1024, 1024)))
	var memory *gpu.MemoryError
	require.ErrorAs(t, err, &memory)
	assert.EqualValues(t, 4<<20, memory.Needed)
	_, err = p.upload(t.Context(), noise(image.Pt(10000, 1)))
	require.ErrorContains(t, err, "8192", "wider than the device allows")
	require.NoError(t, borrowed.Call(t.Context(), func() error { p.release(); return nil }))
	assert.Equal(t, used, d.MemoryInUse(), "all memory given back")
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
	var w *window
	w, err := openWindow(d, n, func(i int, size image.Point) (*image.RGBA, string, error) {
		seen = append(seen, i)
		w.key(nil, keys[0], 0, glfw.Press, 0)
		w.key(nil, keys[0], 0, glfw.Release, 0)
		keys = keys[1:]
		return noise(size), "frame", nil
	})
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
	var w *window
	w, err := openWindow(d, 1, func(_ int, size image.Point) (*image.RGBA, string, error) {
		if size == want[0] {
			want = want[1:]
		}
		if len(want) == 0 {
			w.SetShouldClose(true)
		} else {
			w.SetSize(want[0].X, want[0].Y) // so this frame is out of date when it gets there
		}
		return noise(size), "", nil
	})
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
	err := Show(t.Context(), d, 1, func(int, image.Point) (*image.RGBA, string, error) { return nil, "", broken })
	require.ErrorIs(t, err, broken)
	err = Show(t.Context(), d, 1, func(int, image.Point) (*image.RGBA, string, error) {
		return noise(image.Pt(2, 2)), "", nil
	})
	require.ErrorContains(t, err, "(2,2)")
	ctx, cancel := context.WithCancel(t.Context())
	err = Show(ctx, d, 1, func(_ int, size image.Point) (*image.RGBA, string, error) {
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
