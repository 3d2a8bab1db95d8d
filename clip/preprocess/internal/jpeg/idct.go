package jpeg

import "encoding/binary"

// The integer IDCT of Loeffler, Ligtenberg and Moschytz as in libjpeg's jidctint.c:
// constants of 13 bits, two bits more between the passes.
const (
	fix0_298631336 = 2446
	fix0_390180644 = 3196
	fix0_541196100 = 4433
	fix0_765366865 = 6270
	fix0_899976223 = 7373
	fix1_175875602 = 9633
	fix1_501321110 = 12299
	fix1_847759065 = 15137
	fix1_961570560 = 16069
	fix2_053119869 = 16819
	fix2_562915447 = 20995
	fix3_072711026 = 25172

	constBits = 13
	passBits  = 2
)

// clip is the nearest sample.
func clip(v int32) uint8 {
	if uint32(v) > 255 {
		return uint8(^v >> 31)
	}
	return uint8(v)
}

// word keeps 16 bits of a sum, as libjpeg-turbo's vectors do. Damaged files have such.
func word(v int32) int32 { return int32(int16(v)) }

// saturated is the nearest number of 16 bits.
func saturated(v int32) int32 {
	if v != word(v) {
		return v>>31 ^ 0x7fff
	}
	return v
}

// idct8 makes the samples of a block whose coefficients are in the given columns.
func idct8(blk *block, set columns, out []uint8, stride int) {
	if set&belowFirstRow == 0 {
		wrapFirstRow(blk)
	}
	inverse8(blk, set, out[:7*stride+8], stride)
}

// wrapFirstRow makes the first row small enough to be shifted in 16 bits, as
// libjpeg-turbo does where all other rows are zero.
func wrapFirstRow(blk *block) {
	for x := range 8 {
		blk[x] = blk[x] << passBits >> passBits
	}
}

// inverse8Plain is the IDCT of all columns.
func inverse8Plain(blk *block, set columns, out []uint8, stride int) {
	var work [64]int32
	width := uint(8)
	if set&rightHalf == 0 {
		width = 4
	}
	for x := range width {
		switch {
		case set>>x&(belowFirst|lowerHalf) == 0:
			v := saturated(int32(blk[x&7]) << passBits)
			for y := uint(0); y < 64; y += 8 {
				work[(x+y)&63] = v
			}
		case set>>x&lowerHalf == 0:
			upperColumn(blk, x, &work)
		default:
			fullColumn(blk, x, &work)
		}
	}
	if width == 4 {
		leftRows(&work, out, stride)
	} else {
		fullRows(&work, out, stride)
	}
}

// Rounding of the two passes.
const (
	columnShift = constBits - passBits
	columnHalf  = 1 << (columnShift - 1)
	rowShift    = constBits + passBits + 3
	rowHalf     = 1 << (rowShift - 1)
)

func fullColumn(blk *block, x uint, work *[64]int32) {
	x &= 7
	v0, v1, v2, v3 := int32(blk[x]), int32(blk[x+8]), int32(blk[x+16]), int32(blk[x+24])
	v4, v5, v6, v7 := int32(blk[x+32]), int32(blk[x+40]), int32(blk[x+48]), int32(blk[x+56])
	z1 := (v2 + v6) * fix0_541196100
	a, b := z1+v2*fix0_765366865, z1-v6*fix1_847759065
	c, d := word(v0+v4)<<constBits+columnHalf, word(v0-v4)<<constBits+columnHalf
	s73, s51 := word(v7+v3), word(v5+v1)
	z5 := (s73 + s51) * fix1_175875602
	z3, z4 := z5-s73*fix1_961570560, z5-s51*fix0_390180644
	z1, z2 := (v7+v1)*fix0_899976223, (v5+v3)*fix2_562915447
	o0, o1 := v7*fix0_298631336-z1+z3, v5*fix2_053119869-z2+z4
	o2, o3 := v3*fix3_072711026-z2+z3, v1*fix1_501321110-z1+z4
	work[x], work[x+56] = saturated((c+a+o3)>>columnShift), saturated((c+a-o3)>>columnShift)
	work[x+8], work[x+48] = saturated((d+b+o2)>>columnShift), saturated((d+b-o2)>>columnShift)
	work[x+16], work[x+40] = saturated((d-b+o1)>>columnShift), saturated((d-b-o1)>>columnShift)
	work[x+24], work[x+32] = saturated((c-a+o0)>>columnShift), saturated((c-a-o0)>>columnShift)
}

// upperColumn is fullColumn of a lower half of zeros.
func upperColumn(blk *block, x uint, work *[64]int32) {
	x &= 7
	v0, v1, v2, v3 := int32(blk[x]), int32(blk[x+8]), int32(blk[x+16]), int32(blk[x+24])
	a, b, c := v2*evenA, v2*evenB, v0<<constBits+columnHalf
	o0, o1 := v1*oddA-v3*oddB, v1*oddC-v3*oddD
	o2, o3 := v1*oddE-v3*oddF, v1*oddG+v3*oddE
	work[x], work[x+56] = saturated((c+a+o3)>>columnShift), saturated((c+a-o3)>>columnShift)
	work[x+8], work[x+48] = saturated((c+b+o2)>>columnShift), saturated((c+b-o2)>>columnShift)
	work[x+16], work[x+40] = saturated((c-b+o1)>>columnShift), saturated((c-b-o1)>>columnShift)
	work[x+24], work[x+32] = saturated((c-a+o0)>>columnShift), saturated((c-a-o0)>>columnShift)
}

// What is left of the constants where the upper four values are zero.
const (
	evenA = fix0_541196100 + fix0_765366865
	evenB = fix0_541196100
	oddA  = fix1_175875602 - fix0_899976223
	oddB  = fix1_961570560 - fix1_175875602
	oddC  = fix1_175875602 - fix0_390180644
	oddD  = fix2_562915447 - fix1_175875602
	oddE  = fix1_175875602
	oddF  = fix2_562915447 + fix1_961570560 - fix3_072711026 - fix1_175875602
	oddG  = fix1_501321110 - fix0_899976223 + fix1_175875602 - fix0_390180644
)

func fullRows(work *[64]int32, out []uint8, stride int) {
	for y := 0; y < 64; y += 8 {
		v, p := (*[8]int32)(work[y:]), (*[8]uint8)(out)
		z1 := (v[2] + v[6]) * fix0_541196100
		a, b := z1+v[2]*fix0_765366865, z1-v[6]*fix1_847759065
		c, d := word(v[0]+v[4])<<constBits+rowHalf, word(v[0]-v[4])<<constBits+rowHalf
		s73, s51 := word(v[7]+v[3]), word(v[5]+v[1])
		z5 := (s73 + s51) * fix1_175875602
		z3, z4 := z5-s73*fix1_961570560, z5-s51*fix0_390180644
		z1, z2 := (v[7]+v[1])*fix0_899976223, (v[5]+v[3])*fix2_562915447
		o0, o1 := v[7]*fix0_298631336-z1+z3, v[5]*fix2_053119869-z2+z4
		o2, o3 := v[3]*fix3_072711026-z2+z3, v[1]*fix1_501321110-z1+z4
		p[0], p[7] = clip((c+a+o3)>>rowShift+128), clip((c+a-o3)>>rowShift+128)
		p[1], p[6] = clip((d+b+o2)>>rowShift+128), clip((d+b-o2)>>rowShift+128)
		p[2], p[5] = clip((d-b+o1)>>rowShift+128), clip((d-b-o1)>>rowShift+128)
		p[3], p[4] = clip((c-a+o0)>>rowShift+128), clip((c-a-o0)>>rowShift+128)
		if y < 56 {
			out = out[stride:]
		}
	}
}

// leftRows is fullRows of a right half of zeros.
func leftRows(work *[64]int32, out []uint8, stride int) {
	for y := 0; y < 64; y += 8 {
		v, p := (*[8]int32)(work[y:]), (*[8]uint8)(out)
		a, b, c := v[2]*evenA, v[2]*evenB, v[0]<<constBits+rowHalf
		o0, o1 := v[1]*oddA-v[3]*oddB, v[1]*oddC-v[3]*oddD
		o2, o3 := v[1]*oddE-v[3]*oddF, v[1]*oddG+v[3]*oddE
		p[0], p[7] = clip((c+a+o3)>>rowShift+128), clip((c+a-o3)>>rowShift+128)
		p[1], p[6] = clip((c+b+o2)>>rowShift+128), clip((c+b-o2)>>rowShift+128)
		p[2], p[5] = clip((c-b+o1)>>rowShift+128), clip((c-b-o1)>>rowShift+128)
		p[3], p[4] = clip((c-a+o0)>>rowShift+128), clip((c-a-o0)>>rowShift+128)
		if y < 56 {
			out = out[stride:]
		}
	}
}

// average is the samples of a block that has only DC.
func average(dc int16, size int) uint8 {
	v := int32(dc << passBits)
	switch size {
	case 2: // of 17 bits in libjpeg-turbo, where others have 16
		v = int32(dc) << (15 + passBits) >> 15
	case 1: // of 10 bits when it is rounded, as in libjpeg's table of samples
		return clip((int32(dc)+4)<<19>>22 + 128)
	}
	return clip((v+1<<(passBits+2))>>(passBits+3) + 128)
}

// flat makes size x size equal samples.
func flat(v uint8, size int, out []uint8, stride int) {
	eight := uint64(v) * 0x0101010101010101
	for y := range size {
		switch row := out[y*stride:]; size {
		case 8:
			binary.LittleEndian.PutUint64(row, eight)
		case 4:
			binary.LittleEndian.PutUint32(row, uint32(eight))
		case 1:
			row[0] = v
		default:
			binary.LittleEndian.PutUint16(row, uint16(eight))
		}
	}
}
