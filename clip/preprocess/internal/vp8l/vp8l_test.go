package vp8l

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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

// cases are chunks and the SHA-256 of their pixels, or "refused", as Pillow 13 has them;
// tests/testdata/webp_lossless/make.py writes them. x/image is no reference: it takes the two
// symbols of a simple code in the order of the file, and refuses one that the code lacks.
func cases(t testing.TB) (chunks [][]byte, want []string) {
	file, err := os.Open("../../../../tests/testdata/webp_lossless/cases.txt.gz")
	require.NoError(t, err)
	defer file.Close()
	text, err := gzip.NewReader(file)
	require.NoError(t, err)
	for {
		var chunk []byte
		var result string
		_, err := fmt.Fscanf(text, "%x %s\n", &chunk, &result)
		if err == io.EOF {
			return chunks, want
		}
		require.NoError(t, err)
		chunks, want = append(chunks, chunk), append(want, result)
	}
}

func TestDecode(t *testing.T) {
	chunks, want := cases(t)
	require.Len(t, chunks, 1000)
	for i, chunk := range chunks {
		result := "refused"
		if pix, err := decode(chunk); err == nil {
			result = fmt.Sprintf("%x", sha256.Sum256(pix))
		}
		assert.Equal(t, want[i], result, "%x", chunk)
	}
}

// What is no image is refused as such, and an image has its rows once each, from the top.
func FuzzDecode(f *testing.F) {
	chunks, _ := cases(f)
	for _, chunk := range chunks {
		if v := binary.LittleEndian.Uint32(chunk[1:]); v&0x3fff < 256 && v>>14&0x3fff < 256 {
			f.Add(uint8(v), uint8(v>>14), chunk[5:])
		}
	}
	f.Fuzz(func(t *testing.T, right, bottom uint8, data []byte) {
		w, h, rows := int(right)+1, int(bottom)+1, 0
		err := Decode(data, w, h, func(y int, row []uint32) {
			assert.Equal(t, rows, y)
			assert.Len(t, row, w)
			rows++
		})
		if err == nil {
			assert.Equal(t, h, rows)
		} else if !errors.Is(err, ErrData) {
			assert.Equal(t, io.ErrUnexpectedEOF, err)
		}
	})
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
