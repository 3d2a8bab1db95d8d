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
	set := columns(0)
	for rest := b.set &^ 1; rest != 0; rest &= rest - 1 {
		at := natural[bits64.TrailingZeros64(rest)&63] & 63
		dst[at] = int16(int32(b.block[at]) * int32(quant[at]))
		set |= columnOf[at]
	}
	return set
}

// natural is the place of each coefficient in zigzag order. Damaged data can go past
// the last.
var natural = [128]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
	63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63,
}

// columns is the set of columns that a block has coefficients in other than zero and
// DC: bit x is of the second to the fourth row, 8+x of the first, 16+x of the others.
type columns uint32

const (
	belowFirst, firstRow, lowerHalf columns = 1, 1 << 8, 1 << 16 // of column 0
	rightHalf                               = 0xf0 * (belowFirst | firstRow | lowerHalf)
)

// columnOf is the column of each coefficient, in natural order.
var columnOf = func() (of [64]columns) {
	for i := range of {
		kind := []columns{firstRow, belowFirst, belowFirst, belowFirst, lowerHalf, lowerHalf, lowerHalf, lowerHalf}[i/8]
		of[i] = kind << (i & 7)
	}
	of[0] = 0
	return of
}()

// sequential decodes a block, which was zero, in natural order. Each coefficient is
// multiplied by its step in quant.
func (b *bits) sequential(c *scanComponent, blk *block, quant *[64]uint16) columns {
	b.fillTo32()
	if size := uint(b.symbol(c.dc)); size > 0 {
		c.predicted += extend(b.take(size), size)
	}
	blk[0] = int16(c.predicted * int32(quant[0]))
	ac, set := c.ac, columns(0)
	acc, n := b.acc, b.n // in registers
	for k := 1; k < 64; k++ {
		if n < 32 {
			b.acc, b.n = acc, n
			b.fill()
			acc, n = b.acc, b.n
		}
		var value int32
		if e := ac.whole[acc>>(64-lookBits)]; e != 0 {
			acc <<= e & 31
			n -= int(e & 31)
			k += int(e >> 8 & 15)
			value = e >> 16
		} else {
			b.acc, b.n = acc, n
			s := b.symbol(ac)
			size := uint(s & 15)
			value = extend(b.take(size), size)
			acc, n = b.acc, b.n
			k += int(s >> 4)
			if size == 0 {
				if s == 0xf0 {
					continue
				}
				break
			}
		}
		at := natural[k&127] & 63
		blk[at] = int16(value * int32(quant[at]))
		set |= columnOf[at]
	}
	b.acc, b.n = acc, n
	return set
}
