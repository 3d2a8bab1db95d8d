// Package jpeg reads JPEG files (ITU T.81) of 8 bits a sample: baseline, extended
// sequential and progressive. The samples are those of libjpeg-turbo with its
// defaults: the accurate integer IDCT, triangle filters where chroma is subsampled
// two times, and 16-bit fixed-point colour conversion.
//
// On amd64 with AVX2 blocks and rows of samples are made by assembly, unless the build
// tag purego leaves it out. The functions named Plain are the same in Go.
package jpeg

import (
	"bytes"
	"fmt"
)

// Unsupported is the error of a file that is no damaged one, by what it has that
// is not read.
type Unsupported string

func (u Unsupported) Error() string { return string(u) + " is not supported" }

// Header is what a file says before its first scan.
type Header struct {
	Width, Height int
	Components    int  // 1, 3 or 4
	Progressive   bool // coded in scans that refine each other
	Arithmetic    bool // coded by probabilities that adapt, not by Huffman's codes
	// Buffered tells that all coefficients are kept until the last scan, since
	// the first does not hold all of them.
	Buffered bool
	// YCC tells that the first three components are Y, Cb and Cr, by libjpeg's
	// rules. Decode converts them to RGB if it is set.
	YCC    bool
	EXIF   []byte // TIFF data of the first EXIF segment
	Scans  []byte // what follows the first SOS marker
	reader reader // behind the first SOS segment
}

// ReadHeader reads data up to the first scan. The error is Unsupported or
// io.ErrUnexpectedEOF, or tells what is wrong.
func ReadHeader(data []byte) (*Header, error) {
	h := &Header{}
	r := &h.reader
	r.header, r.conditioning = h, newConditioning()
	r.bits.data = data
	if len(data) < 2 || data[0] != 0xff || data[1] != markerSOI {
		return nil, fmt.Errorf("no SOI marker")
	}
	r.bits.pos = 2
	found, err := r.segments()
	switch {
	case err != nil:
		return nil, err
	case !found && r.comps == nil:
		return nil, fmt.Errorf("no image in it")
	case !found:
		return nil, fmt.Errorf("no scan after the frame header")
	}
	if err := r.checkFrame(); err != nil {
		return nil, err
	}
	h.Buffered = h.Progressive || len(r.scan.comps) < len(r.comps)
	h.YCC = r.isYCC()
	return h, nil
}

// Blocks is how many blocks of 8x8 samples the components have, with those that
// fill up the last MCU of a row or column.
func (h *Header) Blocks() int {
	n := 0
	for _, c := range h.reader.comps {
		n += c.padW * c.padH
	}
	return n
}

// ScanCount counts the SOS markers, which entropy-coded data do not contain.
func (h *Header) ScanCount() int { return 1 + bytes.Count(h.Scans, []byte{0xff, markerSOS}) }

// Size is the width and height at a scale of 1/scale.
func (h *Header) Size(scale int) (width, height int) {
	return ceilDiv(h.Width, scale), ceilDiv(h.Height, scale)
}

// Decode reads the scans and returns pixels, [height, width, components] of
// Size(scale), as gray, RGB or CMYK. They lie in m until it is used again. CMYK samples
// are as stored, which most programs invert. A scale of 2, 4 or 8 is as if the blocks
// had 4, 2 or 1 samples a side. Decode may be called once. The error is as of
// ReadHeader; bits that are no code are no error, as in libjpeg.
func (h *Header) Decode(m *Memory, scale int) ([]uint8, error) {
	r := &h.reader
	if scale != 1 && scale != 2 && scale != 4 && scale != 8 {
		return nil, fmt.Errorf("a scale of 1/%d, want 1, 1/2, 1/4 or 1/8", scale)
	}
	out := newOutput(r, m, 8/scale)
	decode := r.decodeBands
	if h.Buffered {
		decode = r.decodeBuffered
	}
	if err := decode(out); err != nil {
		return nil, err
	}
	return out.dst, nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
