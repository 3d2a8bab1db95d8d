package preprocess

import (
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

// fax decodes the rows of CCITT T.4 and T.6 images; x/image/ccitt has neither
// two-dimensional T.4 nor T.4 without end-of-line codes.
type fax struct {
	data   []byte
	bit    int // of data, the next
	width  int
	coding int   // value of Compression
	mixed  bool  // T.4: a bit tells whether a row is one-dimensional
	row    []int // columns where the colour changes, first from white to black
	above  []int // those of the row above
}

// newFax decodes the rows of a strip or tile.
func (f *tiffFile) newFax(chunk []byte) rowReader {
	const twoDimensional = 1 // of T4Options
	x := &fax{data: chunk, width: f.chunkW, coding: f.compression}
	x.mixed = x.coding == tiffGroup3 && f.int(tagT4Options, 0)&twoDimensional != 0
	return x.next
}

// next decodes a row into bits; 1 is black.
func (f *fax) next(row []byte) error {
	f.above, f.row = f.row, f.above[:0]
	decode := f.decode1D
	if f.coding == tiffGroup3 {
		f.skipEndOfLine()
	}
	if f.coding == tiffGroup4 || f.mixed && f.peek(1) == 0 {
		decode = f.decode2D
	}
	if f.mixed {
		f.bit++
	}
	if err := decode(); err != nil {
		return err
	}
	if f.bit > 8*len(f.data) {
		return io.ErrUnexpectedEOF
	}
	if f.coding == tiffRLE {
		f.bit = ceilDiv(f.bit, 8) * 8
	}
	clear(row)
	for i := 0; i < len(f.row); i += 2 {
		blacken(row, f.row[i], f.change(f.row, i+1))
	}
	return nil
}

// change returns the i-th change of a row, its end where there is none.
func (f *fax) change(row []int, i int) int {
	if i < len(row) {
		return row[i]
	}
	return f.width
}

// add puts a change into the row. Runs of no pixels do not make it endless.
func (f *fax) add(at int) error {
	if at > f.width || len(f.row) > 2*f.width+2 {
		return f.corrupt("a run past the end of its row")
	}
	f.row = append(f.row, at)
	return nil
}

func blacken(row []byte, from, to int) {
	for ; from < to && from%8 != 0; from++ {
		row[from/8] |= 0x80 >> (from % 8)
	}
	for ; from+8 <= to; from += 8 {
		row[from/8] = 0xff
	}
	for ; from < to; from++ {
		row[from/8] |= 0x80 >> (from % 8)
	}
}

// peek returns the next n bits, at most 24, and zeros past the end.
func (f *fax) peek(n int) uint32 {
	var four [4]byte
	if at := f.bit / 8; at < len(f.data) {
		copy(four[:], f.data[at:])
	}
	return binary.BigEndian.Uint32(four[:]) << (f.bit % 8) >> (32 - n)
}

// skipEndOfLine skips eleven zeros or more and a one, if they come next.
func (f *fax) skipEndOfLine() {
	if f.peek(11) != 0 {
		return
	}
	for f.bit < 8*len(f.data) && f.peek(1) == 0 {
		f.bit++
	}
	f.bit++
}

func (f *fax) corrupt(what string) error {
	if f.bit+faxLongest > 8*len(f.data) {
		return io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: %s in its CCITT data at bit %d", ErrCorrupt, what, f.bit)
}

// decode1D reads runs that are white and black by turns (T.4, 4.1).
func (f *fax) decode1D() error {
	for at := 0; at < f.width; {
		n, err := f.run(len(f.row) % 2)
		if err != nil {
			return err
		}
		at += n
		if err := f.add(at); err != nil {
			return err
		}
	}
	return nil
}

// decode2D reads changes as they differ from those of the row above (T.6, 2.2).
func (f *fax) decode2D() error {
	at, b := -1, 0 // a0, which starts before the row, and the index of b1
	for at < f.width {
		// b1 is the first change from this colour to the other right of a0.
		colour := len(f.row) % 2
		for b > 0 && f.above[b-1] > at {
			b--
		}
		for b < len(f.above) && (f.above[b] <= at || b%2 != colour) {
			b++
		}
		mode, length := f.mode()
		f.bit += length
		switch mode {
		case faxPass:
			at = f.change(f.above, b+1)
			continue
		case faxHorizontal:
			n, err := f.run(colour)
			if err != nil {
				return err
			}
			at = max(at, 0) + n
			if err := f.add(at); err != nil {
				return err
			}
			if n, err = f.run(1 - colour); err != nil {
				return err
			}
			at += n
		case faxExtension:
			return unsupportedTIFF("uncompressed mode of CCITT data")
		case faxInvalid:
			return f.corrupt("an invalid code")
		default:
			if mode+f.change(f.above, b) < max(at, 0) {
				return f.corrupt("a change before the last one")
			}
			at = mode + f.change(f.above, b)
		}
		if err := f.add(at); err != nil {
			return err
		}
	}
	return nil
}

// Modes of two-dimensional rows; one from -3 to 3 is the distance of a change
// from b1.
const (
	faxPass = iota + 4
	faxHorizontal
	faxExtension
	faxInvalid
)

// mode returns the next mode and the length of its code (T.6, table 1).
func (f *fax) mode() (mode, length int) {
	switch v := f.peek(7); {
	case v>>6 == 1:
		return 0, 1
	case v>>4 == 3:
		return 1, 3
	case v>>4 == 2:
		return -1, 3
	case v>>4 == 1:
		return faxHorizontal, 3
	case v>>3 == 1:
		return faxPass, 4
	case v>>1 == 3:
		return 2, 6
	case v>>1 == 2:
		return -2, 6
	case v == 3:
		return 3, 7
	case v == 2:
		return -3, 7
	case v == 1:
		return faxExtension, 7
	}
	return faxInvalid, 0
}

// run reads the length of a run of colour 0, white, or 1, black.
func (f *fax) run(colour int) (int, error) {
	for total := 0; total <= f.width; {
		c := faxCodes()[colour][f.peek(faxLongest)]
		if c.bits == 0 {
			return 0, f.corrupt("an invalid code")
		}
		f.bit += int(c.bits)
		total += int(c.run)
		if c.run < 64 {
			return total, nil
		}
	}
	return 0, f.corrupt("a run past the end of its row")
}

const faxLongest = 13 // bits of a code

type faxCode struct{ run, bits uint16 }

// faxCodes returns the codes of white and of black runs by the bits that start
// with them.
var faxCodes = sync.OnceValue(func() *[2][1 << faxLongest]faxCode {
	var codes [2][1 << faxLongest]faxCode
	for colour, text := range []string{faxWhite + faxBoth, faxBlack + faxBoth} {
		for i, code := range strings.Fields(text) {
			run := i
			if i > 63 {
				run = (i - 63) * 64
			}
			first, _ := strconv.ParseUint(code, 2, 16)
			spare := faxLongest - len(code)
			for tail := range 1 << spare {
				codes[colour][int(first)<<spare|tail] = faxCode{uint16(run), uint16(len(code))}
			}
		}
	}
	return &codes
})

// The codes of runs (T.4, tables 2 and 3): of 0 to 63 pixels, then of multiples
// of 64.
const (
	faxWhite = `
	00110101 000111 0111 1000 1011 1100 1110 1111 10011 10100 00111 01000 001000 000011 110100 110101 101010 101011 0100111 0001100
	0001000 0010111 0000011 0000100 0101000 0101011 0010011 0100100 0011000 00000010 00000011 00011010 00011011 00010010 00010011
	00010100 00010101 00010110 00010111 00101000 00101001 00101010 00101011 00101100 00101101 00000100 00000101 00001010 00001011
	01010010 01010011 01010100 01010101 00100100 00100101 01011000 01011001 01011010 01011011 01001010 01001011 00110010 00110011
	00110100 11011 10010 010111 0110111 00110110 00110111 01100100 01100101 01101000 01100111 011001100 011001101 011010010 011010011
	011010100 011010101 011010110 011010111 011011000 011011001 011011010 011011011 010011000 010011001 010011010 011000 010011011
`
	faxBlack = `
	0000110111 010 11 10 011 0011 0010 00011 000101 000100 0000100 0000101 0000111 00000100 00000111 000011000 0000010111 0000011000
	0000001000 00001100111 00001101000 00001101100 00000110111 00000101000 00000010111 00000011000 000011001010 000011001011
	000011001100 000011001101 000001101000 000001101001 000001101010 000001101011 000011010010 000011010011 000011010100 000011010101
	000011010110 000011010111 000001101100 000001101101 000011011010 000011011011 000001010100 000001010101 000001010110 000001010111
	000001100100 000001100101 000001010010 000001010011 000000100100 000000110111 000000111000 000000100111 000000101000 000001011000
	000001011001 000000101011 000000101100 000001011010 000001100110 000001100111 0000001111 000011001000 000011001001 000001011011
	000000110011 000000110100 000000110101 0000001101100 0000001101101 0000001001010 0000001001011 0000001001100 0000001001101
	0000001110010 0000001110011 0000001110100 0000001110101 0000001110110 0000001110111 0000001010010 0000001010011 0000001010100
	0000001010101 0000001011010 0000001011011 0000001100100 0000001100101
`
	faxBoth = `
	00000001000 00000001100 00000001101 000000010010 000000010011 000000010100 000000010101 000000010110 000000010111 000000011100
	000000011101 000000011110 000000011111
`
)
