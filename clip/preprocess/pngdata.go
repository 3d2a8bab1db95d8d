package preprocess

import (
	"compress/zlib"
	"fmt"
	"image"
	"io"
	"math"
	"sync"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess/internal/inflate"
)

// inflaters are kept because making one takes longer than a short text.
var inflaters = sync.Pool{New: func() any { return new(inflate.Reader) }}

func newInflater() *inflate.Reader { return inflaters.Get().(*inflate.Reader) }

func release(z *inflate.Reader) {
	z.ResetBytes(nil) // forgets the file
	inflaters.Put(z)
}

// readData decodes the image data into m and leaves f at what follows them.
// Pillow gives zlib one block after the other and stops with the one that
// completes the last row, so that what is wrong after it is not seen.
func (f *pngFile) readData(m *Image) error {
	if f.frame != nil && (f.frame.Empty() || !f.frame.In(image.Rect(0, 0, f.width, f.height))) {
		return fmt.Errorf("%w: a frame of %v in an image of %dx%d", ErrCorrupt, *f.frame, f.width, f.height)
	}
	total := 0
	for range f.rows() {
		total++
	}
	s := &pngStream{pngFile: *f, limit: math.MaxInt}
	rows, err := f.readRows(m, s)
	switch {
	case rows == total && (err == nil || err == io.EOF):
	case rows == total && s.err != nil: // the data end without zlib's end
		if !f.complete(rows, s.blocks) {
			return err
		}
	case rows == total: // zlib finds what follows the last row to be bad
		if !f.complete(rows, s.blocks-1) {
			return err
		}
	case rows > 0 && err == io.EOF: // zlib ends early: the other rows stay black
		if f.complete(rows, s.blocks-1) {
			return err
		}
	case err == zlib.ErrHeader && f.apple:
		return fmt.Errorf("%w: CgBI, Apple's variant", ErrUnsupportedFormat)
	default:
		return err
	}
	if s.truncated && f.complete(rows, s.whole) {
		return io.ErrUnexpectedEOF // Pillow skips a chunk that it does not need, and misses its end
	}
	*f = s.pngFile
	return nil
}

// readRows reads the image's rows, and returns how many there were and how the
// data ended: by io.EOF, or not before the byte after the last row (nil).
func (f *pngFile) readRows(m *Image, s *pngStream) (rows int, err error) {
	z := newInflater()
	defer release(z)
	z.Reset(s.more)
	size := 1 + f.layout.rowBytes(f.width) + pngSlack
	above, row := make([]uint8, size), make([]uint8, size)
	var spread *bitSpreader
	if f.layout.bits < 8 {
		spread = newBitSpreader(f.layout.bits, f.layout.scale, 0)
	}
	for r := range f.rows() {
		n := 1 + f.layout.rowBytes(r.n)
		if r.first {
			clear(above)
		}
		if _, err := io.ReadFull(z, row[:n]); err != nil {
			return rows, err
		}
		if err := pngUnfilter(row[0], row[1:n], above[1:n], ceilDiv(f.layout.bits, 8)); err != nil {
			return rows, err
		}
		f.layout.put(m, r, row[1:n], spread)
		above, row = row, above
		rows++
	}
	_, err = io.ReadFull(z, row[:1])
	return rows, err
}

// complete tells whether Pillow has the first rows after so many blocks. Pillow
// turns to the next row only while zlib has bytes left to read. So all but the last
// byte of the blocks must give the first byte of the last row.
func (f *pngFile) complete(rows, blocks int) bool {
	all, last := 0, 0
	for r := range f.rows() {
		if rows == 0 {
			break
		}
		last = 1 + f.layout.rowBytes(r.n)
		all += last
		rows--
	}
	return f.inflated(blocks, 0, all) && (all == last || f.inflated(blocks, 1, all-last+1))
}

// inflated tells whether the first blocks, short of their last bytes, give n bytes.
func (f *pngFile) inflated(blocks, without, n int) bool {
	s := &pngStream{pngFile: *f, limit: blocks, without: without}
	z := newInflater()
	defer release(z)
	z.Reset(s.more)
	got, _ := io.CopyN(io.Discard, z, int64(n))
	return got == int64(n)
}

// maxPNGBlock is the most that Pillow reads at once; a block does not reach
// into the next chunk.
const maxPNGBlock = 1 << 16

// pngStream reads the contents of the data chunks, which end where another
// chunk comes or the file is cut.
type pngStream struct {
	pngFile          // the rest of which begins behind the current chunk
	chunk     []byte // of the current chunk, what follows the current block
	begun     bool   // there is a current chunk, whose checksum is next
	blocks    int    // how many have been begun
	whole     int    // how many of them lie before the current chunk
	truncated bool   // the file ends within the current chunk
	err       error  // why no other block follows
	limit     int    // ends the data after so many blocks,
	without   int    // and the last of them so many bytes short
}

// more returns the next block that is not empty, or sets err and returns it.
func (s *pngStream) more() ([]byte, error) {
	for s.err == nil {
		if s.blocks >= s.limit {
			s.err = io.EOF
			break
		}
		if len(s.chunk) == 0 {
			s.err = s.nextChunk()
			continue
		}
		n := min(len(s.chunk), maxPNGBlock)
		block := s.chunk[:n]
		s.chunk = s.chunk[n:]
		if s.blocks++; s.blocks == s.limit {
			block = block[:n-s.without]
		}
		if len(block) > 0 {
			return block, nil
		}
	}
	return nil, s.err
}

func (s *pngStream) nextChunk() error {
	end := s.rest
	if s.begun {
		s.skipSum()
	}
	name, size, err := s.head()
	n := min(size, len(s.rest))
	body := s.rest[:n]
	switch {
	case err != nil:
	case name == "fdAT":
		if err = s.frameData(body); err == nil {
			s.chunk = body[4:]
		}
	case name == "IDAT", name == "DDAT":
		s.chunk = body
	default:
		err = io.EOF
	}
	if err != nil {
		s.rest = end // which the tail begins with
		return err
	}
	s.rest = s.rest[n:]
	s.begun, s.truncated, s.whole = true, n < size, s.blocks
	return nil
}
