package preprocess

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess/internal/jpeg"
)

// Values of Compression that are read.
const (
	tiffUncompressed = 1
	tiffRLE          = 2 // CCITT T.4 one-dimensional, rows end at bytes
	tiffGroup3       = 3
	tiffGroup4       = 4
	tiffLZW          = 5
	tiffJPEG         = 7
	tiffDeflate      = 8
	tiffPackBits     = 32773
	tiffOldDeflate   = 32946
)

var tiffCompressions = []int{tiffUncompressed, tiffRLE, tiffGroup3, tiffGroup4, tiffLZW, tiffJPEG, tiffDeflate, tiffPackBits, tiffOldDeflate}

var tiffCompressionNames = map[int]string{
	6: "old-style JPEG", 9: "JBIG", 10: "JBIG", 32766: "NeXT", 32771: "CCITT RLE with word alignment", 32809: "ThunderScan", 34661: "JBIG", 34676: "SGI LogLuv", 34677: "SGI LogLuv",
	34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}

func tiffCompressionName(c int) string {
	if name := tiffCompressionNames[c]; name != "" {
		return name + " compression"
	}
	return fmt.Sprintf("compression %d", c)
}

// Values of Predictor.
const tiffNoPredictor, tiffHorizontal = 1, 2

// checkCodec refuses samples that the compression is not read with.
func (f *tiffFile) checkCodec() error {
	switch predicted := f.predictor != tiffNoPredictor; f.compression {
	case tiffRLE, tiffGroup3, tiffGroup4:
		if f.bits != 1 || f.stored != 1 {
			return unsupportedTIFF("CCITT compression of %d samples of %d bits", f.stored, f.bits)
		}
	case tiffJPEG:
		if f.bits != 8 {
			return unsupportedTIFF("JPEG compression of %d-bit samples", f.bits)
		}
	case tiffLZW, tiffDeflate, tiffOldDeflate:
		if predicted && (f.predictor != tiffHorizontal || f.bits < 8 || f.bits == 12) {
			return unsupportedTIFF("predictor %d of %d-bit samples", f.predictor, f.bits)
		}
	}
	return nil
}

// checkChunk refuses a chunk that cannot hold its pixels.
func (f *tiffFile) checkChunk(chunk []byte, rows int) error {
	const maxPackBits = 64 // bytes for one: two give 128
	n := rows * f.rowBytes(f.chunkW)
	switch f.compression {
	case tiffLZW:
		return checkLength(chunk, n, maxLZW)
	case tiffDeflate, tiffOldDeflate:
		return checkLength(chunk, n, maxDeflate)
	case tiffPackBits:
		return checkLength(chunk, n, maxPackBits)
	case tiffJPEG:
		return checkLength(chunk, rows*f.chunkW, maxJPEG)
	case tiffRLE, tiffGroup3, tiffGroup4:
		return checkLength(chunk, rows, 8) // a row has one bit or more
	}
	return nil
}

// rowReader fills row with the next row of a chunk.
type rowReader func(row []byte) error

func readFrom(r io.Reader) rowReader {
	return func(row []byte) error {
		_, err := io.ReadFull(r, row)
		return err
	}
}

// inflated returns the reader of a chunk of Deflate. A wrong checksum right behind a
// row is an error. libtiff minds neither a missing one nor one behind more rows than
// the image has.
func (f *tiffFile) inflated(chunk []byte) rowReader {
	f.inflate.ResetBytes(chunk)
	return func(row []byte) error {
		if _, err := io.ReadFull(f.inflate, row); err != nil {
			return err
		}
		if err := f.inflate.Next(); errors.Is(err, zlib.ErrChecksum) {
			return err
		}
		return nil
	}
}

// reversedBits returns data with the bits of each byte in reverse order.
func reversedBits(data []byte) []byte {
	out := make([]byte, len(data))
	for i, b := range data {
		out[i] = bits.Reverse8(b)
	}
	return out
}

// decompressor returns the reader of the rows of chunk i.
func (f *tiffFile) decompressor(chunk []byte, i int, o options) (rowReader, error) {
	switch f.compression {
	case tiffRLE, tiffGroup3, tiffGroup4:
		return f.newFax(chunk), nil
	case tiffLZW:
		return f.predicted(f.unpackedLZW(chunk)), nil
	case tiffDeflate, tiffOldDeflate:
		return f.predicted(f.inflated(chunk)), nil
	case tiffPackBits:
		return readFrom(&packBits{src: chunk}), nil
	case tiffJPEG:
		pix, err := f.decodeJPEGChunk(chunk, i, o)
		return readFrom(bytes.NewReader(pix)), err
	}
	return readFrom(bytes.NewReader(chunk)), nil
}

// unpackedLZW returns the reader of a chunk of LZW. Before TIFF 5.0 its low bits came
// first and its codes became longer one code later. A chunk starts with code 256,
// whose bits tell the two apart, as in libtiff.
func (f *tiffFile) unpackedLZW(chunk []byte) rowReader {
	if len(chunk) > 1 && chunk[0] == 0 && chunk[1]&1 != 0 {
		f.lzw.reset(chunk, 8, false, 0)
	} else {
		f.lzw.reset(chunk, 8, true, 1)
	}
	return readFrom(f.lzw)
}

// predicted undoes the predictor in the rows of next. Only LZW and Deflate have
// one: libtiff ignores the tag with other compressions.
func (f *tiffFile) predicted(next rowReader) rowReader {
	if f.predictor == tiffNoPredictor {
		return next
	}
	return func(row []byte) error {
		err := next(row)
		f.undoDifferences(row)
		return err
	}
}

// undoDifferences adds to each sample the one of the pixel before it.
func (f *tiffFile) undoDifferences(row []byte) {
	step := f.stored * f.bits / 8
	switch f.bits {
	case 8:
		addLeft(row, step)
	case 16:
		for i := step; i+2 <= len(row); i += 2 {
			f.order.PutUint16(row[i:], f.order.Uint16(row[i:])+f.order.Uint16(row[i-step:]))
		}
	default:
		for i := step; i+4 <= len(row); i += 4 {
			f.order.PutUint32(row[i:], f.order.Uint32(row[i:])+f.order.Uint32(row[i-step:]))
		}
	}
}

// packBits expands Macintosh run lengths (TIFF 6.0, section 9).
type packBits struct {
	src    []byte
	left   int // bytes to come of the run or of the literal bytes
	repeat bool
}

func (r *packBits) Read(p []byte) (int, error) {
	for r.left == 0 {
		if len(r.src) == 0 {
			return 0, io.EOF
		}
		const noOperation = -128
		if n := int(int8(r.src[0])); n != noOperation {
			r.left, r.repeat = max(n, -n)+1, n < 0
		}
		r.src = r.src[1:]
	}
	if len(r.src) == 0 {
		return 0, io.EOF
	}
	n := min(r.left, len(p))
	if r.repeat {
		for i := range p[:n] {
			p[i] = r.src[0]
		}
	} else {
		n = copy(p[:n], r.src)
		r.src = r.src[n:]
	}
	if r.left -= n; r.repeat && r.left == 0 {
		r.src = r.src[1:]
	}
	return n, nil
}

// decodeJPEGChunk decodes a chunk that is a JPEG file whose tables may be in
// JPEGTables. TIFF's own tags say what its components are.
func (f *tiffFile) decodeJPEGChunk(chunk []byte, i int, o options) ([]byte, error) {
	if !bytes.HasPrefix(chunk, []byte("\xff\xd8")) {
		return nil, fmt.Errorf("%w: a strip or tile is no JPEG", ErrCorrupt)
	}
	tables, ok := bytes.CutPrefix(f.entries[tagJPEGTables].values, []byte("\xff\xd8"))
	if !ok && len(tables) > 0 {
		return nil, fmt.Errorf("%w: its JPEGTables are no JPEG", ErrCorrupt)
	}
	stream := append([]byte("\xff\xd8"), bytes.TrimSuffix(tables, []byte("\xff\xd9"))...)
	h, err := jpeg.ReadHeader(append(stream, chunk[2:]...))
	if err != nil {
		return nil, damagedJPEG(err)
	}
	n, rows := h.Components, f.encodedRows(i)
	lastStrip := !f.tiled && (i+1)%f.down == 0 // may have more rows than the image
	if h.Width != f.chunkW || h.Height < rows || h.Height > rows && !lastStrip || n != f.stored {
		return nil, fmt.Errorf("%w: a JPEG of %dx%d and %d components in a strip or tile of %dx%d and %d", ErrCorrupt, h.Width, h.Height, n, f.chunkW, rows, f.stored)
	}
	if f.jpegVisits += jpegVisits(h); f.jpegVisits > maxJPEGVisits {
		return nil, fmt.Errorf("%w: JPEG scans of over %d blocks of 8x8 samples in its strips or tiles", ErrTooLarge, maxJPEGVisits)
	}
	h.YCC = f.photometric == tiffYCbCr && n >= 3
	o.scale = 1
	m, err := pixelsOfJPEG(h, o)
	if err != nil {
		return nil, err
	}
	return m.pix, nil
}
