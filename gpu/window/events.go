package window

import "image"

// Event is what happens to a window: one of Resize, Text, Press, Click, Scroll, Drop and Wake.
type Event any

// Resize says how large the window is, in pixels. It comes before every other event.
// Scale is how many pixels the system wants for one of a display of usual density.
type Resize struct {
	Size  image.Point
	Scale float64
}

// Text was typed, or pasted by Control and V: it may have any characters.
type Text string

// Press is a key that was pressed or repeats itself.
type Press struct {
	Key            Key
	Control, Shift bool // Control is the command key on macOS
}

// Key is a key of Press.
type Key int

// The keys that come as Press.
const (
	KeyLeft Key = iota
	KeyRight
	KeyUp
	KeyDown
	KeyPageUp
	KeyPageDown
	KeyHome
	KeyEnd
	KeyEnter
	KeyEscape
	KeyBackspace
	KeyDelete
	KeySpace // beside the Text
	KeyC     // with Control
)

// Click is a press of the mouse's first button.
type Click struct {
	At     image.Point // pixels from the top left corner
	Double bool        // the second of two within half a second at one place
}

// Scroll is how many lines the wheel moved what lies under it upwards.
type Scroll float64

// Drop are files and folders that were dropped on the window.
type Drop []string

// Wake follows Window.Wake.
type Wake struct{}
