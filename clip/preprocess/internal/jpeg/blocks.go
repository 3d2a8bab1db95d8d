package jpeg

import bits64 "math/bits"

// block is the coefficients of 8x8 samples, in natural order.
type block [64]int16

// kept is a block between scans.
type kept struct {
	block
	set uint64 // the coefficients that may be other than zero, in zigzag order
}

// put sets a coefficient, by its index in zigzag order. Damaged data can go past the last.
func (b *kept) put(k int, v int16) {
	k = min(k, 63)
	b.block[natural[k&63]&63] = v
	b.set |= 1 << (k & 63)
	if v == 0 {
		b.set &^= 1 << (k & 63)
	}
}

// dequantized multiplies the coefficients by their steps into dst, which was zero.
func (b *kept) dequantized(dst *block, quant *[64]uint16) columns {
	dst[0] = int16(int32(b.block[0]) * int32(quant[0]))
	set := uint32(0)
	for rest := b.set &^ 1; rest != 0; rest &= rest - 1 {
		place := places[bits64.TrailingZeros64(rest)&63]
		dst[place&63] = int16(int32(b.block[place&63]) * int32(quant[place&63]))
		set |= place
	}
	return columns(set >> 8)
}

// natural is the place of each coefficient in zigzag order.
var natural = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

// columns is the set of columns that a block has coefficients in other than zero and
// DC: bit x is of the second to the fourth row, 8+x of the first, 16+x of the others.
type columns uint32

const (
	belowFirst, firstRow, lowerHalf columns = 1, 1 << 8, 1 << 16 // of column 0
	rightHalf                               = 0xf0 * (belowFirst | firstRow | lowerHalf)
	belowFirstRow                           = 0xff * (belowFirst | lowerHalf)
)

// places has for each coefficient in zigzag order its place in the low byte and its
// columns above. Damaged data can go past the last.
var places = func() (of [128]uint32) {
	for k := range of {
		at := natural[min(k, 63)]
		kind := [8]columns{firstRow, belowFirst, belowFirst, belowFirst, lowerHalf, lowerHalf, lowerHalf, lowerHalf}[at/8]
		of[k] = uint32(at) | uint32(kind)<<(8+at&7)
	}
	return of
}()

// sequential decodes a block, which was zero, in natural order. Each coefficient is
// multiplied by its step in quant.
func (b *bits) sequential(c *scanComponent, blk *block, quant *[64]uint16) columns {
	blk[0] = int16(b.dc(c) * int32(quant[0]))
	ac, set := c.ac, uint32(0)
	acc, n := b.acc, b.n // in registers
	for k := 1; k < 64; k++ {
		if n < 32 {
			b.acc, b.n = acc, n
			b.fill()
			acc, n = b.acc, b.n
		}
		e := ac.whole[acc>>(64-lookBits)]
		if e == 0 {
			b.acc, b.n = acc, n
			e = b.longCoefficient(ac)
			acc, n = b.acc, b.n
			if e == sixteenZeros {
				k += 15
				continue
			}
		} else {
			acc <<= e & 31
			n -= int(e & 31)
		}
		k += int(e >> 8 & 255)
		if k >= blockEnd {
			break
		}
		place := places[k&127]
		blk[place&63] = int16(e >> 16 * int32(quant[place&63]))
		set |= place
	}
	b.acc, b.n = acc, n
	return columns(set >> 8)
}

// dc decodes a block's DC coefficient.
func (b *bits) dc(c *scanComponent) int32 {
	b.fillTo32()
	if size := uint(b.symbol(c.dc)); size > 0 {
		c.predicted += extend(b.take(size), size)
	}
	return c.predicted
}

// sixteenZeros are fifteen and a coefficient of zero.
const sixteenZeros = 15 << 8

// longCoefficient is an entry of whole for the next bits, which are too many for the
// table, without a length.
func (b *bits) longCoefficient(ac *huffman) int32 {
	s := b.symbol(ac)
	size := uint(s & 15)
	if size == 0 && s != 0xf0 {
		return blockEnd << 8
	}
	return extend(b.take(size), size)<<16 | int32(s>>4)<<8
}
