//go:build !purego

package jpeg

import "golang.org/x/sys/cpu"

var hasAVX2 = cpu.X86.HasAVX2

// idct8Vectors is inverse8Plain.
//
//go:noescape
func idct8Vectors(blk *block, out *uint8, stride int)

// idct4Vectors is inverse4Plain.
//
//go:noescape
func idct4Vectors(blk *block, out *uint8, stride int)

// rgbVectors is toRGBPlain of n pixels, a multiple of 16.
//
//go:noescape
func rgbVectors(dst, y, cb, cr *uint8, n int)

// doubleVectors is doublePlain of n samples, a multiple of 16, that have one more
// before them and behind them.
//
//go:noescape
func doubleVectors(dst, near, far *uint8, n int, left, right uint16)

func inverse8(blk *block, set columns, out []uint8, stride int) {
	if hasAVX2 {
		idct8Vectors(blk, &out[0], stride)
	} else {
		inverse8Plain(blk, set, out, stride)
	}
}

func inverse4(blk *block, out []uint8, stride int) {
	if hasAVX2 {
		idct4Vectors(blk, &out[0], stride)
	} else {
		inverse4Plain(blk, out, stride)
	}
}

func toRGB(dst, y, cb, cr []uint8) {
	n := len(y)
	if !hasAVX2 || n < 16 {
		toRGBPlain(dst, y, cb, cr)
		return
	}
	dst, cb, cr = dst[:3*n], cb[:n], cr[:n]
	rgbVectors(&dst[0], &y[0], &cb[0], &cr[0], n&^15)
	at := n - 16 // the last may overlap those before
	rgbVectors(&dst[3*at], &y[at], &cb[at], &cr[at], 16)
}

func double(dst, near, far []uint8, left, right uint64) {
	n := len(near)
	if !hasAVX2 || n < 18 {
		doublePlain(dst, near, far, left, right)
		return
	}
	dst, far = dst[:2*n], far[:n]
	// The first and the last sample have no neighbour on one side, so that they are made
	// of the two outermost. What that makes of the second and the last but one is wrong, and
	// overwritten below.
	doublePlain(dst[:4], near[:2], far[:2], left, right)
	doublePlain(dst[2*n-4:], near[n-2:], far[n-2:], left, right)
	doubleVectors(&dst[2], &near[1], &far[1], (n-2)&^15, uint16(left), uint16(right))
	at := n - 17 // the last may overlap those before
	doubleVectors(&dst[2*at], &near[at], &far[at], 16, uint16(left), uint16(right))
}
