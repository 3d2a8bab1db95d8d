package preprocess

import (
	"encoding/binary"
	"fmt"
)

// pngSlack is how many bytes there must be behind a row.
const pngSlack = 8

// pngUnfilter undoes the filter of a row (PNG specification, 9.2); pixels are
// bpp bytes apart, or 1 if they are smaller.
func pngUnfilter(filter uint8, row, above []uint8, bpp int) error {
	above = above[:len(row)]
	switch filter {
	case 0:
	case 1:
		addLeft(row, bpp)
	case 2: // up
		le := binary.LittleEndian
		for ; len(row) >= 8; row, above = row[8:], above[8:] {
			le.PutUint64(row, addBytes(le.Uint64(row), le.Uint64(above)))
		}
		for i, v := range above {
			row[i] += v
		}
	case 3:
		pngAverage(row, above, bpp)
	case 4:
		switch {
		case bpp%3 == 0:
			for i := 0; i < bpp; i += 3 {
				pngPaeth3(row[i:], above[i:], bpp)
			}
		case bpp%2 == 0:
			for i := 0; i < bpp; i += 2 {
				pngPaeth2(row[i:], above[i:], bpp)
			}
		default:
			pngPaeth1(row, above)
		}
	default:
		return fmt.Errorf("%w: bad row filter %d", ErrCorrupt, filter)
	}
	return nil
}

// addBytes adds the eight bytes of each.
func addBytes(a, b uint64) uint64 {
	const high = 0x8080_8080_8080_8080
	return (a&^high + b&^high) ^ (a^b)&high
}

// meanBytes is half the sum of each of eight bytes, rounded down.
func meanBytes(a, b uint64) uint64 {
	return a&b + (a^b)&0xfefe_fefe_fefe_fefe>>1
}

// pngPixel reads the bytes of a pixel and others.
func pngPixel(p []uint8) uint64 { return binary.LittleEndian.Uint64(p[:pngSlack:pngSlack]) }

// setPNGPixel writes the bpp lowest bytes of v.
func setPNGPixel(p []uint8, v uint64, bpp int) {
	le := binary.LittleEndian
	switch bpp {
	case 1:
		p[0] = uint8(v)
	case 2:
		le.PutUint16(p, uint16(v))
	case 3:
		le.PutUint16(p, uint16(v))
		p[2] = uint8(v >> 16)
	case 4:
		le.PutUint32(p, uint32(v))
	case 6:
		le.PutUint32(p, uint32(v))
		le.PutUint16(p[4:], uint16(v>>32))
	case 8:
		le.PutUint64(p, v)
	}
}

// addLeft adds to each pixel of bpp bytes the one before it.
func addLeft(row []uint8, bpp int) {
	i, left := 0, uint64(0)
	if bpp <= pngSlack && bpp != 5 && bpp != 7 {
		for ; i+pngSlack <= len(row); i += bpp {
			left = addBytes(pngPixel(row[i:]), left)
			setPNGPixel(row[i:], left, bpp)
		}
	}
	for i = max(i, bpp); i < len(row); i++ {
		row[i] += row[i-bpp]
	}
}

func pngAverage(row, above []uint8, bpp int) {
	var left uint64
	n := len(row)
	row, above = row[:n+pngSlack], above[:n+pngSlack]
	for i := 0; i < n; i += bpp {
		left = addBytes(pngPixel(row[i:]), meanBytes(left, pngPixel(above[i:])))
		setPNGPixel(row[i:], left, bpp)
	}
}

// paeth is the Paeth predictor.
func paeth(left, up, corner int) int {
	// Distances of left + up - corner to the three, of which the nearest counts.
	dLeft, dUp := up-corner, left-corner
	dCorner := dLeft + dUp
	dLeft, dUp, dCorner = max(dLeft, -dLeft), max(dUp, -dUp), max(dCorner, -dCorner)
	if dUp <= dCorner {
		corner = up
	}
	if dLeft <= min(dUp, dCorner) {
		corner = left
	}
	return corner
}

// pngPaeth1 undoes the Paeth filter of pixels of one byte; pngPaeth2 and pngPaeth3 do
// that of two and three bytes of each pixel. A processor works on these at once.
func pngPaeth1(row, above []uint8) {
	var left, corner int
	for i, up := range above[:len(row)] {
		left = (paeth(left, int(up), corner) + int(row[i])) & 0xff
		row[i], corner = uint8(left), int(up)
	}
}

func pngPaeth2(row, above []uint8, bpp int) {
	var left0, left1, corner0, corner1 int
	for i := 0; i < len(row); i += bpp {
		px, up := row[i:i+2:i+2], above[i:i+2:i+2]
		left0 = (paeth(left0, int(up[0]), corner0) + int(px[0])) & 0xff
		left1 = (paeth(left1, int(up[1]), corner1) + int(px[1])) & 0xff
		px[0], px[1] = uint8(left0), uint8(left1)
		corner0, corner1 = int(up[0]), int(up[1])
	}
}

func pngPaeth3(row, above []uint8, bpp int) {
	var left0, left1, left2, corner0, corner1, corner2 int
	for i := 0; i < len(row); i += bpp {
		px, up := row[i:i+3:i+3], above[i:i+3:i+3]
		left0 = (paeth(left0, int(up[0]), corner0) + int(px[0])) & 0xff
		left1 = (paeth(left1, int(up[1]), corner1) + int(px[1])) & 0xff
		left2 = (paeth(left2, int(up[2]), corner2) + int(px[2])) & 0xff
		px[0], px[1], px[2] = uint8(left0), uint8(left1), uint8(left2)
		corner0, corner1, corner2 = int(up[0]), int(up[1]), int(up[2])
	}
}
