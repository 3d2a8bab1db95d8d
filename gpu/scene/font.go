package scene

import (
	"image"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gomedium"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// Font is a size, in pixels, of the Go font. It has Latin, Greek and Cyrillic letters;
// a box stands for characters of other scripts.
type Font struct {
	Size   float64 // from 4 to 256; what is outside becomes one of these
	Medium bool    // heavier strokes
}

// faces are the sizes in use. Faces are not safe for concurrent use: lock is around all of it.
var faces = struct {
	lock  sync.Mutex
	sizes map[Font]font.Face
}{sizes: map[Font]font.Face{}}

var files = map[bool]func() *opentype.Font{
	false: sync.OnceValue(func() *opentype.Font { return parse(goregular.TTF) }),
	true:  sync.OnceValue(func() *opentype.Font { return parse(gomedium.TTF) }),
}

func parse(ttf []byte) *opentype.Font {
	f, err := opentype.Parse(ttf)
	if err != nil {
		panic(err) // it is part of the program
	}
	return f
}

// face returns the font's face. The caller holds the lock.
func (f Font) face() font.Face {
	const most = 32
	f.Size = min(max(f.Size, 4), 256)
	face := faces.sizes[f]
	if face == nil {
		if len(faces.sizes) == most {
			clear(faces.sizes)
		}
		var err error
		face, err = opentype.NewFace(files[f.Medium](), &opentype.FaceOptions{Size: f.Size, DPI: 72})
		if err != nil {
			panic(err) // options that cannot fail
		}
		faces.sizes[f] = face
	}
	return face
}

// Width is how many pixels a line of text takes.
func (f Font) Width(text string) int {
	faces.lock.Lock()
	defer faces.lock.Unlock()
	return font.MeasureString(f.face(), text).Ceil()
}

// Shorten cuts text to width pixels, with "…" for what is missing. Where not even that fits
// it returns "".
func (f Font) Shorten(text string, width int) string {
	const mark = "…"
	faces.lock.Lock()
	defer faces.lock.Unlock()
	face := f.face()
	ellipsis := font.MeasureString(face, mark)
	end, x, before := -1, fixed.Int26_6(0), rune(-1)
	for i, r := range text {
		if x+ellipsis <= fixed.I(width) {
			end = i
		}
		x += advance(face, before, r)
		if before = r; x > fixed.I(width) {
			if end < 0 {
				return ""
			}
			return text[:end] + mark
		}
	}
	return text
}

// advance is how far a rune moves the dot.
func advance(face font.Face, before, r rune) fixed.Int26_6 {
	a, _ := face.GlyphAdvance(r)
	if before >= 0 {
		a += face.Kern(before, r)
	}
	return a
}

// baseline is where letters stand that are at the middle of a rectangle's height.
func baseline(face font.Face, at image.Rectangle) int {
	m := face.Metrics()
	return at.Min.Y + (at.Dy()+m.CapHeight.Round())/2
}
