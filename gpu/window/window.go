//go:build glfw || darwin || windows

package window

import (
	"context"
	"errors"
	"fmt"
	"image"
	"log"
	"runtime"
	"strings"

	"github.com/go-gl/glfw/v3.3/glfw"
	"github.com/rajveermalviya/go-webgpu/wgpu"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/gpu/internal/raw"
)

// FrameFunc makes frame i for a window of size pixels: an opaque image of
// exactly that size, and the window's title.
type FrameFunc func(i int, size image.Point) (frame *image.RGBA, title string, err error)

// Show opens a window on frame 0 of n and returns when it is closed. Space and
// the right arrow go to the next frame, the left arrow goes back, escape closes
// the window. It ends early with ctx's error and with frame's.
//
// One window can be open at a time. Show wants the main goroutine, locked to
// the main thread by runtime.LockOSThread in an init function; of the
// platforms only macOS insists on the thread being the first.
func Show(ctx context.Context, d *gpu.Device, n int, frame FrameFunc) error {
	if n < 1 {
		return fmt.Errorf("a window of %d frames", n)
	}
	borrowed, err := raw.Borrow(d)
	if err != nil {
		return err
	}
	defer borrowed.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	w, err := openWindow(borrowed, n, frame)
	if err != nil {
		return fmt.Errorf("cannot open a window: %w", err)
	}
	defer w.close()
	return w.run(ctx)
}

// window shows frames on a screen. All of it belongs to one thread.
type window struct {
	*glfw.Window
	gpu     *raw.Device
	surface *wgpu.Surface
	painter *painter

	chain     *wgpu.SwapChain // nil until it is known how large
	chainSize image.Point
	failures  int // in a row, to get a texture from the chain

	frame FrameFunc
	n, i  int
	stale bool // what is on the screen is not frame i, or not whole
}

// openWindow wants a display that the device can draw to.
func openWindow(d *raw.Device, n int, frame FrameFunc) (*window, error) {
	native, err := newNativeWindow()
	if err != nil {
		return nil, err
	}
	w := &window{Window: native, gpu: d, frame: frame, n: n, stale: true}
	err = checkPresentable(native)
	if err == nil {
		err = d.Call(context.Background(), w.attach)
	}
	if err != nil {
		w.close()
		return nil, err
	}
	w.SetKeyCallback(w.key)
	w.SetRefreshCallback(func(*glfw.Window) { w.stale = true })
	w.SetFramebufferSizeCallback(func(*glfw.Window, int, int) { w.stale = true })
	return w, nil
}

// newNativeWindow opens a window without contents. When the platform fails, the
// binding logs the reason, returns no error, and then panics on the next call.
func newNativeWindow() (w *glfw.Window, err error) {
	var logged strings.Builder
	output, flags := log.Writer(), log.Flags()
	log.SetOutput(&logged)
	log.SetFlags(0)
	defer func() {
		failure := recover()
		log.SetOutput(output)
		log.SetFlags(flags)
		if w != nil {
			return
		}
		glfw.Terminate()
		if reason := strings.TrimSpace(logged.String()); reason != "" {
			err = errors.New(strings.TrimPrefix(reason, "PlatformError: "))
		} else if e, ok := failure.(*glfw.Error); ok {
			err = e
		} else if failure != nil {
			panic(failure)
		}
	}()
	if err := glfw.Init(); err != nil {
		return nil, err
	}
	glfw.WindowHint(glfw.ClientAPI, glfw.NoAPI)
	return glfw.CreateWindow(800, 720, "", nil, nil)
}

// attach prepares drawing into the window. The caller is inside Call.
func (w *window) attach() (err error) {
	w.surface = w.gpu.Instance.CreateSurface(surfaceDescriptor(w.Window))
	for _, format := range w.surface.GetCapabilities(w.gpu.Adapter).Formats {
		if format == wgpu.TextureFormat_BGRA8Unorm || format == wgpu.TextureFormat_RGBA8Unorm {
			w.painter, err = newPainter(w.gpu, format)
			return err
		}
	}
	return fmt.Errorf("%s cannot draw to this display", w.gpu.Name)
}

func (w *window) close() {
	_ = w.gpu.Call(context.Background(), func() error { // what is lost is never freed
		if w.chain != nil {
			w.chain.Release()
		}
		if w.painter != nil {
			w.painter.release()
		}
		if w.surface != nil {
			w.surface.Release()
		}
		return nil
	})
	glfw.Terminate()
}

func (w *window) key(_ *glfw.Window, key glfw.Key, _ int, action glfw.Action, _ glfw.ModifierKey) {
	if action == glfw.Release {
		return
	}
	switch key {
	case glfw.KeySpace, glfw.KeyRight:
		w.turn(min(w.i+1, w.n-1))
	case glfw.KeyLeft:
		w.turn(max(w.i-1, 0))
	case glfw.KeyEscape:
		w.SetShouldClose(true)
	}
}

func (w *window) turn(i int) {
	w.stale = w.stale || i != w.i
	w.i = i
}

// run draws when there is something to draw, until the window is closed.
func (w *window) run(ctx context.Context) error {
	const seconds = 0.1 // that ctx's end, and another try to draw, may wait
	for !w.ShouldClose() {
		if w.stale {
			if err := w.draw(ctx); err != nil {
				return err
			}
		}
		glfw.WaitEventsTimeout(seconds)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// draw puts frame i on the screen. The window stays stale where that is impossible,
// because it is minimised or changes its size meanwhile; run then draws again.
func (w *window) draw(ctx context.Context) error {
	width, height := w.GetFramebufferSize()
	size := image.Pt(width, height)
	if width == 0 || height == 0 {
		return nil
	}
	w.stale = false
	img, title, err := w.frame(w.i, size)
	if err != nil {
		return err
	}
	if img.Rect.Size() != size {
		return fmt.Errorf("a frame of %v pixels for a window of %v", img.Rect.Size(), size)
	}
	w.SetTitle(title)
	return w.gpu.Alone(ctx, func() error { return w.put(ctx, img) })
}

// put draws img on the screen. The caller is inside Alone.
func (w *window) put(ctx context.Context, img *image.RGBA) error {
	picture, err := w.painter.upload(ctx, img)
	if err != nil {
		return err
	}
	defer picture.release()
	view, err := w.next(ctx, img.Rect.Size())
	if view == nil || err != nil {
		return err
	}
	defer func() {
		_ = w.gpu.Call(context.Background(), func() error {
			view.Release()
			return nil
		})
	}()
	return w.present(ctx, picture, view)
}

// next returns the texture that the screen shows next, or none when the window
// changes faster than it can be drawn to.
func (w *window) next(ctx context.Context, size image.Point) (view *wgpu.TextureView, err error) {
	const patience = 20
	err = w.gpu.Call(ctx, func() error {
		if w.chain != nil && w.chainSize != size {
			w.chain.Release()
			w.chain = nil
		}
		if w.chain == nil {
			w.chainSize = size
			w.chain, err = w.gpu.Device.CreateSwapChain(w.surface, &wgpu.SwapChainDescriptor{
				Usage:       wgpu.TextureUsage_RenderAttachment,
				Format:      w.painter.format,
				Width:       uint32(size.X),
				Height:      uint32(size.Y),
				PresentMode: wgpu.PresentMode_Fifo,
				AlphaMode:   wgpu.CompositeAlphaMode_Auto,
			})
			if err != nil {
				return err
			}
		}
		view, err = w.chain.GetCurrentTextureView()
		return err
	})
	if err == nil {
		w.failures = 0
		return view, nil
	}
	if w.failures++; ctx.Err() != nil || w.failures > patience || errors.Is(err, gpu.ErrLost) {
		return nil, err
	}
	w.stale, w.chainSize = true, image.Point{} // out of date: a new chain
	return nil, nil
}

// present paints picture on view and lets the screen have it.
func (w *window) present(ctx context.Context, picture *picture, view *wgpu.TextureView) error {
	record := func(e *wgpu.CommandEncoder) error { return w.painter.paint(e, picture, view) }
	if err := w.gpu.Submit(ctx, record); err != nil {
		return err
	}
	err := w.gpu.Call(ctx, func() error {
		w.chain.Present()
		return nil
	})
	return errors.Join(err, w.gpu.Finish(context.WithoutCancel(ctx))) // picture is freed after
}
