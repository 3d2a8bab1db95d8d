package jpeg

import "encoding/binary"

// What chroma adds, by libjpeg's 16-bit fixed-point tables (jdcolor.c).
var crR, cbB, crG, cbG [256]int32

// limits clips a sum and limitOffset.
var limits [1024]uint8

const limitOffset = 384

func init() {
	const half = 1 << 15
	for i := range int32(256) {
		c := i - 128
		crR[i] = (91881*c+half)>>16 + limitOffset  // 1.40200
		cbB[i] = (116130*c+half)>>16 + limitOffset // 1.77200
		crG[i] = -46802 * c                        // 0.71414
		cbG[i] = -22554*c + half + limitOffset<<16 // 0.34414
	}
	for i := range limits {
		limits[i] = clip(int32(i) - limitOffset)
	}
}

func toRGB(dst, y, cb, cr []uint8) {
	cb, cr = cb[:len(y)], cr[:len(y)]
	i := 0
	for ; i+4 <= len(y); i += 4 {
		l, b, r, p := (*[4]uint8)(y[i:]), (*[4]uint8)(cb[i:]), (*[4]uint8)(cr[i:]), (*[12]uint8)(dst[3*i:])
		p0, p1 := rgb(l[0], b[0], r[0]), rgb(l[1], b[1], r[1])
		p2, p3 := rgb(l[2], b[2], r[2]), rgb(l[3], b[3], r[3])
		binary.LittleEndian.PutUint64(p[:8], p0|p1<<24|p2<<48)
		binary.LittleEndian.PutUint32(p[8:], uint32(p2>>16|p3<<8))
	}
	for ; i < len(y); i++ {
		p := rgb(y[i], cb[i], cr[i])
		dst[3*i], dst[3*i+1], dst[3*i+2] = uint8(p), uint8(p>>8), uint8(p>>16)
	}
}

// rgb is a pixel, red in the low byte.
func rgb(y, cb, cr uint8) uint64 {
	l := int32(y)
	return uint64(limits[(l+crR[cr])&1023]) | uint64(limits[(l+(cbG[cb]+crG[cr])>>16)&1023])<<8 | uint64(limits[(l+cbB[cb])&1023])<<16
}

func interleave3(dst, a, b, c []uint8) {
	for i := range a {
		dst[3*i], dst[3*i+1], dst[3*i+2] = a[i], b[i], c[i]
	}
}

// interleave4 makes CMYK; the first three of YCCK are inverted RGB.
func interleave4(dst []uint8, rows *[4][]uint8, ycc bool) {
	for i := range rows[0] {
		p := (*[4]uint8)(dst[4*i:])
		p[0], p[1], p[2], p[3] = rows[0][i], rows[1][i], rows[2][i], rows[3][i]
		if ycc {
			v := rgb(p[0], p[1], p[2])
			p[0], p[1], p[2] = ^uint8(v), ^uint8(v>>8), ^uint8(v>>16)
		}
	}
}
