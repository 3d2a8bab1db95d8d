package preprocess

import "math"

// precisionBits is the fixed-point precision of 8-bit resampling weights:
// 8 bits for the pixel and 2 for overshoot leave 22 (Pillow's Resample.c).
const precisionBits = 32 - 8 - 2

// axis is one dimension of a resize: n source pixels, from at on, become out pixels, of
// which only [lo, hi) are wanted.
type axis struct{ at, n, out, lo, hi int }

// scaled is the axis of which all is wanted.
func scaled(at, n, out int) axis { return axis{at, n, out, 0, out} }

func (a axis) resized() bool { return a.n != a.out }
func (a axis) len() int      { return a.hi - a.lo }

// filter is a resampling kernel; support is its radius in source pixels.
type filter struct {
	support float64
	weight  func(x float64) float64
}

// The conversions keep compilers from fusing multiply and add, which would
// round differently from the reference.
var (
	bilinear = filter{1, func(x float64) float64 { return max(0, 1-math.Abs(x)) }}
	bicubic  = filter{2, func(x float64) float64 {
		const a = -0.5
		switch x = math.Abs(x); {
		case x < 1:
			return float64((float64((a+2)*x)-(a+3))*x*x) + 1
		case x < 2:
			return float64(float64(float64((x-5)*x)+8)*x-4) * a
		}
		return 0
	}}
)

// weights are the kernel weights of the wanted outputs of an axis: float64,
// or int32 with precisionBits of fraction.
type weights[K int32 | float64] struct {
	first []int // first source index of each output
	k     [][]K // weights of the source pixels from there on
}

// weights evaluates f, widened by the scale when shrinking (antialiasing), and
// normalises each output's weights to sum 1. Where nothing is resized every
// output is its source.
func (f filter) weights(a axis) weights[float64] {
	w := weights[float64]{first: make([]int, a.len()), k: make([][]float64, a.len())}
	scale := float64(a.n) / float64(a.out)
	widen := max(scale, 1)
	support := f.support * widen
	all := make([]float64, 0, a.len()*(2*int(support)+2))
	for i := range w.k {
		if !a.resized() {
			w.first[i], w.k[i] = a.at+a.lo+i, []float64{1}
			continue
		}
		center := float64((float64(a.lo+i) + 0.5) * scale)
		lo := max(int(center-support+0.5), 0)
		hi := min(int(center+support+0.5), a.n)
		all = append(all, make([]float64, hi-lo)...)
		k, sum := all[len(all)-(hi-lo):], 0.0
		for x := range k {
			k[x] = f.weight(float64((float64(lo+x) - center + 0.5) * (1 / widen)))
			sum += k[x]
		}
		if sum != 0 {
			for x := range k {
				k[x] /= sum
			}
		}
		w.first[i], w.k[i] = a.at+lo, k
	}
	return w
}

// fixed quantises weights to precisionBits.
func fixed(w weights[float64]) weights[int32] {
	q := weights[int32]{first: w.first, k: make([][]int32, len(w.k))}
	all := make([]int32, 0, len(w.k)*w.most())
	for i, k := range w.k {
		for _, v := range k {
			all = append(all, int32(math.Copysign(0.5, v)+float64(v*(1<<precisionBits))))
		}
		q.k[i] = all[len(all)-len(k):]
	}
	return q
}

// span is the range of source indices that any output needs.
func (w weights[K]) span() (lo, hi int) {
	last := len(w.k) - 1
	return w.first[0], w.first[last] + len(w.k[last])
}

// most is the largest number of weights of an output.
func (w weights[K]) most() int {
	n := 0
	for _, k := range w.k {
		n = max(n, len(k))
	}
	return n
}

// resize returns the wanted part of m resized to x.out by y.out pixels, as
// Pillow's Image.resize does it: horizontally first, each pass rounded to the
// pixel type. Palette and bilevel images have no in-between values and are
// resized by nearest neighbour; alpha is multiplied into the colours meanwhile.
func (m *Image) resize(x, y axis, f filter) *Image {
	if !x.resized() && !y.resized() || m.mode == modeP || m.mode == modeBilevel {
		return m.pick(x, y)
	}
	out := &Image{mode: m.mode, width: x.len(), height: y.len()}
	if m.mode == modeI {
		out.wide = m.resampleWide(f.weights(x), f.weights(y))
		return out
	}
	out.pix = m.resample(x, y, f)
	if m.hasAlpha() {
		unpremultiply(out.pix, m.bands())
	}
	return out
}

// pick resizes by nearest neighbour; with equal sizes it is a crop.
func (m *Image) pick(x, y axis) *Image {
	out := m.like(x.len(), y.len())
	cols, rows, n := nearest(x), nearest(y), m.bands()
	for j, sy := range rows {
		for i, sx := range cols {
			src, dst := sy*m.width+sx, j*len(cols)+i
			if m.mode == modeI {
				out.wide[dst] = m.wide[src]
			} else {
				copy(out.pix[dst*n:(dst+1)*n], m.pix[src*n:])
			}
		}
	}
	return out
}

// nearest lists the source index of each wanted output. The position is
// accumulated, not multiplied, because Pillow's rounding errors count.
func nearest(a axis) []int {
	index := make([]int, a.len())
	scale := float64(a.n) / float64(a.out)
	pos := scale * 0.5
	for i := range a.hi {
		if i >= a.lo {
			index[i-a.lo] = a.at + min(int(pos), a.n-1)
		}
		pos += scale
	}
	return index
}
