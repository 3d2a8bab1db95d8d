package vp8l

import (
	"bytes"
	"encoding/binary"
	"image"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	reference "golang.org/x/image/vp8l"
)

// samples are the VP8L chunks of files.
func samples(t testing.TB) [][]byte {
	paths, err := filepath.Glob("../../../../tests/testdata/formats/*.webp")
	require.NoError(t, err)
	var out [][]byte
	for _, path := range paths {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		at := bytes.Index(data, []byte("VP8L"))
		if at > 0 {
			out = append(out, data[at+8:][:binary.LittleEndian.Uint32(data[at+4:])])
		}
	}
	require.NotEmpty(t, out)
	return out
}

// decode decodes a chunk with its header.
func decode(chunk []byte) ([]byte, error) {
	v := binary.LittleEndian.Uint32(chunk[1:])
	w, h := int(v&0x3fff)+1, int(v>>14&0x3fff)+1
	pix := make([]byte, 0, 4*w*h)
	err := Decode(chunk[5:], w, h, func(_ int, row []uint32) {
		for _, v := range row {
			pix = append(pix, byte(v>>16), byte(v>>8), byte(v), byte(v>>24))
		}
	})
	return pix, err
}

// Damaged data give what x/image makes of them, or are refused.
func TestDecode(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	all := samples(t)
	opened := 0
	for i := range 20000 {
		chunk := bytes.Clone(all[i%len(all)])
		if i >= len(all) {
			for range 1 + rng.IntN(3) {
				chunk[5+rng.IntN(min(len(chunk)-5, 1+rng.IntN(4000)))] ^= 1 << rng.IntN(8)
			}
		}
		if i%7 == 6 {
			chunk = chunk[:5+rng.IntN(len(chunk)-5)]
		}
		want, wantErr := reference.Decode(bytes.NewReader(chunk))
		got, err := decode(chunk)
		if wantErr != nil {
			assert.Error(t, err, "%x", chunk)
			continue
		}
		require.NoError(t, err, "%x", chunk)
		require.True(t, bytes.Equal(want.(*image.NRGBA).Pix, got), "%x", chunk)
		opened++
	}
	assert.Greater(t, opened, 300)
}

// bitWriter writes the lowest bit of each number first.
type bitWriter struct {
	out  []byte
	bits uint64
	n    int
}

func (w *bitWriter) put(pairs ...int) { // of a value and its bits
	for ; len(pairs) > 0; pairs = pairs[2:] {
		w.bits |= uint64(pairs[0]) << w.n
		for w.n += pairs[1]; w.n >= 8; w.n -= 8 {
			w.out = append(w.out, byte(w.bits))
			w.bits >>= 8
		}
	}
}

// An image larger than what is kept of it, of copies from as far as there can be.
func TestDecodeOfFarCopies(t *testing.T) {
	const w, h, farthest = 2000, 1500, 1<<20 - 120
	bw := &bitWriter{}
	bw.put(0, 1, 0, 1, 0, 1) // no transform, cache or groups
	// Green has literal 5 and length prefix 23, of one bit each. Lengths are coded by 18
	// (0), 0 (10) and 1 (11).
	bw.put(0, 1, 0, 4, 0, 3, 1, 3, 2, 3, 2, 3, 0, 1)
	bw.put(1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 3, 2, 0, 1, 127, 7, 0, 1, 124, 7, 3, 2)
	bw.put(1, 1, 1, 1, 1, 1, 0, 8, 255, 8) // red is 0 or 255
	bw.put(1, 1, 0, 1, 0, 1, 1, 1)         // blue is 1
	bw.put(1, 1, 0, 1, 1, 1, 255, 8)       // alpha is 255
	bw.put(1, 1, 0, 1, 1, 1, 39, 8)        // the prefix of distances
	rng := rand.New(rand.NewPCG(5, 6))
	var want []uint32
	for len(want) < w*h {
		if length := min(1+2048+rng.IntN(2048), w*h-len(want)); len(want) > farthest && rng.IntN(3) > 0 && length > 3072 {
			far := farthest - rng.IntN(3)
			bw.put(1, 1, length-3072-1, 10, far+120-3<<18-1, 18)
			for range length {
				want = append(want, want[len(want)-far])
			}
			continue
		}
		red := rng.IntN(2)
		bw.put(0, 1, red, 1)
		want = append(want, 0xff00_0501|uint32(255*red)<<16)
	}
	bw.put(0, 8)
	got := make([]uint32, 0, w*h)
	require.NoError(t, Decode(bw.out, w, h, func(_ int, row []uint32) { got = append(got, row...) }))
	require.True(t, slices.Equal(want, got))
}
