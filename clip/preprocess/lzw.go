package preprocess

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

const lzwCodes = 1 << 12

// lzwReader decompresses the LZW of GIF and TIFF. A string has been output before it
// gets a code, and is copied from there. So out keeps what was output since the last
// clear code, up to the string that got the last of the 4096 codes: 8 MiB at most.
type lzwReader struct {
	src   []byte
	msb   bool   // the first bit of a code is the highest of a byte
	early int    // by how many codes they become longer before they must, as in TIFF
	clear int    // the code that ends all others; the next one ends the data
	bits  uint64 // of src, the next one lowest or, of msb, highest
	n     uint   // how many they are
	width uint   // of a code

	out  []byte
	r, w int // out[r:w] is not read yet
	base int // where w was at the last clear code
	full int // where w was when there were no more codes to give, or 0
	next int // the next code to be given
	last lzwString
	of   [lzwCodes]lzwString
}

// lzwString is what a code stands for.
type lzwString struct {
	head  uint64 // up to eight bytes of it, the first one lowest
	start int32  // where it is in out behind base, but for a string of one byte
	size  int32  // 0 of a code that is none
}

var lzwReaders = sync.Pool{New: func() any { return new(lzwReader) }}

func (r *lzwReader) release() {
	r.src = nil
	lzwReaders.Put(r)
}

// reset makes r read src. Codes below 1<<literal are the bytes themselves, the next two
// clear and end. msb and early are lzwReader's.
func (r *lzwReader) reset(src []byte, literal int, msb bool, early int) {
	r.src, r.msb, r.early, r.clear = src, msb, early, 1<<literal
	r.bits, r.n, r.r, r.w = 0, 0, 0, 0
	for i := range r.clear + 2 {
		r.of[i] = lzwString{head: uint64(i), size: 1}
	}
	r.of[r.clear].size, r.of[r.clear+1].size = 0, 0
	r.forget()
}

// forget makes all codes but the first ones unknown.
func (r *lzwReader) forget() {
	r.next, r.width, r.last.size, r.full, r.base = r.clear+2, 1, 0, 0, r.w
	for 1<<(r.width-1) < r.clear {
		r.width++
	}
}

// Read implements io.Reader. It fills p, or fails.
func (r *lzwReader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if r.r == r.w && r.full > 0 {
			r.r, r.w = r.full, r.full
		}
		if err := r.decompress(min(len(p)-n, 1<<16)); err != nil {
			return n, err
		}
		got := copy(p[n:], r.out[r.r:r.w])
		n, r.r = n+got, r.r+got
	}
	return n, nil
}

// fill makes the bits of a code available.
func (r *lzwReader) fill() error {
	for r.n < r.width {
		switch {
		case len(r.src) == 0:
			return io.ErrUnexpectedEOF
		case len(r.src) < 8 && r.msb:
			r.bits |= uint64(r.src[0]) << (56 - r.n)
			r.src, r.n = r.src[1:], r.n+8
		case len(r.src) < 8:
			r.bits |= uint64(r.src[0]) << r.n
			r.src, r.n = r.src[1:], r.n+8
		case r.msb:
			r.bits |= binary.BigEndian.Uint64(r.src) >> r.n
			r.src, r.n = r.src[(63-r.n)>>3:], r.n|56
		default:
			r.bits |= binary.LittleEndian.Uint64(r.src) << r.n
			r.src, r.n = r.src[(63-r.n)>>3:], r.n|56
		}
	}
	return nil
}

// code takes the next code of the bits.
func (r *lzwReader) code() (c int) {
	if r.msb {
		c = int(r.bits >> (64 - r.width&63))
		r.bits <<= r.width & 63
	} else {
		c = int(r.bits & (1<<(r.width&63) - 1))
		r.bits >>= r.width & 63
	}
	r.n -= r.width
	return c
}

// makeRoom drops what is read and no code's, or else doubles the room.
func (r *lzwReader) makeRoom() {
	gone := min(r.base, r.r)
	if gone < len(r.out)/2 || gone == 0 {
		r.out = append(r.out, make([]byte, max(8*lzwCodes, len(r.out)))...)
		return
	}
	copy(r.out, r.out[gone:r.w])
	r.r, r.w, r.base = r.r-gone, r.w-gone, r.base-gone
	if r.full > 0 {
		r.full -= gone
	}
}

// decompress outputs until n bytes are there to read.
func (r *lzwReader) decompress(n int) error {
	for r.w-r.r < n {
		if r.w+lzwCodes+8 > len(r.out) {
			r.makeRoom()
		}
		if r.n < r.width {
			if err := r.fill(); err != nil {
				return err
			}
		}
		code := r.code()
		s := r.of[code%lzwCodes]
		switch {
		case code == r.clear:
			r.forget()
			continue
		case code == r.clear+1:
			return io.ErrUnexpectedEOF
		case code > r.next || code == r.next && (r.last.size == 0 || r.full > 0):
			return fmt.Errorf("%w: LZW: invalid code %d", ErrCorrupt, code)
		case code == r.next:
			s = r.last.and(r.last.head)
		}
		binary.LittleEndian.PutUint64(r.out[r.w:], s.head)
		if s.size > 8 {
			copyWords(r.out[r.w:], r.out[r.base+int(s.start):], int(s.size))
		}
		if r.last.size > 0 && r.full == 0 {
			r.of[r.next%lzwCodes] = r.last.and(s.head)
			if r.next++; r.next+r.early >= 1<<r.width {
				r.lengthen(int(s.size))
			}
		}
		r.last = lzwString{s.head, int32(r.w - r.base), s.size}
		r.w += int(s.size)
	}
	return nil
}

// lengthen makes codes a bit longer. Where they cannot be longer, the string of size
// bytes that is being output is the last that a code may stand for.
func (r *lzwReader) lengthen(size int) {
	if r.width++; 1<<r.width > lzwCodes {
		r.width--
		r.full = r.w + size
	}
}

// and returns s and the first byte of head, which follows s in out.
func (s lzwString) and(head uint64) lzwString {
	if s.size < 8 {
		s.head |= head & 0xff << (8 * s.size & 63)
	}
	s.size++
	return s
}

// copyWords copies size bytes of src to dst but for the first eight, which are there
// already: src may reach to the first byte of dst. It copies by words, so that it writes
// up to seven bytes more.
func copyWords(dst, src []byte, size int) {
	for i := 8; i < size; i += 8 {
		binary.LittleEndian.PutUint64(dst[i:], binary.LittleEndian.Uint64(src[i:]))
	}
}
