//go:build glfw || darwin || windows

package window

import (
	"errors"
	"image"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-gl/glfw/v3.3/glfw"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/gpu/internal/raw"
	"github.com/clip-wgpu/clip-wgpu/gpu/scene"
)

// listener keeps what it is told.
type listener struct {
	events []Event
	size   image.Point
	handle func(*Window, Event) error
}

func (l *listener) Handle(w *Window, e Event) error {
	l.events = append(l.events, e)
	if size, ok := e.(Resize); ok {
		l.size = size.Size
	}
	return l.handle(w, e)
}

func (l *listener) Scene() (*scene.Scene, string, error) {
	return &scene.Scene{Size: l.size}, "listener", nil
}

func TestEventsReachTheApp(t *testing.T) {
	display(t)
	_, d := open(t, gpu.Options{})
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l := &listener{handle: func(w *Window, e Event) error {
		if _, ok := e.(Resize); !ok {
			return nil
		}
		control := glfw.ModControl
		if runtime.GOOS == "darwin" {
			control = glfw.ModSuper
		}
		w.SetClipboard("pasted\x00 Ω")
		w.key(nil, glfw.KeyEnter, 0, glfw.Press, control)
		w.key(nil, glfw.KeyLeft, 0, glfw.Repeat, glfw.ModShift)
		w.key(nil, glfw.KeyLeft, 0, glfw.Release, 0)
		w.key(nil, glfw.KeyC, 0, glfw.Press, 0) // comes as Text
		w.key(nil, glfw.KeyC, 0, glfw.Press, control)
		w.key(nil, glfw.KeyV, 0, glfw.Press, control)
		for range 3 {
			w.button(nil, glfw.MouseButtonLeft, glfw.Press, 0)
			w.button(nil, glfw.MouseButtonLeft, glfw.Release, 0)
		}
		w.button(nil, glfw.MouseButtonRight, glfw.Press, 0)
		w.Close()
		return nil
	}}
	w, err := openWindow(d, l)
	require.NoError(t, err)
	defer w.close()
	require.NoError(t, w.run(t.Context()))
	require.Len(t, l.events, 8)
	assert.Positive(t, l.events[0].(Resize).Scale)
	assert.Equal(t, []Event{Press{KeyEnter, true, false}, Press{KeyLeft, false, true}, Press{KeyC, true, false}, Text("pasted Ω")}, l.events[1:5])
	for i, double := range []bool{false, true, false} {
		assert.Equal(t, double, l.events[5+i].(Click).Double)
	}
}

func TestWake(t *testing.T) {
	display(t)
	_, d := open(t, gpu.Options{})
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	woken := 0
	done := make(chan struct{})
	l := &listener{handle: func(w *Window, e Event) error {
		switch e.(type) {
		case Resize:
			go func() { // as long as the window is there, and after
				defer close(done)
				for range 200 {
					w.Wake()
					time.Sleep(time.Millisecond)
				}
			}()
		case Wake:
			if woken++; woken == 3 {
				return errors.New("enough")
			}
		}
		return nil
	}}
	w, err := openWindow(d, l)
	require.NoError(t, err)
	require.EqualError(t, w.run(t.Context()), "enough")
	w.close()
	<-done
	assert.Equal(t, 3, woken)
}

// A GPU that is lost while a window is open ends it, with one error.
func TestLostGPU(t *testing.T) {
	display(t)
	d, err := gpu.Open(gpu.Options{})
	require.NoError(t, err)
	borrowed, err := raw.Borrow(d)
	require.NoError(t, err)
	l := &listener{handle: func(_ *Window, e Event) error {
		if _, ok := e.(Resize); ok {
			_ = borrowed.Lose(errors.New("a test"))
		}
		return nil
	}}
	err = Run(t.Context(), d, l)
	require.ErrorIs(t, err, gpu.ErrLost)
	assert.Equal(t, 1, strings.Count(err.Error(), gpu.ErrLost.Error()))
	borrowed.Close()
	_ = d.Close() // what is lost is never freed
}
