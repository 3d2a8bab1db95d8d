package preprocess

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
)

// bmp is a Windows or OS/2 bitmap whose header has been read. Its modes and
// bit layouts are those of Pillow's BmpImagePlugin.
type bmp struct {
	w, h    int
	topDown bool
	bits    int // a pixel
	masks   bmpMasks
	rle     bool
	entries []uint8 // palette, step bytes each: blue, green, red
	step    int
	file    []byte
	offset  int // of the pixels in file
}

const (
	bmpRaw, bmpRLE8, bmpRLE4, bmpBitfields = 0, 1, 2, 3

	bmpFileHeader = 14
)

// bmpMasks gives the bits of red, green, blue and alpha (0: none) of a pixel.
type bmpMasks [4]uint32

var (
	bgr15 = bmpMasks{0x7c00, 0x3e0, 0x1f}
	bgrx  = bmpMasks{0xff0000, 0xff00, 0xff}
	bgra  = bmpMasks{0xff0000, 0xff00, 0xff, 0xff000000}

	// The masks that are read, by bits a pixel.
	bmpReads = map[int][]bmpMasks{
		16: {{0xf800, 0x7e0, 0x1f}, bgr15},
		24: {bgrx},
		32: {
			bgrx, bgra, {0xff, 0xff00, 0xff0000, 0xff000000},
			{0xff000000, 0xff0000, 0xff00}, {0xff000000, 0xff0000, 0xff00, 0xff},
			{0xff000000, 0xff00, 0xff}, {0xff000000, 0xff00, 0xff, 0xff0000},
		},
	}
)

func decodeBMP(data []byte, o options) (*Image, error) {
	b, err := parseBMP(data)
	if err != nil {
		return nil, damaged(err)
	}
	if err := o.checkSize(b.w, b.h); err != nil {
		return nil, err
	}
	if err := b.checkData(); err != nil {
		return nil, err
	}
	if b.bits > 8 {
		return b.trueColor(o), nil
	}
	return b.indexed(o)
}

// checkData refuses a file that cannot hold its pixels.
func (b *bmp) checkData() error {
	if b.rle {
		// The most that four bytes give is a skip of 255 rows and 255 pixels.
		return checkLength(b.file[min(b.offset, len(b.file)):], b.w*b.h, 64*(b.w+1))
	}
	if end := b.offset + (b.h-1)*b.stride() + ceilDiv(b.w*b.bits, 8); end > len(b.file) {
		return fmt.Errorf("%w: the file is truncated: %d bytes of %d", ErrCorrupt, len(b.file), end)
	}
	return nil
}

// stride is the length of a stored row.
func (b *bmp) stride() int { return ceilDiv(b.w*b.bits, 32) * 4 }

func parseBMP(data []byte) (*bmp, error) {
	r := &byteReader{data: data}
	head := r.next(bmpFileHeader + 4)
	if r.failed {
		return nil, r.err()
	}
	size := int(binary.LittleEndian.Uint32(head[bmpFileHeader:]))
	if !slices.Contains([]int{12, 40, 52, 56, 64, 108, 124}, size) {
		return nil, fmt.Errorf("%w: header of %d bytes", ErrUnsupportedFormat, size)
	}
	info := r.next(size - 4)
	if r.failed {
		return nil, r.err()
	}
	b := &bmp{file: data, offset: int(binary.LittleEndian.Uint32(head[10:]))}
	u16 := func(at int) int { return int(binary.LittleEndian.Uint16(info[at:])) }
	u32 := func(at int) int { return int(binary.LittleEndian.Uint32(info[at:])) }
	compression, colors := bmpRaw, 0
	if size == 12 {
		b.w, b.h, b.bits, b.step = u16(0), u16(2), u16(6), 3
	} else {
		b.w, b.h, b.bits, b.step = u32(0), int(int32(u32(4))), u16(10), 4
		compression, colors = u32(12), u32(28)
	}
	if b.topDown = b.h < 0; b.topDown {
		b.h = -b.h
	}
	if err := b.setMasks(compression, info, r); err != nil {
		return nil, err
	}
	if b.bits <= 8 {
		b.readPalette(r, size, colors)
	}
	if b.offset == 0 {
		b.offset = len(data) - len(r.data)
	}
	return b, r.err()
}

// setMasks finds the place of the colours in a pixel; a 40-byte header is
// followed by their masks, longer ones contain them.
func (b *bmp) setMasks(compression int, info []byte, r *byteReader) error {
	switch b.bits {
	case 1, 4, 8:
	case 16:
		b.masks = bgr15
	case 24, 32:
		b.masks = bgrx
	default:
		return fmt.Errorf("%w: %d bits a pixel", ErrUnsupportedFormat, b.bits)
	}
	switch {
	case compression == bmpRaw:
		return nil
	case compression == bmpRLE8 && b.bits == 8, compression == bmpRLE4 && b.bits == 4:
		b.rle = true
		return nil
	case compression != bmpBitfields || b.bits <= 8:
		return fmt.Errorf("%w: compression %d with %d bits a pixel", ErrUnsupportedFormat, compression, b.bits)
	}
	raw := info[min(36, len(info)):]
	if len(raw) < 12 {
		raw = r.next(12)
	}
	if raw == nil {
		return r.err()
	}
	var masks bmpMasks
	for i := range min(4, len(raw)/4) {
		masks[i] = binary.LittleEndian.Uint32(raw[4*i:])
	}
	if b.bits < 32 {
		masks[3] = 0
	} else if masks == (bmpMasks{}) {
		masks = bgra
	}
	if !slices.Contains(bmpReads[b.bits], masks) {
		return fmt.Errorf("%w: colour masks %#x", ErrUnsupportedFormat, masks)
	}
	b.masks = masks
	return nil
}

func (b *bmp) readPalette(r *byteReader, headerSize, colors int) {
	if colors == 0 {
		colors = 1 << b.bits
	}
	// Some writers give the offset of the palette for that of the pixels.
	if b.offset == bmpFileHeader+headerSize {
		b.offset += b.step * colors
	}
	b.entries = r.next(min(colors, 1<<16) * b.step)
}

// row returns the bytes of the i-th stored row and its place in the image.
func (b *bmp) row(i int) (row []byte, y int) {
	return b.file[b.offset+i*b.stride():], b.imageRow(i)
}

func (b *bmp) imageRow(i int) int {
	if b.topDown {
		return i
	}
	return b.h - 1 - i
}

func (b *bmp) trueColor(o options) *Image {
	mode := modeRGB
	if b.masks[3] != 0 {
		mode = modeRGBA
	}
	m := o.newImage(mode, b.w, b.h)
	out, n := m.bands(), b.bits/8
	if n == 2 {
		b.highColor(m)
		return m
	}
	var from [4]int // the byte of each band
	for c := range out {
		from[c] = bits.TrailingZeros32(b.masks[c]) / 8
	}
	usual := b.masks == bgrx || b.masks == bgra
	for i := range b.h {
		row, y := b.row(i)
		dst := m.pix[y*b.w*out:][:b.w*out]
		x := 0
		switch {
		case usual && out == n:
			x = swapRedBlue(dst, row, n)
		case usual:
			x = reverseBGRX(dst, row)
		}
		for ; x < b.w; x++ {
			px, to := row[x*n:][:n], dst[x*out:][:out]
			for c := range to {
				to[c] = px[from[c]]
			}
		}
	}
	return m
}

// reverseBGRX writes the colours of pixels of four bytes, two at once. It leaves out
// the last few, where words are too long, and returns how many pixels it wrote.
func reverseBGRX(dst, src []uint8) int {
	i := 0
	for ; 3*i+8 <= len(dst) && 4*i+8 <= len(src); i += 2 {
		px := bits.ReverseBytes64(binary.LittleEndian.Uint64(src[4*i : 4*i+8 : 4*i+8]))
		binary.LittleEndian.PutUint64(dst[3*i:3*i+8:3*i+8], px>>40|px<<16&0xffff_ff00_0000)
	}
	return i
}

// swapRedBlue writes pixels of n bytes with the first and the third ones exchanged, two
// at once. It leaves out the last few, where words are too long, and returns how many
// pixels it wrote.
func swapRedBlue(dst, src []uint8, n int) int {
	keep, first := uint64(0xff00_ff00_ff00_ff00), uint64(0x0000_00ff_0000_00ff)
	if n == 3 {
		keep, first = 0x0000_00ff_0000_ff00, 0x0000_0000_ff00_00ff
	}
	i := 0
	for ; i+8 <= len(dst) && i+8 <= len(src); i += 2 * n {
		v := binary.LittleEndian.Uint64(src[i : i+8 : i+8])
		binary.LittleEndian.PutUint64(dst[i:i+8:i+8], v&keep|v>>16&first|v&first<<16)
	}
	return i / n
}

// highColor reads 16 bits a pixel. Each band's values are spread over 0 to 255.
func (b *bmp) highColor(m *Image) {
	var levels [3][64]uint8
	var shift [3]int
	for c := range levels {
		shift[c] = bits.TrailingZeros32(b.masks[c])
		top := int(b.masks[c] >> shift[c])
		for v := range top + 1 {
			levels[c][v] = uint8(v * 255 / top)
		}
	}
	for i := range b.h {
		row, y := b.row(i)
		for x := range b.w {
			px := uint32(binary.LittleEndian.Uint16(row[2*x:]))
			for c := range levels {
				m.pix[(y*b.w+x)*3+c] = levels[c][px&b.masks[c]>>shift[c]]
			}
		}
	}
}

// indexed reads up to 8 bits a pixel. Pillow drops a palette of black and white or
// of black alone (mode 1) or one that is no more than the gray ramp (mode L); where
// the pixels have other bits than that mode it misreads them, which is not followed.
func (b *bmp) indexed(o options) (*Image, error) {
	m := o.newImage(modeP, b.w, b.h)
	if err := b.readIndices(m.pix); err != nil {
		return nil, err
	}
	var entries []uint8 // red, green, blue
	for e := b.entries; len(e) >= b.step; e = e[b.step:] {
		entries = append(entries, e[2], e[1], e[0])
	}
	switch {
	case b.bits == 1 && (string(entries) == "\x00\x00\x00\xff\xff\xff" || string(entries) == "\x00\x00\x00"):
		m.mode = modeBilevel
		for i := range m.pix {
			m.pix[i] *= 255
		}
	case isGrayRamp(entries) && len(entries) != 6:
		m.mode = modeL
	default:
		m.palette = rgbPalette(entries)
	}
	return m, nil
}

func (b *bmp) readIndices(pix []uint8) error {
	if b.rle {
		return b.readRLE(pix)
	}
	spread := newBitSpreader(b.bits, 1, 0)
	for i := range b.h {
		row, y := b.row(i)
		spread.samples(pix[y*b.w:(y+1)*b.w], row)
	}
	return nil
}

// readRLE unpacks run-length coded indices. Skipped pixels keep index 0, and
// pixels beyond the last row are dropped.
func (b *bmp) readRLE(pix []uint8) error {
	r := &byteReader{data: b.file[min(b.offset, len(b.file)):]}
	at, x := 0, 0 // next pixel in the order of the file, and its column
	put := func(v uint8) {
		if at < len(pix) {
			pix[at] = v
			at++
		}
	}
	for at < len(pix) {
		n, v := r.u8(), r.u8()
		if r.failed || n == 0 && v == 1 { // end of bitmap
			return fmt.Errorf("%w: the file is truncated", ErrCorrupt)
		}
		switch {
		case n > 0:
			n = min(n, max(0, b.w-x))
			for i := range n {
				put(b.rleIndex(byte(v), i))
			}
			x += n
		case v == 0: // end of line
			at = ceilDiv(at, b.w) * b.w
			x = 0
		case v == 2: // skip right and up
			right, up := r.u8(), r.u8()
			at = min(at+right+up*b.w, len(pix))
			x = at % b.w
		default:
			n = min(v, len(pix)-at)
			packed := r.next(ceilDiv(n*b.bits, 8)) // a last half byte is padding; Pillow 9.4 loses the pixel before it
			for i := range min(n, 8*len(packed)/b.bits) {
				put(b.rleIndex(packed[i*b.bits/8], i))
			}
			x += v
			if (len(b.file)-len(r.data))%2 != 0 {
				r.next(1)
			}
		}
	}
	if !b.topDown {
		flipRows(pix, b.w)
	}
	return nil
}

// flipRows turns an image of one byte a pixel upside down.
func flipRows(pix []uint8, w int) {
	spare := make([]uint8, w)
	for top, bottom := 0, len(pix)-w; top < bottom; top, bottom = top+w, bottom-w {
		copy(spare, pix[top:])
		copy(pix[top:top+w], pix[bottom:])
		copy(pix[bottom:], spare)
	}
}

// rleIndex is the i-th index that a byte repeats: the byte, or its upper and
// lower half in turn.
func (b *bmp) rleIndex(packed byte, i int) uint8 {
	switch {
	case b.bits == 8:
		return packed
	case i%2 == 0:
		return packed >> 4
	}
	return packed & 15
}
