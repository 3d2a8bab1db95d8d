package packing

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/half"
)

// arrangements are that of all devices and others, for tests of what is not theirs.
var arrangements = []Arrangement{{}, Panels(1), Panels(3), Panels(100)}

// pack returns w's values as the device holds them.
func pack(t *testing.T, w Weight, values []float32) []uint32 {
	t.Helper()
	packed := make([]uint32, w.Bytes()/4)
	for i := range packed {
		packed[i] = 0xdeadbeef // every word is written
	}
	read := func(dst []float32, offset int) error { copy(dst, values[offset:offset+len(dst)]); return nil }
	require.NoError(t, w.Pack(read, func(offset int64, words []uint32) error {
		copy(packed[offset/4:][:len(words)], words)
		return nil
	}))
	return packed
}

// roundTrip packs and unpacks.
func roundTrip(t *testing.T, w Weight, values []float32) []float32 {
	t.Helper()
	packed, back := pack(t, w, values), make([]float32, len(values))
	require.NoError(t, w.Unpack(func(words []uint32, offset int64) error {
		copy(words, packed[offset/4:][:len(words)])
		return nil
	}, func(offset int, v []float32) error {
		copy(back[offset:offset+len(v)], v)
		return nil
	}))
	return back
}

func wave(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(math.Sin(float64(i) * 1.7))
	}
	return v
}

func TestPackRoundTrip(t *testing.T) {
	for _, f := range []Format{F32, F16, BF16, Q8} {
		for _, size := range [][2]int{{1, 1}, {4, 4}, {7, 63}, {63, 7}, {256, 12}, {257, 5}, {5, 257}, {6, 30}} {
			values := wave(size[0] * size[1])
			for _, transposed := range []bool{false, true} {
				for _, a := range arrangements {
					t.Run(fmt.Sprint(f, size, transposed, a), func(t *testing.T) {
						w := Weight{N: size[0], K: size[1], Transposed: transposed, Format: f, Arrangement: a}
						got := roundTrip(t, w, values)
						for i, v := range values {
							row := i / w.K
							if transposed {
								row = i % w.N
							}
							switch f {
							case F32:
								require.Equal(t, v, got[i])
							case F16:
								require.Equal(t, half.F16ToF32(half.F32ToF16(v)), got[i])
							case BF16:
								require.Equal(t, half.BF16ToF32(half.F32ToBF16(v)), got[i])
							case Q8:
								require.InDelta(t, v, got[i], 1.001*w.rowMax(values, row)/254, "half a step of the row's scale")
							}
						}
					})
				}
			}
		}
	}
}

// rowMax is the largest magnitude of a row of W.
func (w Weight) rowMax(values []float32, row int) float64 {
	m := 0.0
	for i := range w.K {
		at := row*w.K + i
		if w.Transposed {
			at = i*w.N + row
		}
		m = max(m, math.Abs(float64(values[at])))
	}
	return m
}

// TestPackedOffsets computes where every element lies from the documentation of Arrangement.
func TestPackedOffsets(t *testing.T) {
	const rows, cols, depth = 263, 7, 2
	values := wave(rows * cols)
	for _, c := range []struct {
		Arrangement
		panel, last int // blocks of a panel and of the last one: 66 in all
	}{{Arrangement{}, 8, 2}, {Panels(8), 8, 2}, {Panels(1), 1, 1}, {Panels(7), 7, 3}, {Panels(66), 66, 66}, {Panels(99), 66, 66}} {
		w := Weight{N: rows, K: cols, Format: F32, Arrangement: c.Arrangement}
		pack(t, Weight{N: 512, K: 64, Format: F32}, slices.Repeat([]float32{1}, 512*64)) // what it leaves behind must not show
		words := pack(t, w, values)
		require.EqualValues(t, 4*66*4*4*depth, w.Bytes())
		padding := len(words)
		for n := range rows {
			for k := range cols {
				before := n / 4 / c.panel * c.panel // blocks along n in the panels before
				width := c.panel
				if before+c.panel > 66 {
					width = c.last
				}
				block := before*depth + k/4*width + n/4 - before
				require.Equal(t, math.Float32bits(values[n*cols+k]), words[16*block+k%4*4+n%4], "%v: row %d, column %d", w.Arrangement, n, k)
				padding--
			}
		}
		for _, word := range words {
			if word == 0 {
				padding--
			}
		}
		assert.Equal(t, -1, padding, "all else is zero, and so is sin 0")
	}
}

// Arrangements that are the same are equal, and only others need constants.
func TestArrangementsAreComparable(t *testing.T) {
	assert.Equal(t, Arrangement{}, Panels(8))
	assert.Equal(t, Panels(1), Panels(0))
	assert.NotEqual(t, Panels(1), Panels(2))
	assert.Empty(t, Arrangement{}.Consts())
	assert.Equal(t, map[string]any{"PANEL": 3}, Panels(3).Consts())
	assert.Equal(t, "panels of 8 blocks", Arrangement{}.String())
}

func TestBytes(t *testing.T) {
	for f, bytes := range map[Format]int64{F32: 4 * 12 * 12, F16: 2 * 12 * 12, BF16: 2 * 12 * 12, Q8: 12*12 + 4*12} {
		for _, a := range arrangements {
			assert.Equal(t, bytes, Weight{N: 9, K: 10, Format: f, Arrangement: a}.Bytes(), "%v in %v", f, a)
		}
	}
	assert.Zero(t, Weight{}.Bytes())
	assert.Equal(t, make([]uint32, 4), Weight{}.IndexParams())
}

// TestPackStreams: one run of panels at a time, each read once and in order.
func TestPackStreams(t *testing.T) {
	for a, rows := range map[Arrangement]int{{}: 256, Panels(1): 256, Panels(100): 400} {
		w := Weight{N: 600, K: 11, Format: Q8, Arrangement: a}
		next := 0
		read := func(dst []float32, offset int) error {
			require.Equal(t, next, offset)
			require.LessOrEqual(t, len(dst), rows*11)
			next += len(dst)
			return nil
		}
		require.NoError(t, w.Pack(read, func(int64, []uint32) error { return nil }))
		assert.Equal(t, 600*11, next)

		broken := fmt.Errorf("broken")
		assert.ErrorIs(t, w.Pack(func([]float32, int) error { return broken }, nil), broken)
		assert.ErrorIs(t, w.Pack(func([]float32, int) error { return nil }, func(int64, []uint32) error { return broken }), broken)
		assert.ErrorIs(t, w.Unpack(func([]uint32, int64) error { return broken }, nil), broken)
	}
}

// TestQ8Zeros: a row of zeros has no scale to divide by.
func TestQ8Zeros(t *testing.T) {
	w := Weight{N: 2, K: 3, Format: Q8}
	assert.Equal(t, []float32{0, 0, 0, -2, 1.00787401574803, 2}, roundTrip(t, w, []float32{0, 0, 0, -2, 1, 2}))
}

// Numbers that 16 bits cannot hold are refused and not rounded to infinity;
// infinities and NaN are handed on.
func TestPackRefusesOverflow(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		format         Format
		largest, least float32 // that fits, that does not
	}{
		{F16, 65519, 65520},
		{BF16, 0x1.fefffep127, 0x1.ffp127},
	} {
		for _, transposed := range []bool{false, true} {
			w := Weight{Name: "w", N: 300, K: 5, Format: c.format, Transposed: transposed}
			if transposed {
				w.N, w.K = w.K, w.N
			}
			assert.Equal(t, c.least, c.format.Overflow())
			values := make([]float32, w.N*w.K)
			values[0], values[77], values[1400] = inf, nan, -c.largest
			got := roundTrip(t, w, values)
			assert.Equal(t, inf, got[0])
			assert.True(t, got[77] != got[77])
			assert.InEpsilon(t, -c.largest, got[1400], 0.01)

			values[1400] = -c.least
			read := func(dst []float32, offset int) error { copy(dst, values[offset:offset+len(dst)]); return nil }
			err := w.Pack(read, func(int64, []uint32) error { return nil })
			assert.EqualError(t, err, fmt.Sprintf("w has the element %v, which %v cannot hold", -c.least, c.format))
		}
	}
}

// In q8, the reciprocal of a small row's scale is finite.
func TestPackTinyRows(t *testing.T) {
	w := Weight{N: 3, K: 4, Format: Q8}
	tiny, small := float32(0x1p-149), float32(0x1p-119)
	got := roundTrip(t, w, []float32{0, tiny, -tiny, 0, 1e-37, 0, 0, 0, small, 0, -small / 2, 0})
	assert.Equal(t, make([]float32, 8), got[:8])
	assert.InDeltaSlice(t, []float32{small, 0, -small / 2, 0}, got[8:], float64(small)/254)
}
