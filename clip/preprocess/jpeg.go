package preprocess

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"slices"
)

// decodeJPEG takes the planes as they are before chroma upsampling from
// image/jpeg and does the rest as libjpeg-turbo: triangle-filter upsampling
// and integer colour conversion.
func decodeJPEG(data []byte, o options) (*Image, error) {
	h, err := parseJPEG(data)
	if err != nil {
		return nil, damaged(err)
	}
	return h.decode(o)
}

// decode decodes the scans that follow h.
func (h *jpegHeader) decode(o options) (*Image, error) {
	if err := h.check(o); err != nil {
		return nil, err
	}
	src, err := jpeg.Decode(h.rawStream())
	if err != nil {
		if err = damaged(err); errors.Is(err, ErrCorrupt) && h.restartsAlone() {
			err = fmt.Errorf("%w: restart intervals in scans of one component of several are not supported", ErrUnsupportedFormat)
		}
		return nil, err
	}
	var m *Image
	switch s := src.(type) {
	case *image.YCbCr:
		m = interleave(modeRGB, planesOf(s))
		if h.isYCC() {
			yccToRGB(m.pix, 3)
		}
	case *image.CMYK:
		m = interleave(modeCMYK, h.inkPlanes(s))
		if h.isYCC() {
			yccToRGB(m.pix, 4)
		}
		// Pillow takes every four-component JPEG to be inverted, as Adobe's
		// are. YCCK holds inverted inks, so that there only K is left to invert.
		for i := range m.pix {
			if !h.isYCC() || i%4 == 3 {
				m.pix[i] = 255 - m.pix[i]
			}
		}
	default:
		m = FromImage(src)
	}
	return m.withEXIF(h.exif, o), nil
}

// fromYCbCr converts planes of the JFIF colour space to RGB.
func fromYCbCr(s *image.YCbCr) *Image {
	m := interleave(modeRGB, planesOf(s))
	yccToRGB(m.pix, 3)
	return m
}

// jpegHeader is what a JPEG says before its first scan.
type jpegHeader struct {
	width, height int
	progressive   bool
	components    []jpegComponent
	jfif, adobe   bool
	transform     int    // of the Adobe marker
	exif          []byte // TIFF data
	tables        []byte // the header's segments but for APPn and COM
	scans         []byte // what follows the first SOS marker
}

type jpegComponent struct{ id, h, v int }

// Markers (ITU T.81, table B.1).
const (
	markerSOF0, markerSOF2           = 0xc0, 0xc2
	markerRST0, markerEOI, markerSOS = 0xd0, 0xd9, 0xda
	markerAPP0, markerAPP1           = 0xe0, 0xe1
	markerAPP14, markerAPP15         = 0xee, 0xef
	markerCOM, markerTEM, markerFill = 0xfe, 0x01, 0xff
	markerDNL                        = 0xdc
)

// jpegProcesses are coding processes that are not read, by the marker of their
// frame header or tables. Errors name them.
var jpegProcesses = map[int]string{
	0xc3: "lossless coding",
	0xc5: "hierarchical coding", 0xc6: "hierarchical coding", 0xc7: "hierarchical coding",
	0xc9: "arithmetic coding", 0xca: "arithmetic coding", 0xcb: "arithmetic coding", 0xcc: "arithmetic coding",
	0xcd: "arithmetic coding", 0xce: "arithmetic coding", 0xcf: "arithmetic coding",
	0xde: "hierarchical coding", 0xdf: "hierarchical coding",
	0xf7: "JPEG-LS",
}

func parseJPEG(data []byte) (*jpegHeader, error) {
	h := &jpegHeader{}
	r := byteReader{data: data[2:]} // past SOI
	for {
		for r.u8() != 0xff && !r.failed {
			// Stray bytes between segments are skipped, as libjpeg does.
		}
		marker := r.u8()
		for marker == markerFill {
			marker = r.u8()
		}
		start := r.data
		switch {
		case r.failed:
			return nil, r.err()
		case marker == 0 || marker == markerTEM || marker >= markerRST0 && marker < markerEOI:
			continue // no segment follows
		case marker == markerEOI:
			return nil, fmt.Errorf("no image in it")
		case marker == markerSOS:
			if h.width == 0 && h.components == nil {
				return nil, fmt.Errorf("no frame header before the first scan")
			}
			h.scans = start
			return h, nil
		}
		size := r.u16be()
		body := r.next(size - 2)
		if r.failed {
			return nil, r.err()
		}
		if err := h.segment(marker, body); err != nil {
			return nil, err
		}
		if app := marker >= markerAPP0 && marker <= markerAPP15; !app && marker != markerCOM && marker != markerDNL {
			h.tables = append(h.tables, 0xff, byte(marker))
			h.tables = append(h.tables, start[:size]...)
		}
	}
}

// segment reads what a marker segment says, and refuses coding processes that are not
// read.
func (h *jpegHeader) segment(marker int, body []byte) error {
	switch marker {
	case markerAPP0:
		h.jfif = h.jfif || bytes.HasPrefix(body, []byte("JFIF\x00"))
	case markerAPP1:
		if exif, ok := bytes.CutPrefix(body, []byte("Exif\x00\x00")); ok && h.exif == nil {
			h.exif = exif
		}
	case markerAPP14:
		if bytes.HasPrefix(body, []byte("Adobe")) && len(body) >= 12 {
			h.adobe, h.transform = true, int(body[11])
		}
	case markerSOF0, markerSOF0 + 1, markerSOF2:
		h.progressive = marker == markerSOF2
		return h.frame(body)
	default:
		if process := jpegProcesses[marker]; process != "" {
			return fmt.Errorf("%w: %s is not supported", ErrUnsupportedFormat, process)
		}
	}
	return nil
}

// Limits of JPEG.
const (
	// maxJPEGVisits is how often all scans of a file together may visit a block:
	// a progressive scan says in a few bytes that it leaves thousands as they are.
	maxJPEGVisits = 1 << 28
	// sequentialBlock is the visits that a block counts for in a sequential scan,
	// each of which transforms it.
	sequentialBlock = 10
	// maxJPEGCoefficients is the bytes of coefficients that are kept between
	// progressive scans, 256 a block: a file of a few MB could ask for 4 GiB.
	maxJPEGCoefficients = 1 << 30
)

// blocks returns how many blocks of 8x8 samples the components have, with those
// that fill up the last MCU of a row or column.
func (h *jpegHeader) blocks() int {
	perMCU, hMax, vMax := 0, 1, 1
	for _, c := range h.components {
		perMCU += c.h * c.v
		hMax, vMax = max(hMax, c.h), max(vMax, c.v)
	}
	return perMCU * ceilDiv(h.width, 8*hMax) * ceilDiv(h.height, 8*vMax)
}

// scanCount counts the SOS markers, which entropy-coded data do not contain.
func (h *jpegHeader) scanCount() int { return 1 + bytes.Count(h.scans, []byte{0xff, markerSOS}) }

// visits returns how often the scans visit a block, at most.
func (h *jpegHeader) visits() int {
	n := h.scanCount() * h.blocks()
	if h.progressive {
		return n
	}
	return n * sequentialBlock
}

// check refuses what would take too much time or memory, before it has any. A
// sequential scan has two bits or more for each block, so that the length of the
// file bounds its scans.
func (h *jpegHeader) check(o options) error {
	if err := o.checkSize(h.width, h.height); err != nil {
		return err
	}
	if err := checkLength(h.scans, h.width*h.height, maxJPEG); err != nil {
		return err
	}
	if !h.progressive {
		return nil
	}
	if h.visits() > maxJPEGVisits {
		return fmt.Errorf("%w: %d scans of %d blocks of 8x8 samples, the limit is %d blocks in all", ErrTooLarge, h.scanCount(), h.blocks(), maxJPEGVisits)
	}
	if n := 256 * h.blocks(); n > maxJPEGCoefficients {
		return fmt.Errorf("%w: %d bytes of coefficients of a progressive JPEG of %dx%d, the limit is %d", ErrTooLarge, n, h.width, h.height, maxJPEGCoefficients)
	}
	return nil
}

func (h *jpegHeader) frame(body []byte) error {
	if len(body) < 6 || len(body) != 6+3*int(body[5]) {
		return fmt.Errorf("frame header of %d bytes", len(body))
	}
	h.height, h.width = int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
	if h.height == 0 {
		return fmt.Errorf("%w: a height that follows the first scan (DNL) is not supported", ErrUnsupportedFormat)
	}
	h.components = nil
	for c := body[6:]; len(c) > 0; c = c[3:] {
		h.components = append(h.components, jpegComponent{int(c[0]), int(c[1] >> 4), int(c[1] & 15)})
	}
	return nil
}

// restartsAlone tells whether there are restart intervals and scans of one of
// several components that are subsampled. image/jpeg counts the blocks of such a
// scan as if all components were in it, and then takes the file to be invalid.
func (h *jpegHeader) restartsAlone() bool {
	const restart, one = "\xff\xdd\x00\x04", "\x00\x08\x01" // DRI; SOS of one component
	subsampled := slices.ContainsFunc(h.components, func(c jpegComponent) bool { return c.h*c.v > 1 })
	return len(h.components) > 1 && subsampled &&
		(bytes.Contains(h.tables, []byte(restart)) || bytes.Contains(h.scans, []byte(restart))) &&
		(bytes.HasPrefix(h.scans, []byte(one)) || bytes.Contains(h.scans, []byte("\xff\xda"+one)))
}

// isYCC tells whether the first three components are Y, Cb and Cr, by the
// rules of libjpeg's jdapimin.c.
func (h *jpegHeader) isYCC() bool {
	switch c := h.components; {
	case len(c) == 4:
		return h.adobe && h.transform != 0
	case len(c) != 3:
		return false
	case h.jfif:
		return true
	case h.adobe:
		return h.transform != 0
	default:
		return c[0].id != 'R' || c[1].id != 'G' || c[2].id != 'B'
	}
}

// rawStream is the file with its APPn segments replaced by one that makes
// image/jpeg return the components as they are stored: JFIF gives YCbCr
// planes, Adobe transform 0 the inverse of four components.
func (h *jpegHeader) rawStream() io.Reader {
	app := "\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
	if len(h.components) == 4 {
		app = "\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
	}
	if !h.progressive {
		app += standardHuffman // the file's own tables, which follow, replace them
	}
	head := append([]byte("\xff\xd8"+app), h.tables...)
	head = append(head, 0xff, markerSOS)
	// A height that the frame header has said already is no matter to libjpeg.
	scans := bytes.ReplaceAll(h.scans, []byte("\xff\xdc\x00\x04"), []byte("\xff\xfe\x00\x04")) // DNL to COM
	return io.MultiReader(bytes.NewReader(head), bytes.NewReader(scans))
}

// inkPlanes undoes what image/jpeg did to four components: inverting, and
// repeating the samples of subsampled ones.
func (h *jpegHeader) inkPlanes(s *image.CMYK) []plane {
	planes := make([]plane, 4)
	for i, c := range h.components {
		hs, vs := h.components[0].h/c.h, h.components[0].v/c.v
		w, ht := ceilDiv(h.width, hs), ceilDiv(h.height, vs)
		p := plane{pix: make([]uint8, w*ht), stride: w, w: w, h: ht, hs: hs, vs: vs, fullW: h.width, fullH: h.height}
		for y := range ht {
			for x := range w {
				p.pix[y*w+x] = 255 - s.Pix[y*vs*s.Stride+4*x*hs+i]
			}
		}
		planes[i] = p
	}
	return planes
}
