package preprocess

import (
	"encoding/binary"
	"fmt"
	"io"
)

// ifd is an image file directory of TIFF, BigTIFF or EXIF data
// (TIFF 6.0, section 2).
type ifd struct {
	order         binary.ByteOrder
	counter, word int  // bytes of the number of entries and of an offset
	text          bool // ASCII is read, too
	entries       map[uint16]ifdEntry
}

type ifdEntry struct {
	size   int // bytes of a value
	values []byte
	signed bool
}

// ifdTypes are the types whose values are read: the integers and UNDEFINED.
var ifdTypes = map[uint16]ifdEntry{
	1: {size: 1}, 3: {size: 2}, 4: {size: 4}, 7: {size: 1}, 13: {size: 4}, 16: {size: 8}, 18: {size: 8},
	6: {size: 1, signed: true}, 8: {size: 2, signed: true}, 9: {size: 4, signed: true}, 17: {size: 8, signed: true},
}

// typeASCII is the type of texts.
const typeASCII = 2

// readIFD reads the first directory.
func readIFD(data []byte) (*ifd, error) {
	d := &ifd{order: binary.LittleEndian, counter: 2, word: 4, entries: map[uint16]ifdEntry{}}
	if len(data) > 0 && data[0] == 'M' {
		d.order = binary.BigEndian
	}
	const bigTIFF = 43
	start := 4 // where the first offset is
	if len(data) > 3 && d.order.Uint16(data[2:]) == bigTIFF {
		d.counter, d.word, start = 8, 8, 8
	}
	first := within(data, start, d.word)
	if first == nil {
		return nil, io.ErrUnexpectedEOF
	}
	return d, d.read(data, d.uint(first))
}

// read reads the directory at an offset. It keeps what it can read: entries of other types
// and those whose values are not in data are left out, the first of two with one tag counts.
func (d *ifd) read(data []byte, at int) error {
	counter, word := d.counter, d.word
	number := within(data, at, counter)
	if number == nil {
		return fmt.Errorf("%w: its directory at byte %d is past the end, the file is truncated", ErrCorrupt, uint64(at))
	}
	at += counter
	for range d.uint(number) {
		entry := within(data, at, 4+2*word)
		if entry == nil {
			break
		}
		at += len(entry)
		kind := d.order.Uint16(entry[2:])
		e, read := ifdTypes[kind]
		if d.text && kind == typeASCII {
			e, read = ifdEntry{size: 1}, true
		}
		count, value := d.uint(entry[4:4+word]), entry[4+word:]
		if !read || count <= 0 || count > len(data)/e.size {
			continue
		}
		if n := count * e.size; n <= word {
			e.values = value[:n]
		} else if e.values = within(data, d.uint(value), n); e.values == nil {
			continue
		}
		if tag := d.order.Uint16(entry); d.entries[tag].size == 0 {
			d.entries[tag] = e
		}
	}
	return nil
}

// within returns the n bytes of data at offset, or nil where it has not got them.
func within(data []byte, offset, n int) []byte {
	if offset < 0 || n < 0 || offset > len(data) || n > len(data)-offset {
		return nil
	}
	return data[offset : offset+n]
}

// uint reads an unsigned integer of all of b; it is negative where int has no
// room for it.
func (d *ifd) uint(b []byte) int {
	switch len(b) {
	case 1:
		return int(b[0])
	case 2:
		return int(d.order.Uint16(b))
	case 4:
		return int(d.order.Uint32(b))
	}
	return int(d.order.Uint64(b))
}

// count returns how many values a tag has, 0 where there is none.
func (d *ifd) count(tag uint16) int {
	e := d.entries[tag]
	return len(e.values) / max(1, e.size)
}

// value returns the i-th value of an integer tag, or 0.
func (d *ifd) value(tag uint16, i int) int {
	e := d.entries[tag]
	if i >= d.count(tag) {
		return 0
	}
	v := d.uint(e.values[i*e.size : (i+1)*e.size])
	if shift := 64 - 8*e.size; e.signed {
		v = v << shift >> shift
	}
	return v
}

// ints returns the first values of a tag, limit of them at most.
func (d *ifd) ints(tag uint16, limit int) []int {
	values := make([]int, min(limit, d.count(tag)))
	for i := range values {
		values[i] = d.value(tag, i)
	}
	return values
}

// int returns the first value of a tag, or otherwise.
func (d *ifd) int(tag uint16, otherwise int) int {
	if d.count(tag) == 0 {
		return otherwise
	}
	return d.value(tag, 0)
}
