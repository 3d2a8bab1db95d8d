package packing

import (
	"math"

	"github.com/clip-wgpu/clip-wgpu/internal/half"
)

// leastScale is the least scale of Q8. Below it 127/scale would overflow, so rows
// whose numbers are all that small are stored as zeros.
const leastScale = 0x1p-120

// block is 4 × 4 elements of W, those of one k side by side.
type block [16]float32

// encode makes the words of a panel from its values.
func (w Weight) encode(p panel) {
	width, size := ceil(p.rows, 4), blockWords[w.Format]
	scales := p.words[len(p.words)-4*width:]
	for row := 0; row < p.rows; row += 4 {
		rows := min(4, p.rows-row)
		var toInt [4]float32
		if w.Format == Q8 {
			for j := range 4 {
				scale := float32(0)
				if j < rows {
					scale = largest(p.values[(row+j)*p.byRow:], p.byK, w.K)
				}
				if scale < leastScale {
					scale = 0
				}
				scales[row+j] = math.Float32bits(scale)
				if scale > 0 {
					toInt[j] = 127 / scale
				}
			}
		}
		k := 0
		if w.Format == F32 && rows == 4 && p.byK == 1 {
			k = transpose(p.words[row/4*size:], width*size, p.values[row*p.byRow:], p.byRow)
		}
		for ; k < w.K; k += 4 {
			var b block
			for i := range min(4, w.K-k) {
				at := p.values[row*p.byRow+(k+i)*p.byK:]
				for j := range rows {
					b[4*i+j] = at[j*p.byRow]
				}
			}
			w.Format.put(p.words[(k/4*width+row/4)*size:][:size], &b, &toInt)
		}
	}
}

// transpose packs, in F32, what nearly all of a model is: four rows of values that lie
// one after the other, whose blocks are step words apart. It leaves what is less than a
// block, and returns the index of its first column.
func transpose(words []uint32, step int, values []float32, cols int) (k int) {
	r0, r1, r2, r3 := values[:cols], values[cols:2*cols], values[2*cols:3*cols], values[3*cols:4*cols]
	for ; k+4 <= cols; k += 4 {
		b := (*[16]uint32)(words[k/4*step:])
		putColumn(b, 0, (*[4]float32)(r0[k:]))
		putColumn(b, 1, (*[4]float32)(r1[k:]))
		putColumn(b, 2, (*[4]float32)(r2[k:]))
		putColumn(b, 3, (*[4]float32)(r3[k:]))
	}
	return k
}

func putColumn(b *[16]uint32, j int, row *[4]float32) {
	b[j], b[4+j] = math.Float32bits(row[0]), math.Float32bits(row[1])
	b[8+j], b[12+j] = math.Float32bits(row[2]), math.Float32bits(row[3])
}

// put stores b as words. toInt holds, for Q8, the factors that make integers of the
// elements of each of the four rows.
func (f Format) put(words []uint32, b *block, toInt *[4]float32) {
	switch f {
	case F32:
		for i, v := range b {
			words[i] = math.Float32bits(v)
		}
	case F16:
		for i := range words {
			words[i] = uint32(half.F32ToF16(b[2*i])) | uint32(half.F32ToF16(b[2*i+1]))<<16
		}
	case BF16:
		for i := range words {
			words[i] = uint32(half.F32ToBF16(b[2*i])) | uint32(half.F32ToBF16(b[2*i+1]))<<16
		}
	case Q8:
		for i := range words {
			words[i] = 0
			for j, f := range toInt {
				fraction := float64(words[i]) / float64(uint32(1)<<(8*j))
				q := int8(math.RoundToEven(float64(b[4*i+j]*f) - fraction))
				words[i] |= uint32(uint8(q)) << (8 * j)
			}
		}
	}
}

// largest is the largest magnitude of count values, stride apart.
func largest(values []float32, stride, count int) float32 {
	m := float32(0)
	for i := range count {
		m = max(m, float32(math.Abs(float64(values[i*stride]))))
	}
	return m
}

// decode makes a panel's values from its words.
func (w Weight) decode(p panel) {
	width, size := ceil(p.rows, 4), blockWords[w.Format]
	scales := p.words[len(p.words)-4*width:]
	for row := 0; row < p.rows; row += 4 {
		rows := min(4, p.rows-row)
		for k := 0; k < w.K; k += 4 {
			b := w.Format.get(p.words[(k/4*width+row/4)*size:][:size])
			for i := range min(4, w.K-k) {
				at := p.values[row*p.byRow+(k+i)*p.byK:]
				for j := range rows {
					v := b[4*i+j]
					if w.Format == Q8 {
						v *= math.Float32frombits(scales[row+j])
					}
					at[j*p.byRow] = v
				}
			}
		}
	}
}

// get is a block, before Q8's scales.
func (f Format) get(words []uint32) (b block) {
	for i := range b {
		switch f {
		case F32:
			b[i] = math.Float32frombits(words[i])
		case F16:
			b[i] = half.F16ToF32(uint16(words[i/2] >> (i % 2 * 16)))
		case BF16:
			b[i] = half.BF16ToF32(uint16(words[i/2] >> (i % 2 * 16)))
		case Q8:
			b[i] = float32(int32(words[i/4]<<(24-i%4*8))) / (127 << 24)
		}
	}
	return b
}
