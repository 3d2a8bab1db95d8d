package preprocess

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"

	"golang.org/x/image/vp8l"
	"golang.org/x/image/webp"
)

// decodeWebP reads a still image or the first frame of an animation, which
// Pillow puts on a black, transparent canvas. x/image/webp decodes the planes;
// upsampling and colour conversion follow libwebp.
func decodeWebP(data []byte, o options) (*Image, error) {
	f, err := parseWebP(data)
	if err != nil {
		return nil, damaged(err)
	}
	if err := o.checkSize(f.canvasW, f.canvasH); err != nil {
		return nil, err
	}
	still := !f.animated && (f.w != f.canvasW || f.h != f.canvasH)
	if still || f.x+f.w > f.canvasW || f.y+f.h > f.canvasH {
		return nil, fmt.Errorf("%w: a frame of %dx%d at %d,%d on a canvas of %dx%d", ErrCorrupt, f.w, f.h, f.x, f.y, f.canvasW, f.canvasH)
	}
	if err := f.checkData(); err != nil {
		return nil, err
	}
	src, err := f.decode()
	if err != nil {
		return nil, damaged(err)
	}
	m := f.convert(src)
	if f.w != f.canvasW || f.h != f.canvasH {
		canvas, n := m.like(f.canvasW, f.canvasH), m.bands()
		for y := range f.h {
			copy(canvas.pix[((f.y+y)*f.canvasW+f.x)*n:], m.pix[y*f.w*n:(y+1)*f.w*n])
		}
		m = canvas
	}
	return m.withEXIF(bytes.TrimPrefix(f.exif, []byte("Exif\x00\x00")), o), nil
}

// webpFrame is the first frame of a WebP file.
type webpFrame struct {
	canvasW, canvasH int
	x, y, w, h       int
	animated         bool
	hasAlpha         bool   // the image is RGBA, whatever the frame holds
	codec            string // "VP8 " or "VP8L"
	bits, alpha      []byte // payloads of that chunk and of ALPH
	exif             []byte
}

func parseWebP(data []byte) (*webpFrame, error) {
	f := &webpFrame{}
	r := &byteReader{data: data[12:]}
	for !r.failed && len(r.data) >= 8 {
		id, body := webpChunk(r)
		switch {
		case id == "VP8X" && len(body) >= 10:
			f.hasAlpha = body[0]&0x10 != 0
			f.canvasW, f.canvasH = u24(body[4:])+1, u24(body[7:])+1
		case id == "ANMF" && f.bits == nil && len(body) >= 16:
			f.animated = true
			f.x, f.y = 2*u24(body), 2*u24(body[3:])
			inner := &byteReader{data: body[16:]}
			for !inner.failed && len(inner.data) >= 8 {
				f.keep(webpChunk(inner))
			}
		default:
			f.keep(id, body)
		}
	}
	if f.bits == nil {
		if r.failed {
			return nil, r.err()
		}
		return nil, fmt.Errorf("%w: no image chunk in it", ErrCorrupt)
	}
	return f, f.readHeader()
}

// webpChunk reads a RIFF chunk; odd ones are padded.
func webpChunk(r *byteReader) (id string, body []byte) {
	head := r.next(8)
	size := int(binary.LittleEndian.Uint32(head[4:]))
	body = r.next(size)
	if size%2 == 1 && len(r.data) > 0 {
		r.next(1)
	}
	return string(head[:4]), body
}

func (f *webpFrame) keep(id string, body []byte) {
	switch {
	case id == "EXIF":
		f.exif = body
	case id == "ALPH" && f.bits == nil:
		f.alpha = body
	case (id == "VP8 " || id == "VP8L") && f.bits == nil:
		f.codec, f.bits = id, body
	}
}

// readHeader reads the frame's size from its bit stream. Without VP8X the canvas is
// the frame. Whether a still image has alpha is told as in libwebp's
// WebPGetFeatures: by the bit stream of VP8L; of VP8 by VP8X or by an ALPH chunk.
// An animation's VP8X tells it.
func (f *webpFrame) readHeader() error {
	switch {
	case f.codec == "VP8L" && len(f.bits) >= 5 && f.bits[0] == 0x2f:
		v := binary.LittleEndian.Uint32(f.bits[1:])
		f.w, f.h = int(v&0x3fff)+1, int(v>>14&0x3fff)+1
		if !f.animated {
			f.hasAlpha = v>>28&1 != 0
		}
	case f.codec == "VP8 " && len(f.bits) >= 10 && string(f.bits[3:6]) == "\x9d\x01\x2a":
		f.w = int(binary.LittleEndian.Uint16(f.bits[6:]) & 0x3fff)
		f.h = int(binary.LittleEndian.Uint16(f.bits[8:]) & 0x3fff)
		f.hasAlpha = f.hasAlpha || f.alpha != nil && !f.animated
	}
	if f.w == 0 || f.h == 0 {
		return fmt.Errorf("%w: bad %s header", ErrCorrupt, f.codec)
	}
	if f.canvasW == 0 {
		f.canvasW, f.canvasH = f.w, f.h
	}
	return nil
}

// checkData refuses a lossy frame that cannot hold its pixels: the prediction
// modes of 16x16 pixels take 3.4 bits or more, which have fixed probabilities
// (RFC 6386, 11.2) and lie in the first partition. A lossless frame of one
// colour takes no bits at all.
func (f *webpFrame) checkData() error {
	if f.codec != "VP8 " {
		return nil
	}
	first := u24(f.bits) >> 5 // length of the partition behind the header
	return checkLength(f.bits[10:min(10+first, len(f.bits))], 3*ceilDiv(f.w, 16)*ceilDiv(f.h, 16), 8)
}

func (f *webpFrame) decode() (image.Image, error) {
	if f.codec == "VP8L" {
		return vp8l.Decode(bytes.NewReader(f.bits)) // webp.Decode would read them through small buffers
	}
	return webp.Decode(bytes.NewReader(f.file()))
}

// file is a still WebP of the lossy frame alone.
func (f *webpFrame) file() []byte {
	chunk := func(dst []byte, id string, body []byte) []byte {
		dst = append(dst, id...)
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(body)))
		dst = append(dst, body...)
		return append(dst, make([]byte, len(body)%2)...)
	}
	body := []byte("WEBP")
	if f.alpha != nil {
		w, h := f.w-1, f.h-1
		body = chunk(body, "VP8X", []byte{0x10, 0, 0, 0, byte(w), byte(w >> 8), byte(w >> 16), byte(h), byte(h >> 8), byte(h >> 16)})
		body = chunk(body, "ALPH", f.alpha)
	}
	body = chunk(body, "VP8 ", f.bits)
	return chunk(nil, "RIFF", body)
}

// convert makes the frame an image of the file's mode. A lossless frame stays in
// src's memory, because it can have gigabytes.
func (f *webpFrame) convert(src image.Image) *Image {
	var m *Image
	switch s := src.(type) {
	case *image.NRGBA:
		m = &Image{mode: modeRGBA, width: f.w, height: f.h, pix: s.Pix[:4*f.w*f.h]}
	case *image.YCbCr:
		m = webpLossy(s, nil, 0)
	case *image.NYCbCrA:
		m = webpLossy(&s.YCbCr, s.A, s.AStride)
	}
	if !f.hasAlpha {
		n := m.width * m.height
		for i := range n {
			copy(m.pix[3*i:], m.pix[4*i:4*i+3])
		}
		m.mode, m.pix = modeRGB, m.pix[:3*n]
	}
	return m
}

func u24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// webpLossy converts 4:2:0 planes to RGBA with libwebp's upsampling
// (src/dsp/upsampling.c), which weighs the four nearest chroma samples
// 9:3:3:1, in two steps that truncate. Without alpha the image is opaque.
func webpLossy(s *image.YCbCr, alpha []uint8, alphaStride int) *Image {
	w, h := s.Rect.Dx(), s.Rect.Dy()
	m := newImage(modeRGBA, w, h)
	cw, ch := (w+1)/2, (h+1)/2
	for y := range h {
		near := min(y/2, ch-1)
		far := max(0, min(near-1+y%2*2, ch-1))
		u := [2][]uint8{s.Cb[near*s.CStride:], s.Cb[far*s.CStride:]}
		v := [2][]uint8{s.Cr[near*s.CStride:], s.Cr[far*s.CStride:]}
		out := m.pix[4*y*w:]
		for x := range w {
			i := x / 2
			j := max(0, min(i-1+x%2*2, cw-1))
			px := out[4*x : 4*x+4]
			webpRGB(px, int32(s.Y[y*s.YStride+x]), webpChroma(u, i, j), webpChroma(v, i, j))
			px[3] = 255
			if alpha != nil {
				px[3] = alpha[y*alphaStride+x]
			}
		}
	}
	return m
}

// webpChroma interpolates between the columns near and far of the nearer and
// the farther row.
func webpChroma(rows [2][]uint8, near, far int) int32 {
	a, b := int32(rows[0][near]), int32(rows[0][far])
	c, d := int32(rows[1][near]), int32(rows[1][far])
	if near == far {
		return (3*a + c + 2) >> 2
	}
	diagonal := (a + 3*b + 3*c + d + 8) >> 3
	return (diagonal + a) >> 1
}

// webpRGB is libwebp's fixed-point conversion from video-range YUV
// (src/dsp/yuv.h): 14-bit coefficients, products truncated to 6 bits of
// fraction.
func webpRGB(px []uint8, y, u, v int32) {
	luma := y * 19077 >> 8
	px[0] = clip8((luma + v*26149>>8 - 14234) >> 6)
	px[1] = clip8((luma - u*6419>>8 - v*13320>>8 + 8708) >> 6)
	px[2] = clip8((luma + u*33050>>8 - 17685) >> 6)
}
