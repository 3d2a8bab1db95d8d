package jpeg

// What chroma adds, by libjpeg's 16-bit fixed-point tables (jdcolor.c).
var crR, cbB, crG, cbG [256]int32

func init() {
	const half = 1 << 15
	for i := range int32(256) {
		c := i - 128
		crR[i] = (91881*c + half) >> 16  // 1.40200
		cbB[i] = (116130*c + half) >> 16 // 1.77200
		crG[i] = -46802 * c              // 0.71414
		cbG[i] = -22554*c + half         // 0.34414
	}
}

func toRGB(dst, y, cb, cr []uint8) {
	cb, cr = cb[:len(y)], cr[:len(y)]
	for i, v := range y {
		l, b, r := int32(v), cb[i], cr[i]
		p := (*[3]uint8)(dst)
		p[0] = clip(l + crR[r])
		p[1] = clip(l + (cbG[b]+crG[r])>>16)
		p[2] = clip(l + cbB[b])
		dst = dst[3:]
	}
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
			l, b, r := int32(p[0]), p[1], p[2]
			p[0] = 255 - clip(l+crR[r])
			p[1] = 255 - clip(l+(cbG[b]+crG[r])>>16)
			p[2] = 255 - clip(l+cbB[b])
		}
	}
}
