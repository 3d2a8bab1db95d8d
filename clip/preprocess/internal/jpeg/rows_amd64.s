//go:build !purego

#include "textflag.h"
#include "vectors_amd64.h"

// Factors of libjpeg's colour conversion, with 16 fractional bits. VPMULHW multiplies by less
// than 1/2, so that a whole number is taken out of each and added afterwards.
PAIR(redOfCr, 26345, 26345)     // 1.40200 - 1
PAIR(blueOfCb, -14942, -14942)  // 1.77200 - 2
PAIR(greenOfBoth, -22554, 18734) // -0.34414 and 1 - 0.71414
PAIR(half, 0x8000, 0)
PAIR(middle, 128, 128)
PAIR(one, 1, 1)

// Where eight pixels take their samples from: the first 16 bytes and the last 8.
PLACES(redGreen, 0x0a02800901800800, 0x05800c04800b0380)
PLACES(blue, 0x8080018080008080, 0x8004808003808002)
PLACES(lastRedGreen, 0x800f07800e06800d, 0x8080808080808080)
PLACES(lastBlue, 0x0780800680800580, 0x8080808080808080)

// CHANNEL puts Y (in Y0) + chroma * (whole + factor) into sum, of twice chroma and of whole
// times chroma. (2*chroma*factor>>16 + 1) >> 1 rounds as libjpeg does.
#define CHANNEL(twice, factor, wholes, sum) \
	VPMULHW factor, twice, sum \
	VPADDW Y11, sum, sum \
	VPSRAW $1, sum, sum \
	VPADDW wholes, sum, sum \
	VPADDW Y0, sum, sum

// func rgbVectors(dst, y, cb, cr *uint8, n int)
TEXT ·rgbVectors(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ y+8(FP), SI
	MOVQ cb+16(FP), R8
	MOVQ cr+24(FP), R9
	MOVQ n+32(FP), CX
	VPBROADCASTD redOfCr<>(SB), Y6
	VPBROADCASTD blueOfCb<>(SB), Y7
	VPBROADCASTD greenOfBoth<>(SB), Y8
	VPBROADCASTD half<>(SB), Y9
	VPBROADCASTD middle<>(SB), Y10
	VPBROADCASTD one<>(SB), Y11
	VBROADCASTI128 redGreen<>(SB), Y12
	VBROADCASTI128 blue<>(SB), Y13
	VBROADCASTI128 lastRedGreen<>(SB), Y14
	VBROADCASTI128 lastBlue<>(SB), Y15

pixels:
	VPMOVZXBW (SI), Y0
	VPMOVZXBW (R8), Y1
	VPMOVZXBW (R9), Y2
	VPSUBW Y10, Y1, Y1
	VPSUBW Y10, Y2, Y2

	VPADDW Y2, Y2, Y3
	CHANNEL(Y3, Y6, Y2, Y3) // red
	VPADDW Y1, Y1, Y4
	CHANNEL(Y4, Y7, Y4, Y5) // blue
	VPSUBW Y2, Y0, Y0 // green
	VPUNPCKLWD Y2, Y1, Y4
	VPUNPCKHWD Y2, Y1, Y2
	VPMADDWD Y8, Y4, Y4
	VPMADDWD Y8, Y2, Y2
	VPADDD Y9, Y4, Y4
	VPADDD Y9, Y2, Y2
	VPSRAD $16, Y4, Y4
	VPSRAD $16, Y2, Y2
	VPACKSSDW Y2, Y4, Y4
	VPADDW Y0, Y4, Y4

	VPACKUSWB Y4, Y3, Y0 // eight of red, then of green, in each half
	VPACKUSWB Y5, Y5, Y1
	VPSHUFB Y12, Y0, Y2
	VPSHUFB Y13, Y1, Y3
	VPSHUFB Y14, Y0, Y0
	VPSHUFB Y15, Y1, Y1
	VPOR Y3, Y2, Y2
	VPOR Y1, Y0, Y0
	VMOVDQU X2, (DI)
	VMOVQ X0, 16(DI)
	VEXTRACTI128 $1, Y2, 24(DI)
	VEXTRACTI128 $1, Y0, X0
	VMOVQ X0, 40(DI)
	ADDQ $16, SI
	ADDQ $16, R8
	ADDQ $16, R9
	ADDQ $48, DI
	SUBQ $16, CX
	JG pixels
	VZEROUPPER
	RET

// SUMS puts 3*near + far of sixteen samples from at on into sum.
#define SUMS(at, sum) \
	VPMOVZXBW at(SI), sum \
	VPMOVZXBW at(R8), Y5 \
	VPADDW sum, Y5, Y5 \
	VPADDW sum, sum, sum \
	VPADDW Y5, sum, sum

// func doubleVectors(dst, near, far *uint8, n int, left, right uint16)
TEXT ·doubleVectors(SB), NOSPLIT, $0-36
	MOVQ dst+0(FP), DI
	MOVQ near+8(FP), SI
	MOVQ far+16(FP), R8
	MOVQ n+24(FP), CX
	VPBROADCASTW left+32(FP), Y6
	VPBROADCASTW right+34(FP), Y7

samples:
	SUMS(-1, Y0)
	SUMS(0, Y1)
	SUMS(1, Y2)
	VPADDW Y1, Y1, Y3
	VPADDW Y3, Y1, Y1
	VPADDW Y6, Y0, Y0
	VPADDW Y7, Y2, Y2
	VPADDW Y1, Y0, Y0
	VPADDW Y1, Y2, Y2
	VPSRLW $4, Y0, Y0
	VPSRLW $4, Y2, Y2
	VPSLLW $8, Y2, Y2
	VPOR Y2, Y0, Y0
	VMOVDQU Y0, (DI)
	ADDQ $16, SI
	ADDQ $16, R8
	ADDQ $32, DI
	SUBQ $16, CX
	JG samples
	VZEROUPPER
	RET
