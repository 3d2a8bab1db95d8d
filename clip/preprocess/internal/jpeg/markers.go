package jpeg

import (
	"bytes"
	"fmt"
	"io"
	"slices"
)

// Markers (ITU T.81, table B.1).
const (
	markerTEM                       = 0x01
	markerSOF0, markerSOF1          = 0xc0, 0xc1
	markerSOF2, markerDHT           = 0xc2, 0xc4
	markerJPG, markerSOF9           = 0xc8, 0xc9
	markerSOF10, markerDAC          = 0xca, 0xcc
	markerRST0, markerRST7          = 0xd0, 0xd7
	markerSOI, markerEOI, markerSOS = 0xd8, 0xd9, 0xda
	markerDQT, markerDNL, markerDRI = 0xdb, 0xdc, 0xdd
	markerAPP0, markerAPP1          = 0xe0, 0xe1
	markerAPP14, markerAPP15        = 0xee, 0xef
	markerCOM                       = 0xfe
)

// processes are coding processes that are not read, by the marker of their frame
// header or tables.
var processes = map[byte]Unsupported{
	0xc3: "lossless coding",
	0xc5: "hierarchical coding", 0xc6: "hierarchical coding", 0xc7: "hierarchical coding",
	0xcb: "lossless coding",
	0xcd: "hierarchical coding", 0xce: "hierarchical coding", 0xcf: "hierarchical coding",
	0xde: "hierarchical coding", 0xdf: "hierarchical coding",
	0xf7: "JPEG-LS",
}

// reader holds what the segments have said so far.
type reader struct {
	header       *Header
	bits         bits
	comps        []component
	hMax, vMax   int
	quant        [4]*[64]uint16 // in natural order
	huffman      [2][4]*huffmanSpec
	conditioning conditioning
	bandBlocks   int    // of all components in a row of MCUs
	coefs        []kept // [bands, bandBlocks], of a buffered file
	restart      int    // MCUs between restart markers, or 0
	scan         scan
	jfif, adobe  bool
	transform    int // of the Adobe marker
	scansStarted int
	lastGood     int // the last band of the last scan that had data
}

// component is one of the frame's.
type component struct {
	index                int // in the frame
	id, h, v, quantIndex int
	quant                *[64]uint16       // as it was at the first scan of the component
	blocksW, blocksH     int               // blocks that hold samples of the image
	padW, padH           int               // with those that fill up the last MCUs
	inBand               int               // where its blocks are among bandBlocks
	bandRows             int               // rows of blocks that libjpeg takes at a time: its v in any scan
	averages             []int16           // [padH, padW], DC coefficients that smoothing leans to
	accuracy             [2][smoothed]int8 // the low bits of coefficients that the last scan and the one before left out
}

// scan is what an SOS segment says.
type scan struct {
	comps       []scanComponent
	first, last int  // of the band of coefficients
	high, low   uint // of successive approximation
}

type scanComponent struct {
	*component
	dcIndex, acIndex int
	dc, ac           *huffman
	predicted        int32     // DC
	context          int       // of an arithmetic decoder, by the difference before
	rows             [4][]kept // of the blocks that are decoded
}

// segments reads segments until a scan starts (found) or the image ends.
func (r *reader) segments() (found bool, err error) {
	for {
		marker, err := r.bits.nextMarker()
		if err != nil {
			return false, err
		}
		switch {
		case marker == markerSOI:
			return false, fmt.Errorf("two SOI markers")
		case marker >= markerRST0 && marker <= markerRST7 || marker == markerTEM && r.scansStarted > 0:
			continue // no segment follows; Pillow takes no TEM before the first scan
		case marker == markerEOI:
			return false, nil
		case processes[marker] != "":
			return false, processes[marker]
		case marker < markerSOF0 || marker == markerJPG || marker > markerAPP15 && marker != markerCOM:
			return false, fmt.Errorf("unknown marker %#x", marker)
		}
		start := r.bits.pos
		length, body, err := r.bits.segment()
		if skipped := marker >= markerAPP0 || marker == markerDNL; !skipped {
			if err != nil { // no plain end of the data: libjpeg looks into what is there
				return false, fmt.Errorf("segment %#x: %w", marker, err)
			}
			if length < 2 {
				return false, fmt.Errorf("segment %#x of %d bytes", marker, length)
			}
		}
		if err != nil {
			return false, err
		}
		if err := r.segment(marker, body); err != nil {
			return false, err
		}
		if marker == markerSOS {
			if r.header.Scans == nil {
				r.header.Scans = r.bits.data[start:]
			}
			r.scansStarted++
			return true, nil
		}
	}
}

func (r *reader) segment(marker byte, body []byte) error {
	switch marker {
	case markerAPP0:
		r.jfif = r.jfif || len(body) >= 14 && bytes.HasPrefix(body, []byte("JFIF\x00"))
	case markerAPP1:
		if exif, ok := bytes.CutPrefix(body, []byte("Exif\x00\x00")); ok && r.header.EXIF == nil {
			r.header.EXIF = exif
		}
	case markerAPP14:
		if bytes.HasPrefix(body, []byte("Adobe")) && len(body) >= 12 {
			r.adobe, r.transform = true, int(body[11])
		}
	case markerSOF0, markerSOF1, markerSOF2, markerSOF9, markerSOF10:
		r.header.Progressive = marker == markerSOF2 || marker == markerSOF10
		r.header.Arithmetic = marker >= markerSOF9
		return r.frame(body)
	case markerDAC:
		return r.conditioning.read(body)
	case markerDHT:
		return r.huffmanTables(body)
	case markerDQT:
		return r.quantTables(body)
	case markerDRI:
		if len(body) != 2 {
			return fmt.Errorf("restart interval of %d bytes", len(body))
		}
		r.restart = int(body[0])<<8 | int(body[1])
	case markerSOS:
		return r.startScan(body)
	}
	return nil // DNL, too, is skipped, as in libjpeg: the frame header's number of lines counts
}

func (r *reader) frame(body []byte) error {
	if r.comps != nil {
		return fmt.Errorf("two frame headers")
	}
	if len(body) < 6 || len(body) != 6+3*int(body[5]) {
		return fmt.Errorf("frame header of %d bytes", len(body))
	}
	switch body[0] {
	case 8:
	case 12:
		return Unsupported("12 bits a sample")
	default:
		return fmt.Errorf("%d bits a sample", body[0])
	}
	h := r.header
	h.Height, h.Width = int(body[1])<<8|int(body[2]), int(body[3])<<8|int(body[4])
	switch {
	case h.Width == 0:
		return fmt.Errorf("a width of 0")
	case h.Height == 0:
		return Unsupported("a height that follows the first scan (DNL)")
	}
	h.Components = int(body[5])
	r.comps = make([]component, 0, 4)
	for c := body[6:]; len(c) > 0; c = c[3:] {
		r.comps = append(r.comps, component{index: len(r.comps), id: int(c[0]), h: int(c[1] >> 4), v: int(c[1] & 15), quantIndex: int(c[2])})
	}
	return nil
}

// checkFrame lays out the components.
func (r *reader) checkFrame() error {
	if n := len(r.comps); n != 1 && n != 3 && n != 4 {
		return Unsupported(fmt.Sprintf("a JPEG of %d components", n))
	}
	r.hMax, r.vMax = 1, 1
	for _, c := range r.comps {
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 {
			return fmt.Errorf("sampling factors %dx%d", c.h, c.v)
		}
		r.hMax, r.vMax = max(r.hMax, c.h), max(r.vMax, c.v)
	}
	for i := range r.comps {
		r.comps[i].bandRows = r.comps[i].v
	}
	if len(r.comps) == 1 { // an MCU of it is a block
		r.comps[0].h, r.comps[0].v, r.hMax, r.vMax = 1, 1, 1, 1
	}
	w, h := r.header.Width, r.header.Height
	cols, rows := r.mcus()
	for i := range r.comps {
		c := &r.comps[i]
		if r.hMax%c.h != 0 || r.vMax%c.v != 0 {
			return Unsupported(fmt.Sprintf("a subsampling ratio of %d:%d and %d:%d", r.hMax, c.h, r.vMax, c.v))
		}
		c.blocksW, c.blocksH = ceilDiv(w*c.h, 8*r.hMax), ceilDiv(h*c.v, 8*r.vMax)
		c.padW, c.padH = cols*c.h, rows*c.v
		c.inBand = r.bandBlocks
		r.bandBlocks += c.padW * c.v
		c.accuracy = [2][smoothed]int8{allUnknown, allUnknown}
	}
	return nil
}

// mcus is how many MCUs the image has across and down.
func (r *reader) mcus() (cols, rows int) {
	return ceilDiv(r.header.Width, 8*r.hMax), ceilDiv(r.header.Height, 8*r.vMax)
}

// isYCC guesses by libjpeg's rules.
func (r *reader) isYCC() bool {
	switch c := r.comps; {
	case len(c) == 4:
		return r.transform != 0 // which only an Adobe marker sets
	case len(c) != 3:
		return false
	case r.jfif:
		return true
	case r.adobe:
		return r.transform != 0
	default:
		return c[0].id != 'R' || c[1].id != 'G' || c[2].id != 'B'
	}
}

func (r *reader) quantTables(body []byte) error {
	for len(body) > 0 {
		index, wide := int(body[0]&15), body[0]>>4 != 0
		body = body[1:]
		size := 64
		if wide {
			size = 128
		}
		if index > 3 || len(body) < size {
			return fmt.Errorf("quantization table %d of %d bytes", index, len(body))
		}
		t := new([64]uint16)
		for k := range 64 {
			if wide {
				t[natural[k]] = uint16(body[2*k])<<8 | uint16(body[2*k+1])
			} else {
				t[natural[k]] = uint16(body[k])
			}
		}
		r.quant[index] = t
		body = body[size:]
	}
	return nil
}

// startScan reads an SOS segment.
func (r *reader) startScan(body []byte) error {
	if r.comps == nil {
		return fmt.Errorf("no frame header before the first scan")
	}
	if len(body) == 0 {
		return io.ErrUnexpectedEOF
	}
	n := int(body[0])
	if n < 1 || n > 4 || len(body) != 2*n+4 {
		return fmt.Errorf("scan header of %d components and %d bytes", n, len(body))
	}
	s := scan{comps: r.scan.comps[:0]}
	for ; n > 0; n-- {
		body = body[1:]
		c := r.componentOf(int(body[0]), s.comps)
		if c == nil {
			return fmt.Errorf("a scan of component %d, which the frame lacks or has before others of the scan", body[0])
		}
		body = body[1:]
		s.comps = append(s.comps, scanComponent{component: c, dcIndex: int(body[0] >> 4), acIndex: int(body[0] & 15)})
	}
	s.first, s.last = int(body[1]), int(body[2])
	s.high, s.low = uint(body[3]>>4), uint(body[3]&15)
	r.scan = s
	return nil
}

// componentOf is the component of an id for the next place of a scan. As in
// libjpeg-turbo, the frame has at least as many components before it as the scan.
func (r *reader) componentOf(id int, taken []scanComponent) *component {
	for i := len(taken); i < len(r.comps); i++ {
		c := &r.comps[i]
		if c.id != id {
			continue
		}
		if slices.ContainsFunc(taken, func(t scanComponent) bool { return t.component == c }) {
			return nil
		}
		return c
	}
	return nil
}
