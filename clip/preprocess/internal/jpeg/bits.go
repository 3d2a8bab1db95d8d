package jpeg

import (
	"encoding/binary"
	"io"
)

// bits reads entropy-coded data. The next n bits are at the top of acc. They end at a
// marker, behind which there are zeros.
type bits struct {
	data   []byte
	pos    int
	acc    uint64
	n      int // below zero by the bits that were read behind a marker
	marker byte
	ended  bool // there were no more data, and no marker
}

// fill makes n 48 or more, if neither a marker nor the end is near.
func (b *bits) fill() {
	if b.pos+8 <= len(b.data) && b.n >= 0 {
		w := binary.BigEndian.Uint64(b.data[b.pos:])
		if !hasFF(w) && b.marker == 0 {
			b.acc |= w >> b.n
			b.pos += (63 - b.n) >> 3
			b.n |= 56
			return
		}
	}
	b.fillSlowly()
}

// hasFF tells whether one of the bytes is 0xff.
func hasFF(w uint64) bool { return w&0x8080808080808080&(^w-0x0101010101010101) != 0 }

func (b *bits) fillSlowly() {
	b.acc &= ^uint64(0) << (64 - max(b.n, 0)) // fill leaves others below
	for b.n <= 56 {
		v, ok := b.next()
		if !ok {
			return
		}
		b.acc |= uint64(v) << (56 - b.n)
		b.n += 8
	}
}

// next is the next byte, or zero and not ok at a marker or the end.
func (b *bits) next() (v uint8, ok bool) {
	if b.marker != 0 {
		return 0, false
	}
	if b.pos < len(b.data) && b.data[b.pos] != 0xff {
		b.pos++
		return b.data[b.pos-1], true
	}
	for b.pos < len(b.data) {
		v := b.data[b.pos]
		b.pos++
		switch v {
		case 0xff: // fill bytes, or what makes a marker of the next
		case 0:
			return 0xff, true
		default:
			b.marker = v
			return 0, false
		}
	}
	b.ended = true
	return 0, false
}

// drop forgets the bits that were taken from the data and not used.
func (b *bits) drop() { b.acc, b.n = 0, 0 }

// take returns the next count bits, 16 at most. The caller has filled.
func (b *bits) take(count uint) int32 {
	v := int32(b.acc >> 1 >> (63 - count))
	b.acc <<= count
	b.n -= int(count)
	return v
}

// nextMarker is the marker that stopped fill or the next one. It skips other bytes.
func (b *bits) nextMarker() (byte, error) {
	b.drop()
	if m := b.marker; m != 0 {
		b.marker = 0
		return m, nil
	}
	for b.pos < len(b.data) {
		v := b.data[b.pos]
		b.pos++
		if v != 0xff {
			continue
		}
		for v == 0xff && b.pos < len(b.data) {
			v = b.data[b.pos]
			b.pos++
		}
		if v != 0 && v != 0xff {
			return v, nil
		}
	}
	return 0, io.ErrUnexpectedEOF
}

// segment is the length of the segment at the reader and what follows it. One that is
// shorter than its own length is empty, as in libjpeg.
func (b *bits) segment() (length int, body []byte, err error) {
	if b.pos+2 > len(b.data) {
		return 0, nil, io.ErrUnexpectedEOF
	}
	length = int(b.data[b.pos])<<8 | int(b.data[b.pos+1])
	b.pos += 2
	n := max(length-2, 0)
	if b.pos+n > len(b.data) {
		return 0, nil, io.ErrUnexpectedEOF
	}
	body = b.data[b.pos:][:n]
	b.pos += n
	return length, body, nil
}
