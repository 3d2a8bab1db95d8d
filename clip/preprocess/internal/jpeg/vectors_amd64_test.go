//go:build !purego

package jpeg

import (
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"
)

// needVectors skips where the processor has no AVX2.
func needVectors(t *testing.T) *rand.Rand {
	if !hasAVX2 {
		t.Skip("no AVX2")
	}
	return rand.New(rand.NewSource(1))
}

// Coefficients of all sizes: those of damaged files leave 16 bits.
func TestIDCTVectors(t *testing.T) {
	rng := needVectors(t)
	for i := range 200_000 {
		var blk block
		set := columns(0)
		for range rng.Intn(65) {
			at := places[1+rng.Intn(63)]
			blk[at&63] = int16(rng.Uint32()) >> rng.Intn(16)
			set |= columns(at >> 8)
		}
		blk[0] = int16(rng.Uint32()) >> rng.Intn(16)
		if i%16 == 0 {
			for k := range blk {
				blk[k] = [3]int16{-32768, 32767, 0}[rng.Intn(3)]
			}
			set = ^columns(0)
		}
		var got, want [8 * 10]uint8
		inverse8Plain(&blk, set, want[:], 10)
		idct8Vectors(&blk, &got[0], 10)
		require.Equal(t, want, got, blk)
		inverse4Plain(&blk, want[:], 10)
		idct4Vectors(&blk, &got[0], 10)
		require.Equal(t, want, got, blk)
	}
}

// All Cb and Cr, and rows of all lengths.
func TestRGBVectors(t *testing.T) {
	rng := needVectors(t)
	for i := range 1 << 16 {
		n := 1 + i%70
		y, cb, cr := make([]uint8, n), make([]uint8, n), make([]uint8, n)
		for x := range y {
			y[x], cb[x], cr[x] = uint8(rng.Uint32()), uint8(i), uint8(i>>8)
		}
		got, want := make([]uint8, 3*n+1), make([]uint8, 3*n+1)
		toRGBPlain(want, y, cb, cr)
		toRGB(got, y, cb, cr)
		require.Equal(t, want, got)
	}
}

func TestDoubleVectors(t *testing.T) {
	rng := needVectors(t)
	for i := range 10_000 {
		n := 1 + i%70
		near, far := make([]uint8, n), make([]uint8, n)
		rng.Read(near)
		rng.Read(far)
		if i%8 == 0 {
			for x := range near {
				near[x], far[x] = -(near[x] & 1), -(far[x] & 1) // 0 or 255
			}
		}
		for _, bias := range [][2]uint64{{8, 7}, {4, 8}} { // of two columns and rows, and of two columns
			got, want := make([]uint8, 2*n+1), make([]uint8, 2*n+1)
			doublePlain(want, near, far, bias[0], bias[1])
			double(got, near, far, bias[0], bias[1])
			require.Equal(t, want, got, n)
		}
	}
}
