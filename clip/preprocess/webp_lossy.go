package preprocess

import (
	"bytes"
	"fmt"
	"image"
	"io"

	"golang.org/x/image/vp8"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess/internal/vp8l"
)

// decodeLossy decodes a lossy frame. x/image/vp8 decodes the planes; upsampling and
// colour conversion follow libwebp.
func (f *webpFrame) decodeLossy(mode string, o options) (*Image, error) {
	d := vp8.NewDecoder()
	d.Init(bytes.NewReader(f.bits), len(f.bits))
	if _, err := d.DecodeFrameHeader(); err != nil {
		return nil, err
	}
	planes, err := d.DecodeFrame()
	if err != nil {
		return nil, err
	}
	m := o.newImage(mode, f.canvasW, f.canvasH)
	f.setColours(m, planes)
	return m, f.decodeAlpha(m)
}

// decodeAlpha sets the alpha of m, 255 where the file has none.
func (f *webpFrame) decodeAlpha(m *Image) error {
	if f.alpha == nil && m.mode == modeRGB {
		return nil
	}
	if f.alpha == nil {
		for y := range f.h {
			for px := f.row(m, y); len(px) > 0; px = px[4:] {
				px[3] = 255
			}
		}
		return nil
	}
	if len(f.alpha) == 0 {
		return io.ErrUnexpectedEOF
	}
	row, above := make([]uint8, f.w), make([]uint8, f.w)
	put := func(y int) {
		webpUnfilter(f.alpha[0]>>2&3, row, above, y)
		px := f.row(m, y)
		for x, v := range row {
			if m.mode == modeRGBA {
				px[4*x+3] = v
			}
		}
		row, above = above, row
	}
	switch data := f.alpha[1:]; f.alpha[0] & 3 {
	case 0:
		if len(data) < f.w*f.h {
			return io.ErrUnexpectedEOF
		}
		for y := range f.h {
			copy(row, data[y*f.w:])
			put(y)
		}
		return nil
	case 1:
		return vp8l.Decode(data, f.w, f.h, func(y int, px []uint32) {
			for x, v := range px {
				row[x] = uint8(v >> 8) // green
			}
			put(y)
		})
	}
	return fmt.Errorf("%w: compression %d of alpha", ErrCorrupt, f.alpha[0]&3)
}

// webpUnfilter adds to each value of row y what it is predicted by: the left one, the
// one above, or the gradient of the three nearest.
func webpUnfilter(filter uint8, row, above []uint8, y int) {
	switch {
	case filter == 0:
	case filter == 1 || y == 0:
		if y > 0 {
			row[0] += above[0]
		}
		addLeft(row, 1)
	case filter == 2:
		for x := range row {
			row[x] += above[x]
		}
	default:
		row[0] += above[0]
		for x := 1; x < len(row); x++ {
			row[x] += clip8(int32(row[x-1]) + int32(above[x]) - int32(above[x-1]))
		}
	}
}

// setColours sets the colours of m from 4:2:0 planes.
func (f *webpFrame) setColours(m *Image, s *image.YCbCr) {
	cw, ch := (f.w+1)/2, (f.h+1)/2
	uv := make([]uint32, f.w)
	for y := range f.h {
		near := min(y/2, ch-1)
		far := max(0, min(near-1+y%2*2, ch-1))
		u := [2][]uint8{s.Cb[near*s.CStride:][:cw], s.Cb[far*s.CStride:][:cw]}
		v := [2][]uint8{s.Cr[near*s.CStride:][:cw], s.Cr[far*s.CStride:][:cw]}
		webpUpsample(uv, u, v)
		webpRow(f.row(m, y), s.Y[y*s.YStride:][:f.w], uv, m.bands())
	}
}

// webpUpsample makes a row of chroma, u below v in 16 bits each, of the nearer and the
// farther row of half its width, as libwebp does (src/dsp/upsampling.c): it weighs the
// four nearest samples 9:3:3:1, in two steps that truncate.
func webpUpsample(dst []uint32, u, v [2][]uint8) {
	last := len(u[0]) - 1
	at := func(row, x int) uint32 { return uint32(u[row][x]) | uint32(v[row][x])<<16 }
	a, c := at(0, 0), at(1, 0)
	dst[0] = webpEdge(a, c)
	for x := range last {
		b, d := at(0, x+1), at(1, x+1)
		sum := a + b + c + d + 0x8_0008
		const bytes, nineBits = 0xff_00ff, 0x1ff_01ff
		of := (sum + 2*(b+c)) >> 3 & nineBits // a + 3b + 3c + d
		dst[2*x+1] = (of + a) >> 1 & bytes
		of = (sum + 2*(a+d)) >> 3 & nineBits
		dst[2*x+2] = (of + b) >> 1 & bytes
		a, c = b, d
	}
	if len(dst)%2 == 0 {
		dst[len(dst)-1] = webpEdge(a, c)
	}
}

// webpEdge weighs the samples of the nearer and the farther row where there are no others.
func webpEdge(a, c uint32) uint32 { return (3*a + c + 0x2_0002) >> 2 & 0xff_00ff }

// webpTables are the terms of libwebp's fixed-point conversion from video-range YUV
// (src/dsp/yuv.h) by the value of the sample: 14-bit coefficients, products truncated
// to 6 bits of fraction. level is what 384 more than the whole part gives.
type webpTables struct {
	luma, vRed, uGreen, vGreen, uBlue [256]int32
	level                             [1024]uint8
}

var webpTable = func() (t webpTables) {
	for i := range int32(256) {
		t.luma[i] = i*19077>>8 + 384<<6
		t.vRed[i] = i*26149>>8 - 14234
		t.uGreen[i] = 8708 - i*6419>>8
		t.vGreen[i] = i * 13320 >> 8
		t.uBlue[i] = i*33050>>8 - 17685
	}
	for i := range t.level {
		t.level[i] = clip8(int32(i) - 384)
	}
	return t
}()

// webpRow sets the colours of a row of pixels of n bytes.
func webpRow(out, luma []uint8, uv []uint32, n int) {
	t, at := &webpTable, 0
	for x, y := range luma[:len(uv)] {
		u, v, sum := uint8(uv[x]), uint8(uv[x]>>16), t.luma[y]
		px := out[at : at+3 : at+3]
		px[0] = t.level[(sum+t.vRed[v])>>6&1023]
		px[1] = t.level[(sum+t.uGreen[u]-t.vGreen[v])>>6&1023]
		px[2] = t.level[(sum+t.uBlue[u])>>6&1023]
		at += n
	}
}
