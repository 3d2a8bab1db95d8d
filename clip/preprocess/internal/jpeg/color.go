package jpeg

import "encoding/binary"

// A packed pixel has green in bits 0 to 25, of which 16 are a fraction, blue from bit 26
// and red from bit 38. Each has 256 more than its value.
const (
	greenAt, blueAt, redAt = 16, 26, 38

	grayStep = 1<<greenAt | 1<<blueAt | 1<<redAt // what 1 of Y adds
	inRange  = 256 * grayStep                    // none of 0 to 255 has other bits among
	bitsOver = 768 * grayStep
)

// What Cb and Cr add, by libjpeg's 16-bit fixed point (jdcolor.c).
var addedByCb, addedByCr [256]uint64

func init() {
	const half = 1 << 15
	for i := range addedByCb {
		c := int64(i) - 128
		addedByCb[i] = uint64((116130*c+half)>>16<<blueAt - 22554*c + half + inRange) // 1.77200, 0.34414
		addedByCr[i] = uint64((91881*c+half)>>16<<redAt - 46802*c)                    // 1.40200, 0.71414
	}
}

// toRGBPlain makes RGB pixels of samples.
func toRGBPlain(dst, y, cb, cr []uint8) {
	cb, cr = cb[:len(y)], cr[:len(y)]
	i := 0
	for ; i+4 <= len(y); i += 4 {
		l, b, r, p := (*[4]uint8)(y[i:]), (*[4]uint8)(cb[i:]), (*[4]uint8)(cr[i:]), (*[12]uint8)(dst[3*i:])
		v0, v1, v2, v3 := packed(l[0], b[0], r[0]), packed(l[1], b[1], r[1]), packed(l[2], b[2], r[2]), packed(l[3], b[3], r[3])
		if ((v0^inRange)|(v1^inRange)|(v2^inRange)|(v3^inRange))&bitsOver != 0 {
			v0, v1, v2, v3 = clipped(v0), clipped(v1), clipped(v2), clipped(v3)
		}
		v2 = rgb(v2)
		binary.LittleEndian.PutUint64(p[:8], rgb(v0)|rgb(v1)<<24|v2<<48)
		binary.LittleEndian.PutUint32(p[8:], uint32(v2>>16|rgb(v3)<<8))
	}
	for ; i < len(y); i++ {
		p := rgb(clipped(packed(y[i], cb[i], cr[i])))
		dst[3*i], dst[3*i+1], dst[3*i+2] = uint8(p), uint8(p>>8), uint8(p>>16)
	}
}

func packed(y, cb, cr uint8) uint64 { return uint64(y)*grayStep + addedByCb[cb] + addedByCr[cr] }

// rgb is a packed pixel in three bytes, red in the low one.
func rgb(v uint64) uint64 {
	return v>>redAt&255 | v>>(greenAt-8)&0xff00 | v>>(blueAt-16)&0xff0000
}

// clipped makes a packed pixel one of 0 to 255.
func clipped(v uint64) uint64 {
	if (v^inRange)&bitsOver == 0 {
		return v
	}
	channel := func(at uint) uint64 { return uint64(clip(int32(v>>at&1023)-256)) << at }
	return channel(redAt) | channel(greenAt) | channel(blueAt)
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
			v := rgb(clipped(packed(p[0], p[1], p[2])))
			p[0], p[1], p[2] = ^uint8(v), ^uint8(v>>8), ^uint8(v>>16)
		}
	}
}
