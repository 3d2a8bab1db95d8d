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
	"sync"
	"time"

	"github.com/go-gl/glfw/v3.3/glfw"
	"github.com/rajveermalviya/go-webgpu/wgpu"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/gpu/internal/raw"
	"github.com/clip-wgpu/clip-wgpu/gpu/scene"
)

// App is what a window shows. Its methods are called one at a time, from inside Run.
type App interface {
	// Handle takes an event. An error ends Run.
	Handle(*Window, Event) error
	// Scene is what the window shows now, of the size in the last Resize, and its title.
	Scene() (s *scene.Scene, title string, err error)
}

// Run opens a window and returns when it is closed. It ends early with ctx's error and
// with app's.
//
// One window can be open at a time. Run wants the main goroutine, locked to
// the main thread by runtime.LockOSThread in an init function; of the
// platforms only macOS insists on the thread being the first.
func Run(ctx context.Context, d *gpu.Device, app App) error {
	borrowed, err := raw.Borrow(d)
	if err != nil {
		return err
	}
	defer borrowed.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	w, err := openWindow(borrowed, app)
	if err != nil {
		return fmt.Errorf("cannot open a window: %w", err)
	}
	defer w.close()
	return w.run(ctx)
}

// Window is the window of a Run. But for Wake all of it belongs to one thread.
type Window struct {
	native  *glfw.Window
	gpu     *raw.Device
	surface *wgpu.Surface
	format  wgpu.TextureFormat
	painter *scene.Painter

	chain     *wgpu.SwapChain // nil until it is known how large
	chainSize image.Point
	failures  int // in a row, to get a texture from the chain

	app   App
	size  Resize    // the last one that app got
	stale bool      // what is on the screen is not the app's scene, or not whole
	err   error     // of app
	click Click     // the last one
	when  time.Time // of click

	lock  sync.Mutex // around what Wake looks at
	ended bool
	woken bool
}

// SetClipboard puts a text where other programs find it.
func (w *Window) SetClipboard(text string) {
	w.native.SetClipboardString(strings.ReplaceAll(text, "\x00", ""))
}

// Close ends Run after the event that is being handled.
func (w *Window) Close() { w.native.SetShouldClose(true) }

// Wake makes the app get a Wake soon. It may be called by any goroutine, even after Run.
func (w *Window) Wake() {
	w.lock.Lock()
	defer w.lock.Unlock()
	if !w.ended && !w.woken {
		w.woken = true
		glfw.PostEmptyEvent()
	}
}

// openWindow wants a display that the device can draw to.
func openWindow(d *raw.Device, app App) (*Window, error) {
	native, err := newNativeWindow()
	if err != nil {
		return nil, err
	}
	w := &Window{native: native, gpu: d, app: app, stale: true}
	err = checkPresentable(native)
	if err == nil {
		err = d.Call(context.Background(), w.attach)
	}
	if err == nil {
		w.painter, err = scene.NewPainter(context.Background(), d, w.format)
	}
	if err != nil {
		w.close()
		return nil, err
	}
	w.listen()
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
	glfw.WindowHint(glfw.ScaleToMonitor, glfw.True)
	return glfw.CreateWindow(1000, 720, "", nil, nil)
}

// attach prepares drawing into the window. The caller is inside Call.
func (w *Window) attach() (err error) {
	w.surface = w.gpu.Instance.CreateSurface(surfaceDescriptor(w.native))
	for _, format := range w.surface.GetCapabilities(w.gpu.Adapter).Formats {
		if format == wgpu.TextureFormat_BGRA8Unorm || format == wgpu.TextureFormat_RGBA8Unorm {
			w.format = format
			return nil
		}
	}
	return fmt.Errorf("%s cannot draw to this display", w.gpu.Name)
}

func (w *Window) close() {
	if w.painter != nil {
		w.painter.Close()
	}
	_ = w.gpu.Call(context.Background(), func() error { // what is lost is never freed
		if w.chain != nil {
			w.chain.Release()
		}
		if w.surface != nil {
			w.surface.Release()
		}
		return nil
	})
	w.lock.Lock()
	defer w.lock.Unlock()
	w.ended = true
	glfw.Terminate()
}

// run draws when there is something to draw, until the window is closed.
func (w *Window) run(ctx context.Context) error {
	const seconds = 0.1 // that ctx's end, and another try to draw, may wait
	for !w.native.ShouldClose() {
		w.measure()
		if w.stale && w.err == nil {
			w.err = w.draw(ctx)
		}
		if w.err != nil {
			return w.err
		}
		glfw.WaitEventsTimeout(seconds)
		w.wakeUp()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return w.err
}

// draw puts the app's scene on the screen. The window stays stale where that is impossible,
// because it is minimised or changes its size meanwhile; run then draws again.
func (w *Window) draw(ctx context.Context) error {
	if w.size.Size.X == 0 || w.size.Size.Y == 0 {
		return nil
	}
	w.stale = false
	s, title, err := w.app.Scene()
	if err != nil {
		return err
	}
	if s.Size != w.size.Size {
		return fmt.Errorf("a scene of %v pixels for a window of %v", s.Size, w.size.Size)
	}
	w.native.SetTitle(title)
	return w.gpu.Alone(ctx, func() error { return w.put(ctx, s) })
}

// put draws s on the screen. The caller is inside Alone.
func (w *Window) put(ctx context.Context, s *scene.Scene) error {
	view, err := w.next(ctx, s.Size)
	if view == nil || err != nil {
		return err
	}
	defer func() {
		_ = w.gpu.Call(context.Background(), func() error {
			view.Release()
			return nil
		})
	}()
	if err := w.painter.Paint(ctx, s, view); err != nil {
		return err
	}
	err = w.gpu.Call(ctx, func() error {
		w.chain.Present()
		return nil
	})
	return errors.Join(err, w.gpu.Finish(context.WithoutCancel(ctx))) // the painter then changes what it has
}

// next returns the texture that the screen shows next, or none when the window
// changes faster than it can be drawn to.
func (w *Window) next(ctx context.Context, size image.Point) (view *wgpu.TextureView, err error) {
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
				Format:      w.format,
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
