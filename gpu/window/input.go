//go:build glfw || darwin || windows

package window

import (
	"image"
	"runtime"
	"slices"
	"time"

	"github.com/go-gl/glfw/v3.3/glfw"
)

var keys = map[glfw.Key]Key{
	glfw.KeyLeft: KeyLeft, glfw.KeyRight: KeyRight, glfw.KeyUp: KeyUp, glfw.KeyDown: KeyDown,
	glfw.KeyPageUp: KeyPageUp, glfw.KeyPageDown: KeyPageDown, glfw.KeyHome: KeyHome, glfw.KeyEnd: KeyEnd,
	glfw.KeyEnter: KeyEnter, glfw.KeyKPEnter: KeyEnter, glfw.KeyEscape: KeyEscape,
	glfw.KeyBackspace: KeyBackspace, glfw.KeyDelete: KeyDelete, glfw.KeySpace: KeySpace,
}

// listen gives the app what happens.
func (w *Window) listen() {
	w.native.SetKeyCallback(w.key)
	w.native.SetCharCallback(func(_ *glfw.Window, r rune) { w.tell(Text(string(r))) })
	w.native.SetMouseButtonCallback(w.button)
	w.native.SetScrollCallback(func(_ *glfw.Window, _, lines float64) { w.tell(Scroll(-lines)) })
	w.native.SetDropCallback(func(_ *glfw.Window, paths []string) { w.tell(Drop(slices.Clone(paths))) })
	w.native.SetRefreshCallback(func(*glfw.Window) { w.stale = true })
}

// tell gives the app an event, after the window's size where that has changed.
func (w *Window) tell(e Event) {
	w.measure()
	w.hand(e)
}

func (w *Window) hand(e Event) {
	w.stale = true
	if w.err == nil {
		w.err = w.app.Handle(w, e)
	}
}

// measure tells the app of another size.
func (w *Window) measure() {
	width, height := w.native.GetFramebufferSize()
	scale, _ := w.native.GetContentScale()
	now := Resize{image.Pt(width, height), float64(scale)}
	if now != w.size && width > 0 && height > 0 {
		w.size = now
		w.hand(now)
	}
}

// wakeUp tells the app that somebody called Wake.
func (w *Window) wakeUp() {
	w.lock.Lock()
	woken := w.woken
	w.woken = false
	w.lock.Unlock()
	if woken {
		w.tell(Wake{})
	}
}

func (w *Window) key(_ *glfw.Window, key glfw.Key, _ int, action glfw.Action, mods glfw.ModifierKey) {
	if action == glfw.Release {
		return
	}
	control := glfw.ModControl
	if runtime.GOOS == "darwin" {
		control = glfw.ModSuper
	}
	k, ok := keys[key]
	if mods&control != 0 && !ok {
		if key == glfw.KeyV {
			w.tell(Text(w.native.GetClipboardString()))
			return
		}
		k, ok = KeyC, key == glfw.KeyC
	}
	if ok {
		w.tell(Press{k, mods&control != 0, mods&glfw.ModShift != 0})
	}
}

func (w *Window) button(_ *glfw.Window, button glfw.MouseButton, action glfw.Action, _ glfw.ModifierKey) {
	if button != glfw.MouseButtonLeft || action != glfw.Press {
		return
	}
	const near, soon = 8, time.Second / 2 // pixels and time between two clicks that are one double click
	x, y := w.native.GetCursorPos()
	width, height := w.native.GetSize() // not always in pixels
	c := Click{At: image.Pt(int(x*float64(w.size.Size.X)/float64(max(width, 1))), int(y*float64(w.size.Size.Y)/float64(max(height, 1))))}
	d := c.At.Sub(w.click.At)
	c.Double = !w.click.Double && time.Since(w.when) < soon && max(d.X, -d.X, d.Y, -d.Y) <= near
	w.click, w.when = c, time.Now()
	w.tell(c)
}
