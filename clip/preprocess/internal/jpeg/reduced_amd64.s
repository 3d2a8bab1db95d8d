//go:build !purego

#include "textflag.h"
#include "vectors_amd64.h"

PAIR(even26, 15137, -6270)     // 1.847759065, -0.765366865
PAIR(outer13, 20995, 7373)     // 2.562915447, 0.899976223
PAIR(outer57, -4926, -4176)    // -0.601344887, -0.509795579
PAIR(inner13, 8697, -17799)    // 1.061594337, -2.172734803
PAIR(inner57, 11893, -1730)    // 1.451774981, -0.211164243
PAIR(even02, 0, 15137)
PAIR(even46, 0, -6270)
PAIR(halfColumn, 2048, 0)
PAIR(halfRow, 0, 4)
PAIR(middle, 0x8080, 0x8080)

// Of two rows in each half, the odd columns of both, then the even ones.
PLACES(oddEven, 0x0f0e0b0a07060302, 0x0d0c090805040100)

// Columns 0, 2, 1 and 3 of four rows become rows.
PLACES(byRows, 0x0d0509010c040800, 0x0f070b030e060a02)

// WORDS puts pairs of the words of two rows into pairs.
#define WORDS(low, high, pairs) \
	VPMOVZXWD low(SI), pairs \
	VPMOVZXWD high(SI), Y15 \
	VPSLLD $16, Y15, Y15 \
	VPOR Y15, pairs, pairs

// MULTIPLY sums the products of pairs and a constant.
#define MULTIPLY(constant, pairs, sums) \
	VPBROADCASTD constant<>(SB), Y15 \
	VPMADDWD Y15, pairs, sums

// HALVES is MULTIPLY with a constant for each half of pairs, and adds the halves.
#define HALVES(low, high, pairs, sums, low128) \
	VPBROADCASTD low<>(SB), X14 \
	VPBROADCASTD high<>(SB), X15 \
	VINSERTI128 $1, X15, Y14, Y14 \
	VPMADDWD Y14, pairs, sums \
	VEXTRACTI128 $1, sums, X15 \
	VPADDD X15, low128, low128

// func idct4Vectors(blk *block, out *uint8, stride int)
TEXT ·idct4Vectors(SB), NOSPLIT, $0-24
	MOVQ blk+0(FP), SI
	MOVQ out+8(FP), DI
	MOVQ stride+16(FP), DX

	// Eight columns to four values.
	WORDS(32, 96, Y1)
	WORDS(16, 48, Y2)
	WORDS(80, 112, Y3)
	VPMOVSXWD 0(SI), Y0
	VPSLLD $14, Y0, Y0
	VPBROADCASTD halfColumn<>(SB), Y4
	VPADDD Y4, Y0, Y0
	MULTIPLY(even26, Y1, Y1)
	MULTIPLY(outer13, Y2, Y4)
	MULTIPLY(outer57, Y3, Y5)
	MULTIPLY(inner13, Y2, Y6)
	MULTIPLY(inner57, Y3, Y7)
	VPADDD Y5, Y4, Y4
	VPADDD Y7, Y6, Y6
	VPADDD Y1, Y0, Y2
	VPSUBD Y1, Y0, Y3
	VPADDD Y4, Y2, Y0
	VPSUBD Y4, Y2, Y5
	VPADDD Y6, Y3, Y1
	VPSUBD Y6, Y3, Y4
	VPSRAD $12, Y0, Y0
	VPSRAD $12, Y1, Y1
	VPSRAD $12, Y4, Y4
	VPSRAD $12, Y5, Y5
	VPACKSSDW Y1, Y0, Y0 // rows 0 and 1, four columns in each half
	VPACKSSDW Y5, Y4, Y1 // 2 and 3

	// Four rows to four values.
	VBROADCASTI128 oddEven<>(SB), Y15
	VPSHUFB Y15, Y0, Y0
	VPSHUFB Y15, Y1, Y1
	VPUNPCKLQDQ Y1, Y0, Y2 // columns 1 and 3 of all rows, then 5 and 7
	VPUNPCKHQDQ Y1, Y0, Y3 // 0 and 2, then 4 and 6
	VPSLLD $16, X3, X0
	VPSRAD $2, X0, X0
	VPBROADCASTD halfRow<>(SB), X4
	VPADDD X4, X0, X0
	HALVES(even02, even46, Y3, Y1, X1)
	HALVES(outer13, outer57, Y2, Y4, X4)
	HALVES(inner13, inner57, Y2, Y6, X6)
	VPADDD X1, X0, X2
	VPSUBD X1, X0, X3
	VPADDD X4, X2, X0
	VPSUBD X4, X2, X5
	VPADDD X6, X3, X1
	VPSUBD X6, X3, X4
	VPSRAD $19, X0, X0
	VPSRAD $19, X1, X1
	VPSRAD $19, X4, X4
	VPSRAD $19, X5, X5
	VPACKSSDW X4, X0, X0
	VPACKSSDW X5, X1, X1
	VPACKSSWB X1, X0, X0
	VPSHUFB byRows<>(SB), X0, X0
	VPBROADCASTD middle<>(SB), X1
	VPXOR X1, X0, X0
	VMOVD X0, (DI)
	VPEXTRD $1, X0, (DI)(DX*1)
	LEAQ (DI)(DX*2), DI
	VPEXTRD $2, X0, (DI)
	VPEXTRD $3, X0, (DI)(DX*1)
	VZEROUPPER
	RET
