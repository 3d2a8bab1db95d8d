// Package vp8l decodes lossless WebP (RFC 9649, section 3) a row after the other. It
// keeps the pixels that others may be copied from, which are the last 2^20, and four
// bytes for each tile of three kinds. Tiles have 4x4 pixels or more, so that those are
// less than a byte a pixel.
package vp8l

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
)

// ErrData says that the data are bad.
var ErrData = errors.New("bad VP8L data")

const (
	literals = 256
	lengths  = 24
	// window is how far back a pixel is copied from at most, in pixels.
	window = 1 << 20
	// longest is how many pixels are copied at once.
	longest = 4096
	// maxGroups is how many groups of codes an image may have; libwebp writes fewer.
	maxGroups = 2600
)

// Decode decodes what follows the header of an image of w x h pixels, which is five
// bytes long, and hands its rows to emit from top to bottom. A pixel is 0xAARRGGBB.
// The error is ErrData, or io.ErrUnexpectedEOF where data are cut.
func Decode(data []byte, w, h int, emit func(y int, row []uint32)) error {
	d := &decoder{bits: bits{data: data}, w: w, h: h}
	if err := d.readTransforms(); err != nil {
		return err
	}
	row := make([]uint32, w)
	_, err := d.image(d.packedW, h, func(y int, px []uint32) {
		copy(row, px)
		for i := len(d.transforms) - 1; i >= 0; i-- {
			d.transforms[i].undo(row, y)
		}
		emit(y, row)
	})
	return err
}

type decoder struct {
	bits
	w, h       int
	packedW    int // w, or less where a pixel stands for several
	transforms []transform
}

// bits reads data from the lowest bit of each byte on. Behind the data are zeros.
type bits struct {
	data []byte
	pos  int    // bytes in next, or that would be
	next uint64 // bits
	n    uint   // how many they are
}

// fill makes 56 bits available.
func (b *bits) fill() {
	if len(b.data)-b.pos >= 8 {
		b.next |= binary.LittleEndian.Uint64(b.data[b.pos:]) << (b.n & 63)
		b.pos += int(63-b.n) >> 3
		b.n |= 56
		return
	}
	for b.n < 56 {
		if b.pos < len(b.data) {
			b.next |= uint64(b.data[b.pos]) << b.n
		}
		b.pos++
		b.n += 8
	}
}

// read returns the next n bits, 32 at most.
func (b *bits) read(n uint) int {
	if b.n < n {
		b.fill()
	}
	v := int(b.next & (1<<n - 1))
	b.next >>= n
	b.n -= n
	return v
}

// check tells whether data were read that are not there.
func (b *bits) check() error {
	if 8*b.pos-int(b.n) > 8*len(b.data) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// pixels are the last ones of an image in the order of its rows.
type pixels struct {
	w, total int
	buf      []uint32
	p        int // how many of buf there are
	gone     int // how many were before them
	y, row   int // of the row that is being decoded: its number and place in buf
	cache    []uint32
	shift    uint // of a hash
	cached   int  // how many of buf are in cache
	emit     func(y int, row []uint32)
}

// buffers are of images whose rows are handed out. No pixel is read before it is written.
var buffers = sync.Pool{New: func() any { return new([]uint32) }}

// image decodes an image. The file's own is handed to emit; one that tells of tiles or
// has a palette is returned, and emit is nil.
func (d *decoder) image(w, h int, emit func(y int, row []uint32)) ([]uint32, error) {
	px := &pixels{w: w, total: w * h, emit: emit}
	cacheBits := 0
	if d.read(1) != 0 {
		if cacheBits = d.read(4); cacheBits < 1 || cacheBits > 11 {
			return nil, ErrData
		}
		px.cache, px.shift = make([]uint32, 1<<cacheBits), uint(32-cacheBits)
	}
	g, err := d.readGroups(w, h, emit != nil, len(px.cache))
	if err != nil {
		return nil, err
	}
	if emit == nil {
		px.buf = make([]uint32, px.total)
	} else {
		buf := buffers.Get().(*[]uint32)
		defer buffers.Put(buf)
		*buf = slices.Grow((*buf)[:0], min(px.total, 2*window))
		px.buf = (*buf)[:min(px.total, 2*window)]
	}
	for px.gone+px.p < px.total {
		if err := d.pixel(px, g); err != nil {
			return nil, err
		}
		if px.p-px.row >= w {
			if err := d.check(); err != nil {
				return nil, err
			}
			px.endRows()
		}
	}
	if err := d.check(); err != nil || emit != nil {
		return nil, err
	}
	return px.buf, nil
}

// endRows hands out the rows that are complete, and makes room.
func (px *pixels) endRows() {
	for px.p-px.row >= px.w {
		if px.emit != nil {
			px.emit(px.y, px.buf[px.row:px.row+px.w])
		}
		px.row += px.w
		px.y++
	}
	if room := len(px.buf) - px.p; room < px.w+longest && px.gone+len(px.buf) < px.total {
		px.remember()
		n := px.p - window
		copy(px.buf, px.buf[n:px.p])
		px.p, px.row, px.cached, px.gone = window, px.row-n, px.cached-n, px.gone+n
	}
}

const hashFactor = 0x1e35a7bd

// remember puts the pixels that are not there yet in the cache.
func (px *pixels) remember() {
	if px.cache != nil {
		for _, v := range px.buf[px.cached:px.p] {
			px.cache[v*hashFactor>>px.shift] = v
		}
	}
	px.cached = px.p
}

// pixel decodes the pixels up to the end of a row, or up to the end of a copy that goes
// past it.
func (d *decoder) pixel(px *pixels, g *groups) error {
	c := g.at(px.p-px.row, px.y)
	end := px.row + px.w
	for px.p < end {
		if g.mask != 0 && (px.p-px.row)&g.mask == 0 {
			c = g.at(px.p-px.row, px.y)
		}
		d.fill()
		green := c[0].symbol(&d.bits)
		switch {
		case green < literals:
			v := green<<8 | c[1].symbol(&d.bits)<<16
			d.fill()
			px.buf[px.p] = v | c[2].symbol(&d.bits) | c[3].symbol(&d.bits)<<24
			px.p++
		case green < literals+lengths:
			length := d.number(green - literals)
			d.fill()
			code := d.number(c[4].symbol(&d.bits))
			from := px.p - distance(code, px.w)
			if from < 0 || length > px.total-px.gone-px.p {
				return ErrData
			}
			for i := range length {
				px.buf[px.p+i] = px.buf[from+i]
			}
			px.p += length
			if g.mask != 0 && px.p < end {
				c = g.at(px.p-px.row, px.y)
			}
		default:
			px.remember()
			px.buf[px.p] = px.cache[green-literals-lengths]
			px.p++
		}
	}
	return nil
}

// number returns a length or a distance by its prefix.
func (b *bits) number(prefix uint32) int {
	if prefix < 4 {
		return int(prefix) + 1
	}
	extra := uint(prefix-2) >> 1
	return int(2+prefix&1)<<extra + b.read(extra) + 1
}

// near are the distances of codes up to 120: eight less the columns to the left, and
// in the upper half byte the rows above.
const near = "\x18\x07\x17\x19\x28\x06\x27\x29\x16\x1a\x26\x2a\x38\x05\x37\x39\x15\x1b\x36\x3a\x25\x2b\x48\x04\x47\x49\x14\x1c\x35\x3b" +
	"\x46\x4a\x24\x2c\x58\x45\x4b\x34\x3c\x03\x57\x59\x13\x1d\x56\x5a\x23\x2d\x44\x4c\x55\x5b\x33\x3d\x68\x02\x67\x69\x12\x1e" +
	"\x66\x6a\x22\x2e\x54\x5c\x43\x4d\x65\x6b\x32\x3e\x78\x01\x77\x79\x53\x5d\x11\x1f\x64\x6c\x42\x4e\x76\x7a\x21\x2f\x75\x7b" +
	"\x31\x3f\x63\x6d\x52\x5e\x00\x74\x7c\x41\x4f\x10\x20\x62\x6e\x30\x73\x7d\x51\x5f\x40\x72\x7e\x61\x6f\x50\x71\x7f\x60\x70"

func distance(code, w int) int {
	if code > len(near) {
		return code - len(near)
	}
	v := int(near[code-1])
	return max(1, v>>4*w+8-v&15)
}
