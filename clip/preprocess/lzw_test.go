package preprocess

import (
	"bytes"
	"compress/lzw"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	tifflzw "golang.org/x/image/tiff/lzw"
)

// lzwText has runs, repeats and noise.
func lzwText(rng *rand.Rand, n int) []byte {
	p, kinds := make([]byte, n), 1+rng.IntN(16)
	for i := range p {
		if p[i] = byte(rng.IntN(kinds)); i > 0 && rng.IntN(20) > 0 {
			p[i] = p[max(0, i-1-rng.IntN(kinds))]
		}
	}
	return p
}

func TestLZW(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var r lzwReader
	for i := range 200 {
		want := lzwText(rng, rng.IntN([]int{10, 3000, 600000}[i%3]))
		literal := 4 + i%5
		var packed bytes.Buffer
		w := lzw.NewWriter(&packed, lzw.LSB, literal)
		_, err := w.Write(want)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		r.reset(packed.Bytes(), literal, false, 0)
		got := make([]byte, len(want))
		for left := got; len(left) > 0; {
			n, err := r.Read(left[:1+rng.IntN(len(left))])
			require.NoError(t, err)
			left = left[n:]
		}
		require.True(t, bytes.Equal(want, got), i)
		_, err = r.Read(make([]byte, 1))
		assert.Equal(t, io.ErrUnexpectedEOF, err)
	}
}

// Codes of any kind give what the libraries' readers make of them.
func TestLZWOfAnyCodes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var r lzwReader
	for i := range 3000 {
		var bits, n uint64
		var packed []byte
		msb := i%2 == 1
		put := func(code, width int) {
			if msb {
				bits = bits<<width | uint64(code)
			} else {
				bits |= uint64(code) << n
			}
			for n += uint64(width); n >= 8; n -= 8 {
				if msb {
					packed = append(packed, byte(bits>>(n-8)))
				} else {
					packed = append(packed, byte(bits))
					bits >>= 8
				}
			}
		}
		next, width, known := 257, 9, 0
		for range rng.IntN(6000) {
			if next >= 4090 || rng.IntN(3000) == 0 {
				put(256, width)
				next, width, known = 257, 9, 0
			}
			code := rng.IntN(next + 1)
			if rng.IntN(4) > 0 && next > 300 {
				code = next - rng.IntN(20) // long strings
			}
			if code == 256 || code == 257 || code > 257 && known == 0 {
				code = 7
			}
			put(code, width)
			next, known = next+1, 1
			if early := i % 2; next+early >= 1<<width && width < 12 {
				width++
			}
		}
		put(0, 12)
		var z io.Reader = lzw.NewReader(bytes.NewReader(packed), lzw.LSB, 8)
		if msb {
			z = tifflzw.NewReader(bytes.NewReader(packed), tifflzw.MSB, 8)
		}
		want, _ := io.ReadAll(z)
		r.reset(packed, 8, msb, i%2)
		got := make([]byte, len(want))
		_, err := r.Read(got)
		require.NoError(t, err, i)
		require.True(t, bytes.Equal(want, got), i)
	}
}
