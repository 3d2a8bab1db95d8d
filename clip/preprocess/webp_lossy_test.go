package preprocess

import (
	"image"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
)

// webpPixel is libwebp's pixel of 4:2:0 planes, a sample after the other.
func webpPixel(s *image.YCbCr, x, y int) []uint8 {
	w, h := s.Rect.Dx(), s.Rect.Dy()
	near, far := y/2, max(0, min(y/2-1+y%2*2, (h-1)/2))
	i, j := x/2, max(0, min(x/2-1+x%2*2, (w-1)/2))
	chroma := func(plane []uint8) int32 {
		at := func(row, column int) int32 { return int32(plane[row*s.CStride+column]) }
		a, b, c, d := at(near, i), at(near, j), at(far, i), at(far, j)
		if i == j {
			return (3*a + c + 2) >> 2
		}
		return ((a+3*b+3*c+d+8)>>3 + a) >> 1
	}
	luma, u, v := int32(s.Y[y*s.YStride+x])*19077>>8, chroma(s.Cb), chroma(s.Cr)
	return []uint8{
		clip8((luma + v*26149>>8 - 14234) >> 6),
		clip8((luma - u*6419>>8 - v*13320>>8 + 8708) >> 6),
		clip8((luma + u*33050>>8 - 17685) >> 6),
	}
}

func TestWebPColours(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		w, h := 1+rng.IntN(9), 1+rng.IntN(9)
		s := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
		for _, plane := range [][]uint8{s.Y, s.Cb, s.Cr} {
			for j := range plane {
				if plane[j] = uint8(rng.IntN(256)); i%2 == 0 { // the ends
					plane[j] = uint8(255 * rng.IntN(2))
				}
			}
		}
		f := &webpFrame{canvasW: w, canvasH: h, w: w, h: h}
		m := newImage(modeRGB, w, h)
		f.setColours(m, s)
		var want []uint8
		for y := range h {
			for x := range w {
				want = append(want, webpPixel(s, x, y)...)
			}
		}
		assert.Equal(t, want, m.pix)
	}
}
