package preprocess

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"io"
)

// PNG is read as Pillow's PngImagePlugin and ZipDecode.c read it. They are less
// strict than the specification: chunks may come before IHDR, IHDR may come twice,
// and checksums of chunks do not count from the image data on.

// pngFile is a PNG of which some chunks have been read: what they say, and the rest.
type pngFile struct {
	rest          []byte // the file from the next chunk on
	width, height int
	layout        *pngLayout // nil before IHDR
	unknown       error      // why an IHDR gave no layout
	interlaced    bool
	palette       []uint8 // RGB entries
	opacity       []uint8 // alpha of the first of them
	exif          []byte  // TIFF data
	texts         int     // bytes of texts and profiles
	apple         bool    // has the chunk of Apple's variant

	// An animation's number of frames, the part of the image that the next
	// frame covers, and the number that the next fcTL or fdAT chunk must have.
	frames   int
	frame    *image.Rectangle
	sequence uint32
}

// pngLeast is the least length of a chunk, where it has one.
var pngLeast = map[string]int{
	"IHDR": 13, "gAMA": 4, "cHRM": 32, "sRGB": 1, "pHYs": 9, "acTL": 8, "fcTL": 26, "fdAT": 4,
}

// The most that a packed text or profile, and all texts together, may unpack to.
const (
	maxPNGText  = 1 << 20
	maxPNGTexts = 64 * maxPNGText
)

func decodePNG(data []byte, o options) (*Image, error) {
	f, err := parsePNG(data)
	if err != nil {
		return nil, damaged(err)
	}
	if err := o.checkSize(f.width, f.height); err != nil {
		return nil, err
	}
	if err := checkLength(f.rest, f.height*f.layout.rowBytes(f.width), maxDeflate); err != nil {
		return nil, err
	}
	m := o.newImage(f.layout.mode, f.width, f.height)
	if m.palette, m.opacity, err = f.colours(); err != nil {
		return nil, err
	}
	if err := f.readData(m); err != nil {
		return nil, damaged(err)
	}
	if err := f.readTail(); err != nil {
		return nil, damaged(err)
	}
	return m.withEXIF(exifIn(f.exif), o), nil
}

// colours returns the palette of mode P, which is empty without PLTE, and its alpha.
func (f *pngFile) colours() ([][3]uint8, *[256]uint8, error) {
	n := len(f.palette) / 3
	switch {
	case f.palette != nil && !f.layout.is(modeP):
		return nil, nil, fmt.Errorf("%w: it has a palette, and its second IHDR a colour type without one", ErrCorrupt)
	case n > 256:
		return nil, nil, fmt.Errorf("%w: palette of %d colours", ErrCorrupt, n)
	case f.layout.is(modeP):
		return rgbPalette(f.palette), opacityOf(f.opacity), nil
	}
	return nil, nil, nil
}

// parsePNG reads the chunks before the image data, or before the end of a file without any.
func parsePNG(data []byte) (*pngFile, error) {
	f := &pngFile{rest: data[8:]} // past the signature
	for {
		start := f.rest
		name, size, err := f.head()
		if err != nil {
			return nil, err
		}
		if (name == "IDAT" || name == "fdAT" || name == "IEND") && f.layout != nil {
			f.rest = start
			return f, nil
		}
		if name == "IEND" {
			return nil, cmp.Or(f.unknown, fmt.Errorf("%w: no chunk IHDR", ErrCorrupt))
		}
		body, err := f.body(size)
		if err != nil {
			return nil, err
		}
		sum := crc32.ChecksumIEEE(start[4 : 8+size])
		if len(f.rest) < 4 || binary.BigEndian.Uint32(f.rest) != sum {
			return nil, fmt.Errorf("%w: bad checksum of chunk %s", ErrCorrupt, name)
		}
		f.rest = f.rest[4:]
		if err := f.chunk(name, body); err != nil {
			return nil, err
		}
	}
}

// readTail reads the chunks behind the image data. They change no pixels, but
// Pillow refuses files where they are wrong.
func (f *pngFile) readTail() error {
	animated := f.frames > 1 || f.frames == 1 && f.frame == nil
	for {
		f.skipSum()
		name, size, err := f.head()
		if err != nil || name == "IEND" || name == "fcTL" && animated {
			return nil
		}
		body, err := f.body(size)
		if err != nil {
			return err
		}
		if err := f.chunk(name, body); err != nil {
			return err
		}
	}
}

// head reads the length and the name of the next chunk.
func (f *pngFile) head() (name string, size int, err error) {
	if len(f.rest) < 8 {
		return "", 0, io.ErrUnexpectedEOF
	}
	for _, c := range f.rest[4:8] {
		if letter := c|0x20 >= 'a' && c|0x20 <= 'z'; !letter && c != '_' && (c < '0' || c > '9') {
			return "", 0, fmt.Errorf("%w: chunk named %q", ErrCorrupt, f.rest[4:8])
		}
	}
	name, size = string(f.rest[4:8]), int(binary.BigEndian.Uint32(f.rest))
	f.rest = f.rest[8:]
	return name, size, nil
}

// body reads the size bytes of a chunk's data, which follow its head.
func (f *pngFile) body(size int) ([]byte, error) {
	if size > len(f.rest) {
		return nil, io.ErrUnexpectedEOF
	}
	body := f.rest[:size]
	f.rest = f.rest[size:]
	return body, nil
}

// skipSum passes over the checksum of a chunk, which may be cut short.
func (f *pngFile) skipSum() { f.rest = f.rest[min(4, len(f.rest)):] }

// chunk reads a chunk that holds no image data, or data that are not needed.
func (f *pngFile) chunk(name string, body []byte) error {
	if len(body) < pngLeast[name] {
		return fmt.Errorf("%w: chunk %s of %d bytes", ErrCorrupt, name, len(body))
	}
	switch name {
	case "IHDR":
		return f.header(body)
	case "PLTE":
		if f.layout.is(modeP) {
			f.palette = body
		}
	case "tRNS":
		if f.layout.is(modeP) {
			f.opacity = body
		}
		// In other modes it is a colour, which changes neither pixels nor mode, but Pillow wants it whole.
		gray := f.layout.is(modeBilevel) || f.layout.is(modeL) || f.layout.is(modeI)
		if gray && len(body) < 2 || f.layout.is(modeRGB) && len(body) < 6 {
			return fmt.Errorf("%w: chunk tRNS of %d bytes", ErrCorrupt, len(body))
		}
	case "eXIf":
		f.exif = bytes.TrimPrefix(body, []byte("Exif\x00\x00")) // which some writers put there, as in JPEG
	case "CgBI":
		f.apple = true
	case "tEXt", "zTXt", "iTXt", "iCCP":
		return f.text(name, body)
	case "acTL":
		// A second one makes the file a still picture.
		if n := binary.BigEndian.Uint32(body); f.frames != 0 || n > 1<<31 {
			f.frames = 0
		} else {
			f.frames = int(n)
		}
	case "fcTL":
		return f.frameHeader(body)
	case "fdAT":
		return f.frameData(body)
	}
	return nil
}

// header reads IHDR. A second one replaces the size, and the layout if it has a
// known one; it can switch interlacing on, not off. Pillow does not look at the
// compression method.
func (f *pngFile) header(body []byte) error {
	f.width, f.height = int(binary.BigEndian.Uint32(body)), int(binary.BigEndian.Uint32(body[4:]))
	if l, ok := pngLayouts[[2]uint8{body[8], body[9]}]; ok {
		f.layout = &l
	} else if f.layout == nil {
		f.unknown = fmt.Errorf("%w: %d bits of colour type %d", ErrUnsupportedFormat, body[8], body[9])
	}
	if body[11] != 0 {
		return fmt.Errorf("%w: filter method %d", ErrUnsupportedFormat, body[11])
	}
	f.interlaced = f.interlaced || body[12] != 0
	return nil
}

// text bounds the size of a text or colour profile. Nothing of it is kept.
func (f *pngFile) text(name string, body []byte) error {
	_, value, _ := bytes.Cut(body, []byte{0}) // after the key
	size, packed := len(value), []byte(nil)
	switch name {
	case "iCCP", "zTXt":
		if name == "iCCP" && size == 0 {
			return fmt.Errorf("%w: chunk iCCP without a profile", ErrCorrupt)
		}
		if size > 0 && value[0] != 0 {
			return fmt.Errorf("%w: compression method %d in chunk %s", ErrUnsupportedFormat, value[0], name)
		}
		packed = value[min(1, size):]
	case "iTXt":
		if size < 2 {
			return nil
		}
		isPacked, method := value[0] != 0, value[1]
		parts := bytes.SplitN(value[2:], []byte{0}, 3) // language, key in that language, text
		if len(parts) < 3 || isPacked && method != 0 {
			return nil
		}
		if size = len(parts[2]); isPacked {
			packed = parts[2]
		}
	}
	if packed != nil {
		if size = unpackedSize(packed, maxPNGText); size > maxPNGText {
			return fmt.Errorf("%w: chunk %s unpacks to over %d bytes", ErrTooLarge, name, maxPNGText)
		}
	}
	if f.texts += size; f.texts > maxPNGTexts {
		return fmt.Errorf("%w: over %d bytes of texts and profiles", ErrTooLarge, maxPNGTexts)
	}
	return nil
}

// unpackedSize returns how many bytes zlib data unpack to, at most limit + 1. Data
// end where they are damaged.
func unpackedSize(packed []byte, limit int64) int {
	z := newInflater()
	defer release(z)
	z.ResetBytes(packed)
	n, _ := io.Copy(io.Discard, io.LimitReader(z, limit+1))
	return int(n)
}

// frameHeader reads fcTL, which gives a frame of an animation its part of the image.
func (f *pngFile) frameHeader(body []byte) error {
	if err := f.inSequence("fcTL", body); err != nil {
		return err
	}
	var v [4]int // width, height, left, top
	for i := range v {
		v[i] = int(binary.BigEndian.Uint32(body[4+4*i:]))
	}
	r := image.Rect(v[2], v[3], v[2]+v[0], v[3]+v[1])
	if r.Max.X > f.width || r.Max.Y > f.height {
		return fmt.Errorf("%w: a frame of %v in an image of %dx%d", ErrCorrupt, r, f.width, f.height)
	}
	f.frame = &r
	return nil
}

// frameData reads the number before the data of fdAT.
func (f *pngFile) frameData(body []byte) error {
	if len(body) < 4 || f.sequence == 0 {
		return fmt.Errorf("%w: frame data without a frame", ErrCorrupt)
	}
	return f.inSequence("fdAT", body)
}

func (f *pngFile) inSequence(name string, body []byte) error {
	if n := binary.BigEndian.Uint32(body); n != f.sequence {
		return fmt.Errorf("%w: chunk %s is number %d of the animation, want %d", ErrCorrupt, name, n, f.sequence)
	}
	f.sequence++
	return nil
}
