package graph

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/half"
)

// packed is a State as the device holds it.
type packed struct {
	*State
	words []uint32
}

func pack(t *testing.T, s *State, values []float32) packed {
	t.Helper()
	p := packed{s, make([]uint32, s.Bytes()/4)}
	for i := range p.words {
		p.words[i] = 0xdeadbeef // every word is written
	}
	read := func(dst []float32, offset int) error { copy(dst, values[offset:offset+len(dst)]); return nil }
	require.NoError(t, s.Pack(read, func(offset int64, words []uint32) error {
		copy(p.words[offset/4:][:len(words)], words)
		return nil
	}))
	return p
}

func (p packed) unpack(t *testing.T) []float32 {
	t.Helper()
	values := make([]float32, p.Shape.Elems())
	require.NoError(t, p.Unpack(func(words []uint32, offset int64) error {
		copy(words, p.words[offset/4:][:len(words)])
		return nil
	}, func(offset int, v []float32) error {
		copy(values[offset:offset+len(v)], v)
		return nil
	}))
	return values
}

func wave(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(math.Sin(float64(i) * 1.7))
	}
	return v
}

func TestPackRoundTrip(t *testing.T) {
	for _, l := range []Layout{PackedF32, PackedF16, PackedBF16, PackedQ8} {
		for _, transposed := range []bool{false, true} {
			for _, shape := range []Shape{{1, 1}, {4, 4}, {7, 63}, {63, 7}, {256, 12}, {257, 5}, {5, 257}, {6, 3, 2, 5}} {
				t.Run(fmt.Sprint(l, transposed, shape), func(t *testing.T) {
					s := &State{Spec: Spec{Shape: shape}, Layout: l, Transposed: transposed}
					values := wave(shape.Elems())
					got := pack(t, s, values).unpack(t)
					n, k := s.Matrix()
					for i, v := range values {
						row := i / k
						if transposed {
							row = i % n
						}
						switch l {
						case PackedF32:
							require.Equal(t, v, got[i])
						case PackedF16:
							require.Equal(t, half.F16ToF32(half.F32ToF16(v)), got[i])
						case PackedBF16:
							require.Equal(t, half.BF16ToF32(half.F32ToBF16(v)), got[i])
						case PackedQ8:
							require.InDelta(t, v, got[i], 1.001*s.rowMax(values, row)/254, "half a step of the row's scale")
						}
					}
				})
			}
		}
	}
}

// rowMax is the largest magnitude of a row of W.
func (s *State) rowMax(values []float32, row int) float64 {
	n, k := s.Matrix()
	m := 0.0
	for i := range k {
		at := row*k + i
		if s.Transposed {
			at = i*n + row
		}
		m = max(m, math.Abs(float64(values[at])))
	}
	return m
}

// TestPackedPlaces computes every place from the documentation of Layout.
func TestPackedPlaces(t *testing.T) {
	const rows, cols, depth = 263, 7, 2 // 8 panels of 8 blocks and one of 2
	s := &State{Spec: Spec{Shape: Shape{rows, cols}}, Layout: PackedF32}
	values := wave(rows * cols)
	pack(t, &State{Spec: Spec{Shape: Shape{512, 64}}, Layout: PackedF32}, slices.Repeat([]float32{1}, 512*64)) // what it leaves behind must not show
	p := pack(t, s, values)
	require.EqualValues(t, 4*66*4*4*depth, s.Bytes())
	padding := len(p.words)
	for n := range rows {
		for k := range cols {
			panel, width := n/32, 8
			if panel == 8 {
				width = 2
			}
			block := panel*8*depth + k/4*width + n%32/4
			require.Equal(t, math.Float32bits(values[n*cols+k]), p.words[16*block+k%4*4+n%4], "row %d, column %d", n, k)
			padding--
		}
	}
	for _, w := range p.words {
		if w == 0 {
			padding--
		}
	}
	assert.Equal(t, -1, padding, "all else is zero, and so is sin 0")
}

func TestPackedBytes(t *testing.T) {
	for l, bytes := range map[Layout]int64{RowMajor: 4 * 9 * 10, PackedF32: 4 * 12 * 12, PackedF16: 2 * 12 * 12, PackedBF16: 2 * 12 * 12, PackedQ8: 12*12 + 4*12} {
		p := Param{State: State{Spec: Spec{Shape: Shape{9, 10}}, Layout: l}}
		assert.Equal(t, bytes, p.Bytes(), "%v", l)
	}
}

// TestPackStreams: one panel of rows at a time, each read once and in order.
func TestPackStreams(t *testing.T) {
	s := &State{Spec: Spec{Shape: Shape{600, 11}}, Layout: PackedQ8}
	next := 0
	read := func(dst []float32, offset int) error {
		require.Equal(t, next, offset)
		require.LessOrEqual(t, len(dst), 256*11)
		next += len(dst)
		return nil
	}
	require.NoError(t, s.Pack(read, func(int64, []uint32) error { return nil }))
	assert.Equal(t, 600*11, next)

	broken := fmt.Errorf("broken")
	assert.ErrorIs(t, s.Pack(func([]float32, int) error { return broken }, nil), broken)
	assert.ErrorIs(t, s.Pack(func([]float32, int) error { return nil }, func(int64, []uint32) error { return broken }), broken)
	assert.ErrorIs(t, s.Unpack(func([]uint32, int64) error { return broken }, nil), broken)
}

// TestPackedQ8Zeros: a row of zeros has no scale to divide by.
func TestPackedQ8Zeros(t *testing.T) {
	s := &State{Spec: Spec{Shape: Shape{2, 3}}, Layout: PackedQ8}
	assert.Equal(t, []float32{0, 0, 0, -2, 1.00787401574803, 2}, pack(t, s, []float32{0, 0, 0, -2, 1, 2}).unpack(t))
}

// TestPackedStateIsRefused where an op would take it element by element.
func TestPackedStateIsRefused(t *testing.T) {
	state := func(l Layout, shape ...int) *State {
		return &State{Name: "w", Spec: Spec{Shape: shape}, Layout: l}
	}
	for name, c := range map[string]struct {
		build func(g *Graph) Tensor
		want  string
	}{
		"an op that does not know": {func(g *Graph) Tensor {
			w := g.State(state(PackedF32, 4, 4))
			return g.Add(w, w)
		}, "add: input 0 is w, which is packed as f32"},
		"reshape":      {func(g *Graph) Tensor { return g.Reshape(g.State(state(PackedQ8, 4, 4)), 16) }, "reshape: input 0 is w, which is packed as q8"},
		"output":       {func(g *Graph) Tensor { return g.State(state(PackedF16, 4, 4)) }, "output 0 is w, which is packed as f16"},
		"a vector":     {func(g *Graph) Tensor { return g.State(state(PackedF32, 4)) }, "state w f32[4] cannot be packed"},
		"no layout":    {func(g *Graph) Tensor { return g.State(state(77, 4, 4)) }, "state w f32[4×4] cannot be packed"},
		"assign, bf16": {func(g *Graph) Tensor { g.Assign(state(PackedBF16, 4, 4), g.Fill(0, 4, 4)); return g.Fill(0, 1) }, "w is stored as bf16: training wants its weights in f32"},
	} {
		t.Run(name, func(t *testing.T) {
			g := New()
			_, err := g.Build(c.build(g))
			require.ErrorContains(t, err, c.want)
		})
	}
}

// Numbers that 16 bits cannot hold are refused and not rounded to infinity;
// infinities and NaN are handed on.
func TestPackRefusesOverflow(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		layout         Layout
		largest, least float32 // that fits, that does not
	}{
		{PackedF16, 65519, 65520},
		{PackedBF16, 0x1.fefffep127, 0x1.ffp127},
	} {
		for _, transposed := range []bool{false, true} {
			s := &State{Name: "w", Spec: Spec{Shape: Shape{300, 5}}, Layout: c.layout, Transposed: transposed}
			assert.Equal(t, c.least, c.layout.Overflow())
			values := make([]float32, s.Shape.Elems())
			values[0], values[77], values[1400] = inf, nan, -c.largest
			got := pack(t, s, values).unpack(t)
			assert.Equal(t, inf, got[0])
			assert.True(t, got[77] != got[77])
			assert.InEpsilon(t, -c.largest, got[1400], 0.01)

			values[1400] = -c.least
			read := func(dst []float32, offset int) error { copy(dst, values[offset:offset+len(dst)]); return nil }
			err := s.Pack(read, func(int64, []uint32) error { return nil })
			assert.EqualError(t, err, fmt.Sprintf("w has the element %v, which %v cannot hold", -c.least, c.layout))
		}
	}
}

// In q8, the reciprocal of a small row's scale is finite.
func TestPackTinyRows(t *testing.T) {
	s := &State{Spec: Spec{Shape: Shape{3, 4}}, Layout: PackedQ8}
	tiny, small := float32(0x1p-149), float32(0x1p-119)
	got := pack(t, s, []float32{0, tiny, -tiny, 0, 1e-37, 0, 0, 0, small, 0, -small / 2, 0}).unpack(t)
	assert.Equal(t, make([]float32, 8), got[:8])
	assert.InDeltaSlice(t, []float32{small, 0, -small / 2, 0}, got[8:], float64(small)/254)
}
