package jpeg

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

// clip makes a sum around 128 a sample.
func clip(v int32) uint8 {
	if uint32(v) > 255 {
		return uint8(^v >> 31)
	}
	return uint8(v)
}

// lines8 is one pass over eight values.
func lines8(v *[8]int32) (t0, t1, t2, t3, o0, o1, o2, o3 int32) {
	z1 := (v[2] + v[6]) * fix0_541196100
	b := z1 - v[6]*fix1_847759065
	a := z1 + v[2]*fix0_765366865
	c := (v[0] + v[4]) << constBits
	d := (v[0] - v[4]) << constBits
	t0, t1, t2, t3 = c+a, d+b, d-b, c-a
	z3, z4 := v[7]+v[3], v[5]+v[1]
	z5 := (z3 + z4) * fix1_175875602
	z3, z4 = z5-z3*fix1_961570560, z5-z4*fix0_390180644
	z1, z2 := (v[7]+v[1])*-fix0_899976223, (v[5]+v[3])*-fix2_562915447
	o0 = v[7]*fix0_298631336 + z1 + z3
	o1 = v[5]*fix2_053119869 + z2 + z4
	o2 = v[3]*fix3_072711026 + z2 + z3
	o3 = v[1]*fix1_501321110 + z1 + z4
	return
}

// idct8 makes the samples of a block whose coefficients other than DC are in the given
// columns.
func idct8(blk *block, set columns, out []uint8, stride int) {
	if set == 0 {
		flat(clip((int32(blk[0])<<passBits+1<<(passBits+2))>>(passBits+3)+128), 8, out, stride)
		return
	}
	var work [64]int32
	for x := range 8 {
		if set>>x&1 == 0 { // the column has at most its first coefficient
			if v := int32(blk[x]) << passBits; v != 0 {
				for y := 0; y < 64; y += 8 {
					work[x+y] = v
				}
			}
			continue
		}
		v := [8]int32{int32(blk[x]), int32(blk[x+8]), int32(blk[x+16]), int32(blk[x+24]),
			int32(blk[x+32]), int32(blk[x+40]), int32(blk[x+48]), int32(blk[x+56])}
		t0, t1, t2, t3, o0, o1, o2, o3 := lines8(&v)
		const shift, half = constBits - passBits, 1 << (constBits - passBits - 1)
		work[x], work[x+56] = (t0+o3+half)>>shift, (t0-o3+half)>>shift
		work[x+8], work[x+48] = (t1+o2+half)>>shift, (t1-o2+half)>>shift
		work[x+16], work[x+40] = (t2+o1+half)>>shift, (t2-o1+half)>>shift
		work[x+24], work[x+32] = (t3+o0+half)>>shift, (t3-o0+half)>>shift
	}
	for y := range 8 {
		t0, t1, t2, t3, o0, o1, o2, o3 := lines8((*[8]int32)(work[8*y:]))
		const shift, half = constBits + passBits + 3, 1<<(constBits+passBits+2) + 128<<(constBits+passBits+3)
		p := (*[8]uint8)(out[y*stride:])
		p[0], p[7] = clip((t0+o3+half)>>shift), clip((t0-o3+half)>>shift)
		p[1], p[6] = clip((t1+o2+half)>>shift), clip((t1-o2+half)>>shift)
		p[2], p[5] = clip((t2+o1+half)>>shift), clip((t2-o1+half)>>shift)
		p[3], p[4] = clip((t3+o0+half)>>shift), clip((t3-o0+half)>>shift)
	}
}

// flat fills size x size samples.
func flat(v uint8, size int, out []uint8, stride int) {
	for y := range size {
		row := out[y*stride:][:size]
		for x := range row {
			row[x] = v
		}
	}
}
