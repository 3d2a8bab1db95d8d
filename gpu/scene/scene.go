// Package scene draws rectangles, pictures and lines of text by the GPU that a
// gpu.Device has open. A Scene is a list of shapes, plain data; a Painter puts it on
// a texture, such as a window's, and Render into an image, so that what a window
// shows can be looked at without a display.
package scene

import (
	"image"
	"image/color"
)

// Scene is what Size pixels show: shapes on a background, later ones over earlier ones.
// Coordinates are pixels from the top left corner. What lies outside is not seen.
type Scene struct {
	Size       image.Point
	Background color.NRGBA
	shapes     []shape
}

// shape is a rectangle of a colour, a picture or a line of text.
type shape struct {
	at      image.Rectangle
	color   color.NRGBA
	radius  float32
	blur    float32
	picture *image.RGBA
	text    string
	font    Font
}

// Fill adds a rectangle whose corners have a radius in pixels.
func (s *Scene) Fill(at image.Rectangle, c color.NRGBA, radius int) {
	s.add(shape{at: at, color: c, radius: float32(radius)})
}

// Shadow adds a rectangle whose edges fade out over blur pixels on either side.
func (s *Scene) Shadow(at image.Rectangle, c color.NRGBA, radius, blur int) {
	s.add(shape{at: at, color: c, radius: float32(radius), blur: float32(blur)})
}

// Picture adds a picture, stretched to a rectangle. The picture stays on the GPU
// as long as scenes have it: it must not change any more.
func (s *Scene) Picture(at image.Rectangle, picture *image.RGBA, radius int) {
	if !picture.Rect.Empty() {
		s.add(shape{at: at, color: color.NRGBA{0xff, 0xff, 0xff, 0xff}, radius: float32(radius), picture: picture})
	}
}

// Text adds one line of text from the left end of a rectangle, at its middle height.
// It may be wider than the rectangle: Font.Shorten cuts it before.
func (s *Scene) Text(at image.Rectangle, f Font, c color.NRGBA, text string) {
	if text != "" {
		s.add(shape{at: at, color: c, text: text, font: f})
	}
}

func (s *Scene) add(sh shape) {
	if !sh.at.Empty() {
		s.shapes = append(s.shapes, sh)
	}
}
