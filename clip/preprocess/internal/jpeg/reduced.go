package jpeg

// IDCTs to fewer samples, as in libjpeg's jidctred.c.
const (
	fix0_211164243 = 1730
	fix0_509795579 = 4176
	fix0_601344887 = 4926
	fix0_720959822 = 5906
	fix0_850430095 = 6967
	fix1_061594337 = 8697
	fix1_272758580 = 10426
	fix1_451774981 = 11893
	fix2_172734803 = 17799
	fix3_624509785 = 29692
)

// lines4 is one pass to four values, at twice the scale of the constants.
func lines4(v0, v1, v2, v3, v5, v6, v7 int32) (even0, even1, odd0, odd1 int32) {
	a := v0 << (constBits + 1)
	b := v2*fix1_847759065 - v6*fix0_765366865
	odd1 = -v7*fix0_211164243 + v5*fix1_451774981 - v3*fix2_172734803 + v1*fix1_061594337
	odd0 = -v7*fix0_509795579 - v5*fix0_601344887 + v3*fix0_899976223 + v1*fix2_562915447
	return a + b, a - b, odd0, odd1
}

// idct4 makes 4x4 samples of a block whose coefficients are in the given columns.
func idct4(blk *block, set columns, out []uint8, stride int) {
	if set&(0xff*belowFirst) == 0 && blank(blk[40:]) { // the fifth row is not used
		wrapFirstRow(blk)
	}
	inverse4(blk, out[:3*stride+4], stride)
}

func inverse4Plain(blk *block, out []uint8, stride int) {
	var work [4][8]int32
	for x := range 8 {
		if x == 4 {
			continue // the rows do not use it
		}
		e0, e1, o0, o1 := lines4(int32(blk[x]), int32(blk[x+8]), int32(blk[x+16]), int32(blk[x+24]),
			int32(blk[x+40]), int32(blk[x+48]), int32(blk[x+56]))
		const shift, half = constBits - passBits + 1, 1 << (constBits - passBits)
		work[0][x], work[3][x] = saturated((e0+o0+half)>>shift), saturated((e0-o0+half)>>shift)
		work[1][x], work[2][x] = saturated((e1+o1+half)>>shift), saturated((e1-o1+half)>>shift)
	}
	for y := range work {
		w := &work[y]
		e0, e1, o0, o1 := lines4(w[0], w[1], w[2], w[3], w[5], w[6], w[7])
		const shift, half = constBits + passBits + 3 + 1, 1 << (constBits + passBits + 3)
		p := (*[4]uint8)(out[y*stride:])
		p[0], p[3] = clip((e0+o0+half)>>shift+128), clip((e0-o0+half)>>shift+128)
		p[1], p[2] = clip((e1+o1+half)>>shift+128), clip((e1-o1+half)>>shift+128)
	}
}

// odd2 is the odd part of two values.
func odd2(v1, v3, v5, v7 int32) int32 {
	return v1*fix3_624509785 - v3*fix1_272758580 + v5*fix0_850430095 - v7*fix0_720959822
}

func blank(coefs []int16) bool {
	for _, v := range coefs {
		if v != 0 {
			return false
		}
	}
	return true
}

// idct2 makes 2x2 samples.
func idct2(blk *block, out []uint8, stride int) {
	var work [2][8]int32
	for _, x := range [5]int{0, 1, 3, 5, 7} { // the rows do not use the others
		a := int32(blk[x]) << (constBits + 2)
		b := odd2(int32(blk[x+8]), int32(blk[x+24]), int32(blk[x+40]), int32(blk[x+56]))
		const shift, half = constBits - passBits + 2, 1 << (constBits - passBits + 1)
		work[0][x], work[1][x] = (a+b+half)>>shift, (a-b+half)>>shift
		if x > 0 { // libjpeg-turbo keeps the first column in 32 bits
			work[0][x], work[1][x] = saturated(work[0][x]), saturated(work[1][x])
		}
	}
	for y := range work {
		w := &work[y]
		a, b := w[0]<<(constBits+2), odd2(w[1], w[3], w[5], w[7])
		const shift, half = constBits + passBits + 3 + 2, 1 << (constBits + passBits + 4)
		out[y*stride], out[y*stride+1] = clip((a+b+half)>>shift+128), clip((a-b+half)>>shift+128)
	}
}
