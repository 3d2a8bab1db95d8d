package preprocess

import (
	"slices"
	"sync"
)

// rowsAtOnce is how many rows of the source the horizontal pass takes together.
const rowsAtOnce = 4

// slack is how many bytes behind its result a pass may write.
const slack = 32

// passes resizes images of 8-bit bands, in fixed point.
type passes struct {
	bands  int
	wx, wy weights[int32]
	packed packedWeights // wx as the horizontal pass wants them
	stride int           // of a line, the result of a row's horizontal pass
	*scratch
}

// scratch is memory of a resize that the next one uses again.
type scratch struct {
	rows  []uint8 // rowsAtOnce rows of the source
	lines []uint8
	sums  []int32
	packed16
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// sized returns s with n elements of any values.
func sized[T any](s []T, n int) []T { return slices.Grow(s[:0], n)[:n] }

// resample returns the wanted part of m's 8-bit pixels, resized horizontally, then
// vertically, and rounded in between. Alpha is multiplied into the colours.
//
// Only the lines that the next row of the result needs are kept, so that an image
// much taller or wider than the result costs no intermediate of its size.
func (m *Image) resample(x, y axis, f filter) []uint8 {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	out := x.len() * m.bands()
	p := &passes{bands: m.bands(), wx: fixed(f.weights(x)), wy: fixed(f.weights(y)), stride: ceilDiv(out+slack, slack) * slack, scratch: s}
	p.packed = p.wx.pack(p.bands, &s.packed16)
	most := p.wy.most()
	held := 2*most + rowsAtOnce // lines that there is room for
	s.lines = sized(s.lines, held*p.stride)
	s.sums = sized(s.sums, out)
	dst := make([]uint8, y.len()*out, y.len()*out+slack)
	base := p.wy.first[0] // the row of the first line
	row := base           // the next to be made a line
	for r, k := range p.wy.k {
		first := p.wy.first[r]
		for ; row < first+len(k); row += rowsAtOnce {
			if row+rowsAtOnce-base > held {
				copy(s.lines, s.lines[(first-base)*p.stride:(row-base)*p.stride])
				base = first
			}
			src, in := p.source(m, row)
			p.horizontal(s.lines[(row-base)*p.stride:], src, in)
		}
		p.vertical(dst[r*out:(r+1)*out], s.lines[(first-base)*p.stride:], k)
	}
	return dst
}

// source returns rowsAtOnce rows of m from row on, and their stride. Rows are copied
// where there are too few, where the pass would read beyond m, and where alpha is to
// be multiplied into them.
func (p *passes) source(m *Image, row int) (src []uint8, stride int) {
	in := m.width * p.bands
	reach := (rowsAtOnce-1)*in + p.packed.reach
	if !m.hasAlpha() && len(m.pix)-row*in >= reach {
		return m.pix[row*in:], in
	}
	p.rows = sized(p.rows, max(rowsAtOnce*in, reach))
	rows := m.pix[row*in : min(row+rowsAtOnce, m.height)*in]
	if m.hasAlpha() {
		premultiplyInto(p.rows, rows, p.bands)
	} else {
		copy(p.rows, rows)
	}
	return p.rows, in
}

// horizontalGo resizes one row.
func (p *passes) horizontalGo(dst, src []uint8) {
	switch p.bands {
	case 3:
		horizontal3(dst, src, p.wx)
	case 4:
		horizontal4(dst, src, p.wx)
	default:
		for i, k := range p.wx.k {
			px := src[p.wx.first[i]*p.bands:][:len(k)*p.bands]
			for band := range p.bands {
				var sum int32
				for j, at := 0, band; j < len(k) && at < len(px); j, at = j+1, at+p.bands {
					sum += int32(px[at]) * k[j]
				}
				dst[i*p.bands+band] = round8(sum)
			}
		}
	}
}

func horizontal3(dst, src []uint8, w weights[int32]) {
	for i, k := range w.k {
		px := src[w.first[i]*3:][:len(k)*3]
		var r, g, b int32
		for j, v := range k {
			p := px[3*j : 3*j+3 : 3*j+3]
			r += int32(p[0]) * v
			g += int32(p[1]) * v
			b += int32(p[2]) * v
		}
		dst[3*i], dst[3*i+1], dst[3*i+2] = round8(r), round8(g), round8(b)
	}
}

func horizontal4(dst, src []uint8, w weights[int32]) {
	for i, k := range w.k {
		px := src[w.first[i]*4:][:len(k)*4]
		var r, g, b, a int32
		for j, v := range k {
			p := px[4*j : 4*j+4 : 4*j+4]
			r += int32(p[0]) * v
			g += int32(p[1]) * v
			b += int32(p[2]) * v
			a += int32(p[3]) * v
		}
		dst[4*i], dst[4*i+1], dst[4*i+2], dst[4*i+3] = round8(r), round8(g), round8(b), round8(a)
	}
}

// verticalGo makes dst of the lines that k weighs, by four of them at once.
func (p *passes) verticalGo(dst, lines []uint8, k []int32) {
	sums := p.sums[:len(dst)]
	clear(sums)
	for ; len(k) >= 4; k, lines = k[4:], lines[4*p.stride:] {
		k0, k1, k2, k3 := k[0], k[1], k[2], k[3]
		a, b := lines[:len(sums)], lines[p.stride:][:len(sums)]
		c, d := lines[2*p.stride:][:len(sums)], lines[3*p.stride:][:len(sums)]
		for i := range sums {
			sums[i] += int32(a[i])*k0 + int32(b[i])*k1 + int32(c[i])*k2 + int32(d[i])*k3
		}
	}
	for j, v := range k {
		for i, px := range lines[j*p.stride:][:len(sums)] {
			sums[i] += int32(px) * v
		}
	}
	for i, sum := range sums {
		dst[i] = round8(sum)
	}
}

// round8 brings a fixed-point sum back to a pixel.
func round8(sum int32) uint8 {
	return clip8((sum + 1<<(precisionBits-1)) >> precisionBits)
}
