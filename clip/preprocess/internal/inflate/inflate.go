// Package inflate decompresses zlib data (RFC 1950 and 1951). It takes half of
// compress/zlib's time, and takes each byte of the input only when it needs it.
package inflate

import (
	"compress/zlib"
	"encoding/binary"
	"errors"
	"io"
)

const (
	window   = 1 << 15 // how far back a match may lie
	capacity = 1 << 17 // of the buffer
	longest  = 258     // bytes of a match
	slack    = 16      // bytes that copying by words writes behind a match
)

// Reader reads what zlib data decompress to. Its errors are:
//   - zlib.ErrHeader, zlib.ErrDictionary and zlib.ErrChecksum, as compress/zlib has them
//   - ErrData, if the compressed data are bad
//   - io.ErrUnexpectedEOF, if the input ends too early
//   - the error of its source, if that is another than io.EOF
type Reader struct {
	more func() ([]byte, error)
	src  []byte
	pos  int
	bits uint64 // the next ones of the input, the first one lowest
	n    uint   // how many they are

	buf    []byte // what was decompressed last
	r, w   int    // buf[r:w] is still to be read
	summed int    // buf[:summed] is in sum
	sum    adler

	state     func(r *Reader, target int) error
	err       error
	final     bool // the current block is the last
	stored    int  // bytes to come of a block without compression
	lit, dist []uint32
	dynamic   tables
}

// ErrData says that the compressed data are bad.
var ErrData = errors.New("bad compressed data")

// Reset makes r read from the pieces of data that more returns, which are not
// empty, until its error.
func (r *Reader) Reset(more func() ([]byte, error)) {
	*r = Reader{more: more, buf: r.buf, sum: 1, state: (*Reader).header, dynamic: r.dynamic}
	if r.buf == nil {
		r.buf = make([]byte, capacity+longest+slack)
	}
}

// ResetBytes makes r read from data.
func (r *Reader) ResetBytes(data []byte) {
	r.Reset(func() ([]byte, error) {
		piece := data
		if data = nil; len(piece) == 0 {
			return nil, io.EOF
		}
		return piece, nil
	})
}

// Read implements io.Reader. It decompresses little more than p has room for.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := r.decompress(len(p)); err != nil {
		return 0, err
	}
	n := copy(p, r.buf[r.r:r.w])
	r.r += n
	return n, nil
}

// Next returns nil if there are bytes to read, and otherwise what Read returns.
func (r *Reader) Next() error { return r.decompress(1) }

// decompress fills the empty buffer by little more than n bytes, or less.
func (r *Reader) decompress(n int) error {
	for r.r == r.w && r.err == nil {
		if r.w > capacity/2 && r.w+n > capacity {
			r.slide()
		}
		if r.err = r.state(r, min(r.w+n, capacity)); r.err == io.EOF && r.state != nil {
			r.err = io.ErrUnexpectedEOF
		}
	}
	if r.r < r.w {
		return nil
	}
	return r.err
}

// slide keeps the last window of what was decompressed.
func (r *Reader) slide() {
	r.sum.add(r.buf[r.summed:r.w])
	copy(r.buf, r.buf[r.w-window:r.w])
	r.r, r.w, r.summed = window, window, window
}

// fill makes at least n bits, 32 at most, available.
func (r *Reader) fill(n uint) error {
	for r.n < n {
		if r.pos == len(r.src) {
			var err error
			if r.src, err = r.more(); err != nil {
				return err
			}
			r.pos = 0
		}
		r.bits |= uint64(r.src[r.pos]) << r.n
		r.pos++
		r.n += 8
	}
	return nil
}

// take returns the next n bits.
func (r *Reader) take(n uint) (int, error) {
	if err := r.fill(n); err != nil {
		return 0, err
	}
	v := int(r.bits & (1<<n - 1))
	r.bits >>= n
	r.n -= n
	return v, nil
}

func (r *Reader) header(int) error {
	v, err := r.take(16)
	if err != nil {
		return err
	}
	const deflate, windowBits, dictionary = 8, 7, 0x20
	method, flags := v&0xff, v>>8
	switch {
	case method&15 != deflate || method>>4 > windowBits || (method<<8|flags)%31 != 0:
		return zlib.ErrHeader
	case flags&dictionary != 0:
		if _, err := r.take(32); err != nil { // which dictionary it is
			return err
		}
		return zlib.ErrDictionary
	}
	r.state = (*Reader).blockHeader
	return nil
}

func (r *Reader) blockHeader(int) error {
	if r.final {
		return r.trailer()
	}
	v, err := r.take(3)
	if err != nil {
		return err
	}
	r.final = v&1 != 0
	switch v >> 1 {
	case 0:
		r.take(r.n % 8) // the rest of the byte
		size, err := r.take(16)
		if err != nil {
			return err
		}
		inverse, err := r.take(16)
		if err != nil {
			return err
		}
		if size != inverse^0xffff {
			return ErrData
		}
		r.stored, r.state = size, (*Reader).storedBlock
		return nil
	case 1:
		fixed := fixedTables()
		r.lit, r.dist = fixed.lit, fixed.dist
	case 2:
		if err := r.readTables(); err != nil {
			return err
		}
		r.lit, r.dist = r.dynamic.lit, r.dynamic.dist
	default:
		return ErrData
	}
	r.state = (*Reader).codedBlock
	return nil
}

// trailer compares the checksum behind the last block.
func (r *Reader) trailer() error {
	r.take(r.n % 8)
	var sum uint32
	for range 4 {
		v, err := r.take(8)
		if err != nil {
			return err
		}
		sum = sum<<8 | uint32(v)
	}
	r.sum.add(r.buf[r.summed:r.w])
	if sum != uint32(r.sum) {
		return zlib.ErrChecksum
	}
	r.state = nil
	return io.EOF
}

func (r *Reader) storedBlock(target int) error {
	for r.stored > 0 && r.w < target {
		if r.n > 0 { // whole bytes
			r.buf[r.w] = byte(r.bits)
			r.take(8)
			r.w++
			r.stored--
			continue
		}
		if r.pos == len(r.src) {
			if err := r.fill(8); err != nil {
				return err
			}
			continue
		}
		n := copy(r.buf[r.w:min(target, r.w+r.stored)], r.src[r.pos:])
		r.pos, r.w, r.stored = r.pos+n, r.w+n, r.stored-n
	}
	if r.stored == 0 {
		r.state = (*Reader).blockHeader
	}
	return nil
}

// codedBlock decompresses symbols until target is reached or the block ends.
func (r *Reader) codedBlock(target int) error {
	for r.w < target {
		if ended, err := r.quick(target); err != nil {
			return err
		} else if ended {
			r.state = (*Reader).blockHeader
			return nil
		}
		if r.w >= target {
			return nil
		}
		// Near the end of a piece each byte is taken when it is needed.
		e, err := r.symbol(r.lit, litBits)
		if err != nil {
			return err
		}
		switch {
		case e&literal != 0:
			r.buf[r.w] = byte(e >> valueShift)
			r.w++
			continue
		case e&endOfBlock != 0:
			r.state = (*Reader).blockHeader
			return nil
		}
		length, err := r.value(e)
		if err != nil {
			return err
		}
		if e, err = r.symbol(r.dist, distBits); err != nil {
			return err
		}
		distance, err := r.value(e)
		if err != nil {
			return err
		}
		if distance > r.w {
			return ErrData
		}
		repeat(r.buf, r.w, distance, length)
		r.w += length
	}
	return nil
}

// symbol reads a code of the table.
func (r *Reader) symbol(table []uint32, primary uint) (uint32, error) {
	for {
		e := table[r.bits&(1<<primary-1)]
		if e&pointer != 0 {
			e = table[e>>valueShift+uint32(r.bits>>primary)&(1<<(e>>extraShift&15)-1)]
		}
		if n := uint(e & 15); n <= r.n && n > 0 {
			r.bits >>= n
			r.n -= n
			return e, nil
		}
		if e&15 == 0 && r.n > 0 { // a table with gaps has one code, of one bit: the first bit tells
			return 0, ErrData
		}
		if err := r.fill(r.n + 1); err != nil {
			return 0, err
		}
	}
}

// value returns the length or distance that begins with the code of e.
func (r *Reader) value(e uint32) (int, error) {
	if e>>valueShift == 0 { // a code that means nothing
		return 0, ErrData
	}
	extra, err := r.take(uint(e >> extraShift & 15))
	return int(e>>valueShift) + extra, err
}

// refill makes 56 bits and more of the word at pos.
func refill(src []byte, pos int, bits uint64, n uint) (int, uint64, uint) {
	bits |= binary.LittleEndian.Uint64(src[pos:]) << (n & 63)
	return pos + int(63-n)>>3, bits, n | 56
}

// quick is codedBlock while the piece has bytes to spare.
func (r *Reader) quick(target int) (ended bool, err error) {
	src, pos, bits, n := r.src, r.pos, r.bits, r.n
	e := uint32(endOfBlock)
	buf, w, lit, dist := r.buf, r.w, (*[1 << litBits]uint32)(r.lit), (*[1 << distBits]uint32)(r.dist)
	for w < target && len(src)-pos >= 16 {
		pos, bits, n = refill(src, pos, bits, n)
		e = lit[bits&(1<<litBits-1)]
		for range 3 { // short codes of literals, which need no more bits
			if e&literal == 0 {
				break
			}
			bits, n = bits>>(e&15), n-uint(e&15)
			buf[w] = byte(e >> valueShift)
			w++
			e = lit[bits&(1<<litBits-1)]
		}
		if e&literal != 0 {
			continue
		}
		if e&pointer != 0 {
			e = r.lit[e>>valueShift+uint32(bits>>litBits)&(1<<(e>>extraShift&15)-1)]
		}
		pos, bits, n = refill(src, pos, bits, n)
		bits, n = bits>>(e&15), n-uint(e&15)
		if e&literal != 0 {
			buf[w] = byte(e >> valueShift)
			w++
			continue
		}
		if ended = e&endOfBlock != 0; ended || e>>valueShift == 0 {
			break
		}
		extra := uint(e >> extraShift & 15)
		length := int(e>>valueShift) + int(bits&(1<<extra-1))
		bits, n = bits>>extra, n-extra
		if e = dist[bits&(1<<distBits-1)]; e&pointer != 0 {
			e = r.dist[e>>valueShift+uint32(bits>>distBits)&(1<<(e>>extraShift&15)-1)]
		}
		bits >>= e & 15
		extra = uint(e >> extraShift & 15)
		distance := int(e>>valueShift) + int(bits&(1<<extra-1))
		bits >>= extra
		n -= uint(e&15) + extra
		if e>>valueShift == 0 || distance > w {
			e = 0
			break
		}
		repeat(buf, w, distance, length)
		w += length
	}
	if e>>valueShift == 0 && e&(literal|endOfBlock) == 0 {
		err = ErrData
	}
	// Whole bytes go back.
	pos -= int(n / 8)
	n %= 8
	r.pos, r.bits, r.n, r.w = pos, bits&(1<<n-1), n, w
	return ended, err
}
