package preprocess

import (
	"image"
	"image/color"
	"slices"
	"time"

	"github.com/clip-wgpu/clip-wgpu/internal/guard"
)

// The Pillow modes an Image can be in.
const (
	modeBilevel = "1" // one byte a pixel, 0 or 255
	modeL       = "L"
	modeLA      = "LA"
	modeP       = "P"
	modeRGB     = "RGB"
	modeRGBA    = "RGBA" // alpha is not premultiplied
	modeCMYK    = "CMYK" // 255 is full ink
	modeI       = "I"    // int32
)

// Image is a decoded image in the mode that Pillow would open it in.
// It is immutable and safe for concurrent use.
type Image struct {
	mode          string
	width, height int
	pix           []uint8     // [height, width, bands], all modes but I
	wide          []int32     // [height, width], mode I
	palette       [][3]uint8  // mode P, the colours that the file gives
	opacity       *[256]uint8 // alpha of each value in pix, where a palette has some: open_clip does not look at it
	orientation   int         // EXIF's, if it is not applied, or 0
	taken         time.Time   // by EXIF

	fullWidth, fullHeight int // of what was decoded at a part of its size, or 0

	err error // why FromImage could make no image
}

// Mode is Pillow's name of the image's mode: 1, L, LA, P, RGB, RGBA, CMYK or I.
func (m *Image) Mode() string { return m.mode }

// Width is the number of columns.
func (m *Image) Width() int { return m.width }

// Height is the number of rows.
func (m *Image) Height() int { return m.height }

// rect is the part of an image at columns x to x+w, rows y to y+h.
type rect struct{ x, y, w, h int }

// all is the part that leaves nothing out.
func (m *Image) all() rect { return rect{0, 0, m.width, m.height} }

// Turned tells whether the image is stored turned or mirrored, by an EXIF
// orientation that WithOrientation would have applied.
func (m *Image) Turned() bool { return m.orientation >= 2 && m.orientation <= 8 }

func newImage(mode string, width, height int) *Image {
	m := &Image{mode: mode, width: width, height: height}
	if mode == modeI {
		m.wide = make([]int32, width*height)
	} else {
		m.pix = make([]uint8, width*height*m.bands())
	}
	return m
}

// like returns an empty image of m's mode and palette.
func (m *Image) like(width, height int) *Image {
	out := newImage(m.mode, width, height)
	out.palette, out.opacity = m.palette, m.opacity
	return out
}

func (m *Image) bands() int {
	switch m.mode {
	case modeLA:
		return 2
	case modeRGB:
		return 3
	case modeRGBA, modeCMYK:
		return 4
	}
	return 1
}

func (m *Image) hasAlpha() bool { return m.mode == modeLA || m.mode == modeRGBA }

// FromImage maps a Go image to the mode that Pillow would give the file it was
// decoded from, as far as the Go type still tells:
//
//	Gray                                L
//	Gray16                              I (so that levels above 255 saturate, as in open_clip)
//	Paletted                            P, whose alpha open_clip ignores
//	YCbCr                               RGB, by libjpeg's upsampling and colour conversion
//	CMYK                                CMYK
//	RGBA, RGBA64, NRGBA, NRGBA64        RGB if opaque, else RGBA; 16-bit samples keep their high byte
//	any other                           RGBA by color.NRGBAModel
//
// What no Go type tells is lost: a bilevel PNG arrives as Gray, gray with alpha
// as NRGBA (which gives the same pixels), a GIF's transparent colour as black.
// Decode has no such losses. The pixels are copied. A nil image has none, which
// Transform refuses, as it does an image that panics when it is read.
func FromImage(src image.Image) *Image {
	m, err := fromImage(src)
	if err != nil {
		return &Image{mode: modeRGB, err: err}
	}
	return m
}

func fromImage(src image.Image) (m *Image, err error) {
	defer guard.Catch(&err)
	if src == nil {
		return newImage(modeRGB, 0, 0), nil
	}
	return convert(src), nil
}

func convert(src image.Image) *Image {
	b := src.Bounds()
	w, h := b.Dx(), b.Dy()
	switch s := src.(type) {
	case *image.Gray:
		return gather(modeL, w, h, samples{s.Pix, s.Stride, 1}, 0)
	case *image.Gray16:
		return gatherWide(w, h, samples{s.Pix, s.Stride, 2})
	case *image.Paletted:
		m := gather(modeP, w, h, samples{s.Pix, s.Stride, 1}, 0)
		m.palette, m.opacity = paletteOf(s.Palette)
		return m
	case *image.YCbCr:
		return fromYCbCr(s)
	case *image.CMYK:
		return gather(modeCMYK, w, h, samples{s.Pix, s.Stride, 4}, 0, 1, 2, 3)
	case *image.RGBA:
		return fromRGBA(w, h, samples{s.Pix, s.Stride, 4}, s.Opaque(), true)
	case *image.NRGBA:
		return fromRGBA(w, h, samples{s.Pix, s.Stride, 4}, s.Opaque(), false)
	case *image.RGBA64:
		return fromRGBA(w, h, samples{s.Pix, s.Stride, 8}, s.Opaque(), true)
	case *image.NRGBA64:
		return fromRGBA(w, h, samples{s.Pix, s.Stride, 8}, s.Opaque(), false)
	}
	m := newImage(modeRGBA, w, h)
	for y := range h {
		for x := range w {
			c := color.NRGBAModel.Convert(src.At(b.Min.X+x, b.Min.Y+y)).(color.NRGBA)
			copy(m.pix[4*(y*w+x):], []uint8{c.R, c.G, c.B, c.A})
		}
	}
	return m
}

func fromRGBA(w, h int, s samples, opaque, premultiplied bool) *Image {
	n := s.step / 4
	if opaque {
		return gather(modeRGB, w, h, s, 0, n, 2*n)
	}
	m := gather(modeRGBA, w, h, s, 0, n, 2*n, 3*n)
	if premultiplied {
		clearTransparent(m.pix)
		unpremultiply(m.pix, 4)
	}
	return m
}

// samples is the pixel memory of one of Go's image types, big-endian where a
// sample has two bytes.
type samples struct {
	pix          []uint8
	stride, step int
}

// gather makes an image of 8-bit bands from the bytes at the given offsets of
// each pixel.
func gather(mode string, w, h int, s samples, offsets ...int) *Image {
	m := newImage(mode, w, h)
	out := m.pix
	for y := range h {
		row := s.pix[y*s.stride:]
		for x := range w {
			px := row[x*s.step:]
			for b, off := range offsets {
				out[b] = px[off]
			}
			out = out[len(offsets):]
		}
	}
	return m
}

// gatherWide makes a mode I image from the first 16-bit sample of each pixel.
func gatherWide(w, h int, s samples) *Image {
	m := newImage(modeI, w, h)
	for y := range h {
		row := s.pix[y*s.stride:]
		for x := range w {
			m.wide[y*w+x] = int32(row[x*s.step])<<8 | int32(row[x*s.step+1])
		}
	}
	return m
}

// paletteOf makes a palette of colours.
func paletteOf(colors color.Palette) ([][3]uint8, *[256]uint8) {
	p, alpha := make([][3]uint8, len(colors)), make([]uint8, len(colors))
	for i, c := range colors {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		p[i], alpha[i] = [3]uint8{n.R, n.G, n.B}, n.A
	}
	return p, opacityOf(alpha)
}

// opacityOf is an Image's opacity: colours beyond those that have alpha are opaque.
func opacityOf(alpha []uint8) *[256]uint8 {
	if !slices.ContainsFunc(alpha, func(v uint8) bool { return v != 255 }) {
		return nil
	}
	var all [256]uint8
	for i := copy(all[:], alpha); i < len(all); i++ {
		all[i] = 255
	}
	return &all
}

// isGrayRamp reports whether entry i of n three-byte palette entries is the
// gray level i, in which case Pillow drops the palette.
func isGrayRamp(entries []uint8) bool {
	for i, v := range entries {
		if int(v) != i/3 {
			return false
		}
	}
	return true
}

// rgbPalette makes a palette of RGB triples. It ignores a last one that is cut short.
func rgbPalette(entries []uint8) [][3]uint8 {
	p := make([][3]uint8, len(entries)/3)
	for i := range p {
		p[i] = [3]uint8(entries[3*i:])
	}
	return p
}
