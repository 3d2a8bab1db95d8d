package preprocess

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess/internal/jpeg"
	"github.com/clip-wgpu/clip-wgpu/internal/guard"
)

// Limits of Decode.
const (
	// DefaultMaxPixels is the largest width x height that is decoded: where
	// Pillow raises DecompressionBombError.
	DefaultMaxPixels = 2 * (1024 * 1024 * 1024 / 4 / 3)

	maxImageSide = 1 << 20
	maxFileBytes = 1 << 30
)

// The most that a byte of a file can stand for.
const (
	maxDeflate = 1032 // bytes: two bits repeat 258 of them
	maxLZW     = 2731 // bytes: a code of 12 bits stands for less than 4096
	maxJPEG    = 1024 // pixels: a bit for each block of 8x8, and sampled 4x1 and 1x4, eight blocks cover 32x32
)

// Option changes how Decode reads a file.
type Option func(*options)

type options struct {
	maxPixels int
	orient    bool
	scale     int // of JPEG
	draft     func(width, height int) (scale int)
	content   func(data []byte) error
	ctx       context.Context
	memory    *jpeg.Memory // of JPEG
	pixels    *[]uint8     // of an image that does not lie in memory
	turned    *[]uint8     // of an image that was turned upright
}

// WithMaxPixels replaces DefaultMaxPixels.
func WithMaxPixels(n int) Option { return func(o *options) { o.maxPixels = n } }

// WithOrientation turns the image upright by its EXIF orientation (JPEG, PNG,
// WebP) or what an AVIF has for it. open_clip does not. The orientation of a TIFF
// or HEIC is always applied, as Pillow and pillow-heif do while loading it.
func WithOrientation() Option { return func(o *options) { o.orient = true } }

// WithScale decodes a JPEG to 1/n of its width and height, rounded up: n is 1, 2, 4
// or 8. Its blocks then have 8/n samples a side, as after Pillow's draft, which takes
// less time and gives other pixels than resizing. Other formats keep their size.
func WithScale(n int) Option { return func(o *options) { o.scale = n } }

// WithContent passes on what a file contains before it is decoded: an error of f ends
// that. What begins like no picture is refused before. data is valid until f returns.
func WithContent(f func(data []byte) error) Option { return func(o *options) { o.content = f } }

// WithContext makes decoding fail with ctx's error if ctx ends before it begins. HEIC and AVIF
// wait before they begin, until others that are being decoded leave them enough memory.
func WithContext(ctx context.Context) Option { return func(o *options) { o.ctx = ctx } }

// checkSize refuses sizes before anything of that size is allocated.
func (o options) checkSize(w, h int) error {
	if w < 1 || h < 1 {
		return fmt.Errorf("%w: its header says %dx%d", ErrCorrupt, w, h)
	}
	if w > maxImageSide || h > maxImageSide {
		return fmt.Errorf("%w: %dx%d, a side may have %d pixels", ErrTooLarge, w, h, maxImageSide)
	}
	if w > o.maxPixels/h {
		return fmt.Errorf("%w: %dx%d, the limit is %d pixels", ErrTooLarge, w, h, o.maxPixels)
	}
	return nil
}

// checkLength refuses data that are too short for n units at up to perByte of
// them a byte: the file is cut short or its header wrong, and decoding would
// allocate all of the image to find that out.
func checkLength(data []byte, n, perByte int) error {
	if need := ceilDiv(n, perByte); len(data) < need {
		return fmt.Errorf("%w: the file is truncated: %d bytes of data, an image of its size has %d or more", ErrCorrupt, len(data), need)
	}
	return nil
}

// format is a file format by its first bytes; ? matches any byte.
type format struct {
	name, magic string
	decode      func(data []byte, o options) (*Image, error)
}

var formats = []format{
	{"PNG", "\x89PNG\r\n\x1a\n", decodePNG},
	{"JPEG", "\xff\xd8\xff", decodeJPEG},
	{"GIF", "GIF87a", decodeGIF},
	{"GIF", "GIF89a", decodeGIF},
	{"WebP", "RIFF????WEBP", decodeWebP},
	{"BMP", "BM", decodeBMP},
	{"TIFF", "II*\x00", decodeTIFF},
	{"TIFF", "MM\x00*", decodeTIFF},
	{"TIFF", "II\x00*", decodeTIFF}, // wrong, and read by Pillow
	{"TIFF", "MM*\x00", decodeTIFF},
	{"BigTIFF", "II+\x00", decodeTIFF},
	{"BigTIFF", "MM\x00+", decodeTIFF},
}

// readable names formats.
var readable = "PNG, JPEG, GIF, WebP, BMP or TIFF"

// known are formats that are not read. Errors name them. Programs that read the first four
// have a build tag.
var known = []format{
	{name: "AVIF (read by programs built with -tags heic,nodynamic)", magic: "????ftypavi"},
	{name: "HEIC (read by programs built with -tags heic,nodynamic)", magic: "????ftyphe"},
	{name: "HEIF (read by programs built with -tags heic,nodynamic)", magic: "????ftypmif1"},
	{name: "HEIF (read by programs built with -tags heic,nodynamic)", magic: "????ftypmsf1"},
	{name: "JPEG XL", magic: "\xff\x0a"},
	{name: "JPEG XL", magic: "\x00\x00\x00\x0cJXL \r\n\x87\n"},
	{name: "JPEG 2000", magic: "\x00\x00\x00\x0cjP  \r\n\x87\n"},
	{name: "JPEG 2000", magic: "\xff\x4f\xff\x51"},
	{name: "ISO media (MP4 or alike)", magic: "????ftyp"},
	{name: "Photoshop", magic: "8BPS"},
	{name: "PDF", magic: "%PDF"},
	{name: "icon", magic: "\x00\x00\x01\x00"},
	{name: "git-LFS pointer", magic: "version https://git-lfs"},
}

func (f format) matches(head []byte) bool {
	if len(head) < len(f.magic) {
		return false
	}
	for i := range f.magic {
		if f.magic[i] != '?' && f.magic[i] != head[i] {
			return false
		}
	}
	return true
}

func sniff(head []byte) (format, error) {
	for _, f := range formats {
		if f.matches(head) {
			return f, nil
		}
	}
	want := "want " + readable
	for _, f := range known {
		if f.matches(head) {
			return format{}, fmt.Errorf("%w: %s, %s", ErrUnsupportedFormat, f.name, want)
		}
	}
	if len(head) == 0 {
		return format{}, fmt.Errorf("%w: no bytes at all", ErrCorrupt)
	}
	return format{}, fmt.Errorf("%w: starts with %q, %s", ErrUnsupportedFormat, head[:min(len(head), 12)], want)
}

// Decode reads one image, whose format its first bytes tell. Images over the
// limit are refused by what their header says. An image takes one to four bytes a
// pixel, whatever its file; decoding takes little more but for a WebP's planes, the
// coefficients of a JPEG and a copy that is turned. Four kinds of small file could
// take minutes or gigabytes and are refused, too: progressive JPEGs of very many
// scans; JPEGs of over 6.7 million blocks in scans with arithmetic coding; JPEGs of
// several scans and over 544 MiB of coefficients, all of which are kept until the last
// scan (89 megapixels without chroma subsampling); and TIFFs whose strips or tiles share
// more bytes than blank ones do. The error wraps ErrUnsupportedFormat, ErrTooLarge,
// ErrCorrupt, ErrInvalidConfig (of the scale) or r's own error. It wraps none of them
// where a decoder panicked.
func Decode(r io.Reader, opts ...Option) (*Image, error) { return new(Decoder).Decode(r, opts...) }

// guarded decodes data. A panic of the decoder becomes an error.
func (f format) guarded(data []byte, o options) (img *Image, err error) {
	defer guard.Catch(&err)
	return f.decode(data, o)
}

// DecodeFile is Decode of a regular file; the error names it.
func DecodeFile(path string, opts ...Option) (*Image, error) {
	return new(Decoder).DecodeFile(path, opts...)
}

// damaged classifies a codec's error: what it calls unsupported stays that, all
// else means that the data are bad.
func damaged(err error) error {
	switch {
	case errors.Is(err, ErrUnsupportedFormat), errors.Is(err, ErrCorrupt), errors.Is(err, ErrTooLarge):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: the file is truncated", ErrCorrupt)
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// byteReader walks over data; the first read past the end makes it fail, and
// reads give zeros from then on.
type byteReader struct {
	data   []byte
	failed bool
}

// next returns the next n bytes, or nil.
func (r *byteReader) next(n int) []byte {
	if r.failed || n < 0 || n > len(r.data) {
		r.failed = true
		return nil
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *byteReader) u8() int {
	if b := r.next(1); b != nil {
		return int(b[0])
	}
	return 0
}

func (r *byteReader) u16le() int {
	if b := r.next(2); b != nil {
		return int(b[0]) | int(b[1])<<8
	}
	return 0
}

func (r *byteReader) u16be() int {
	if b := r.next(2); b != nil {
		return int(b[0])<<8 | int(b[1])
	}
	return 0
}

func (r *byteReader) err() error {
	if r.failed {
		return io.ErrUnexpectedEOF
	}
	return nil
}
