package preprocess

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess/internal/vp8l"
)

// decodeWebP reads a still image or the first frame of an animation, which
// Pillow puts on a black, transparent canvas.
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
	m, err := f.decode(o)
	if err != nil {
		return nil, damaged(err)
	}
	return m.withEXIF(exifIn(bytes.TrimPrefix(f.exif, []byte("Exif\x00\x00"))), o), nil
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
		if version := v >> 29; version != 0 {
			return fmt.Errorf("%w: VP8L of version %d", ErrCorrupt, version)
		}
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

// row is where row y of the frame lies in m.
func (f *webpFrame) row(m *Image, y int) []uint8 {
	n, at := m.bands(), (f.y+y)*f.canvasW+f.x
	return m.pix[at*n : (at+f.w)*n]
}

// decode decodes the frame to an image of the file's mode.
func (f *webpFrame) decode(o options) (*Image, error) {
	mode := modeRGB
	if f.hasAlpha {
		mode = modeRGBA
	}
	if f.codec != "VP8L" {
		return f.decodeLossy(mode, o)
	}
	const header = 5
	var m *Image
	err := vp8l.Decode(f.bits[header:], f.w, f.h, func(y int, row []uint32) {
		if m == nil { // not before there are pixels
			m = o.newImage(mode, f.canvasW, f.canvasH)
		}
		out := f.row(m, y)
		for _, v := range row {
			out[0], out[1], out[2] = uint8(v>>16), uint8(v>>8), uint8(v)
			if f.hasAlpha {
				out[3] = uint8(v >> 24)
				out = out[4:]
			} else {
				out = out[3:]
			}
		}
	})
	return m, err
}

func u24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }
