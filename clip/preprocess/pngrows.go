package preprocess

import (
	"image"
	"iter"
)

// pngLayout is how the pixels of one bit depth and colour type lie in a row.
type pngLayout struct {
	mode  string
	bits  int   // a pixel
	scale uint8 // below 8 bits: what a sample is multiplied by
	from  []int // from 8 bits on: the byte of the pixel that each band is, of 16 bits the high one
}

// pngLayouts are Pillow's modes by bit depth and colour type.
var pngLayouts = map[[2]uint8]pngLayout{
	{1, 0}:  {modeBilevel, 1, 255, nil},
	{2, 0}:  {modeL, 2, 85, nil},
	{4, 0}:  {modeL, 4, 17, nil},
	{8, 0}:  {modeL, 8, 1, []int{0}},
	{16, 0}: {modeI, 16, 1, nil},
	{8, 2}:  {modeRGB, 24, 1, []int{0, 1, 2}},
	{16, 2}: {modeRGB, 48, 1, []int{0, 2, 4}},
	{1, 3}:  {modeP, 1, 1, nil},
	{2, 3}:  {modeP, 2, 1, nil},
	{4, 3}:  {modeP, 4, 1, nil},
	{8, 3}:  {modeP, 8, 1, []int{0}},
	{8, 4}:  {modeLA, 16, 1, []int{0, 1}},
	{16, 4}: {modeRGBA, 32, 1, []int{0, 0, 0, 2}},
	{8, 6}:  {modeRGBA, 32, 1, []int{0, 1, 2, 3}},
	{16, 6}: {modeRGBA, 64, 1, []int{0, 2, 4, 6}},
}

func (l *pngLayout) is(mode string) bool { return l != nil && l.mode == mode }

// rowBytes is the length of a row of n pixels, without its filter.
func (l *pngLayout) rowBytes(n int) int { return ceilDiv(n*l.bits, 8) }

// pngRow is a row of the data: n pixels, the first of which is pixel at of the
// image and the others step pixels apart.
type pngRow struct {
	at, step, n int
	first       bool // of a pass: the row before it is black
}

// pngPass is a pass of an interlaced image (PNG specification, 8.2).
type pngPass struct{ x, y, dx, dy int }

var (
	pngOnePass = []pngPass{{0, 0, 1, 1}}
	pngPasses  = []pngPass{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}
)

// rows lists the rows of the first frame. Pillow puts an interlaced frame at the
// top left, and others in their place.
func (f *pngFile) rows() iter.Seq[pngRow] {
	frame, passes := image.Rect(0, 0, f.width, f.height), pngOnePass
	if f.frame != nil {
		frame = *f.frame
	}
	at := frame.Min.Y*f.width + frame.Min.X
	if f.interlaced {
		at, passes = 0, pngPasses
	}
	return func(yield func(pngRow) bool) {
		for _, p := range passes {
			n := ceilDiv(frame.Dx()-p.x, p.dx)
			for y := p.y; y < frame.Dy() && n > 0; y += p.dy {
				if !yield(pngRow{at + y*f.width + p.x, p.dx, n, y == p.y}) {
					return
				}
			}
		}
	}
}

// put writes a row to m. spread is for samples of less than 8 bits.
func (l *pngLayout) put(m *Image, r pngRow, row []uint8, spread *bitSpreader) {
	bands, bytes := len(l.from), l.bits/8
	switch {
	case l.mode == modeI:
		for i := range r.n {
			m.wide[r.at+i*r.step] = int32(row[2*i])<<8 | int32(row[2*i+1])
		}
	case l.bits < 8 && r.step == 1:
		spread.samples(m.pix[r.at:r.at+r.n], row)
	case l.bits < 8:
		for i := range r.n {
			v := row[i*l.bits/8] << (i * l.bits % 8) >> (8 - l.bits)
			m.pix[r.at+i*r.step] = v * l.scale
		}
	case r.step == 1 && bands == bytes && l.from[bands-1] == bytes-1: // as they are in m
		copy(m.pix[r.at*bands:], row)
	case bands == 3:
		from := l.from[2] + 1
		for i := range r.n {
			px, in := m.pix[(r.at+i*r.step)*3:][:3], row[i*bytes:][:from]
			px[0], px[1], px[2] = in[0], in[len(in)/2], in[len(in)-1]
		}
	default:
		for i := range r.n {
			px, from := m.pix[(r.at+i*r.step)*bands:], row[i*bytes:]
			for b, at := range l.from {
				px[b] = from[at]
			}
		}
	}
}
