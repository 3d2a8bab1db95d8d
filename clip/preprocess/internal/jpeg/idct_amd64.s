//go:build !purego

#include "textflag.h"
#include "vectors_amd64.h"

// The constants of the IDCT in pairs for VPMADDWD.
PAIR(sum04, 8192, 8192)
PAIR(difference04, 8192, -8192)
PAIR(even0, 10703, 4433)   // 0.541196100+0.765366865, 0.541196100
PAIR(even1, 4433, -10704)  // 0.541196100, 0.541196100-1.847759065
PAIR(odd0, -4927, -7373)   // of 7 and 1: 0.298631336-0.899976223, -0.899976223
PAIR(odd3, -7373, 4926)    // -0.899976223, 1.501321110-0.899976223
PAIR(odd2, 4177, -20995)   // of 3 and 5: 3.072711026-2.562915447, -2.562915447
PAIR(odd1, -20995, -4176)  // -2.562915447, 2.053119869-2.562915447
PAIR(odd02, -6436, 9633)   // of 3+7 and 1+5: 1.175875602-1.961570560, 1.175875602
PAIR(odd13, 9633, 6437)    // 1.175875602, 1.175875602-0.390180644
PAIR(half1, 1024, 0)
PAIR(half2, 0, 2)
PAIR(center, 0x8080, 0x8080)

PLACES(pairUp, 0x0b0a030209080100, 0x0f0e07060d0c0504)

// PASS is one pass of the IDCT over Y0 to Y3, which hold the values 0|4, 1|5, 2|6 and
// 3|7 of eight lines, eight words each. It leaves doublewords, shifted right: the values
// 0 to 7 are in Y0, Y1, Y2, Y3, Y4, Y5, Y6 and Y7, four lines in each half. Sums of two
// values wrap in 16 bits, as libjpeg-turbo's do.
#define PASS(half, shift) \
	VPERMQ $0xd8, Y0, Y0 \
	VPERMQ $0xd8, Y1, Y1 \
	VPERMQ $0xd8, Y2, Y2 \
	VPERMQ $0xd8, Y3, Y3 \
	VPSHUFB Y15, Y0, Y0 \ // pairs of 0 and 4
	VPSHUFB Y15, Y2, Y2 \ // of 2 and 6
	VPUNPCKLWD Y1, Y3, Y4 \ // of 3 and 1
	VPUNPCKHWD Y1, Y3, Y5 \ // of 7 and 5
	VPBROADCASTD half<>(SB), Y14 \
	VPBROADCASTD sum04<>(SB), Y6 \
	VPBROADCASTD difference04<>(SB), Y7 \
	VPMADDWD Y6, Y0, Y6 \
	VPMADDWD Y7, Y0, Y7 \
	VPSLLD $3, Y6, Y6 \
	VPSLLD $3, Y7, Y7 \
	VPSRAD $3, Y6, Y6 \
	VPSRAD $3, Y7, Y7 \
	VPADDD Y14, Y6, Y6 \
	VPADDD Y14, Y7, Y7 \
	VPBROADCASTD even0<>(SB), Y8 \
	VPBROADCASTD even1<>(SB), Y9 \
	VPMADDWD Y8, Y2, Y8 \
	VPMADDWD Y9, Y2, Y9 \
	VPADDD Y8, Y6, Y10 \ // even parts of 0 and 7
	VPSUBD Y8, Y6, Y13 \ // of 3 and 4
	VPADDD Y9, Y7, Y11 \ // of 1 and 6
	VPSUBD Y9, Y7, Y12 \ // of 2 and 5
	VPADDW Y5, Y4, Y0 \
	VPBROADCASTD odd02<>(SB), Y1 \
	VPBROADCASTD odd13<>(SB), Y2 \
	VPMADDWD Y1, Y0, Y1 \
	VPMADDWD Y2, Y0, Y2 \
	VPBLENDW $0xaa, Y4, Y5, Y6 \ // pairs of 7 and 1
	VPBLENDW $0xaa, Y5, Y4, Y7 \ // of 3 and 5
	VPBROADCASTD odd0<>(SB), Y3 \
	VPBROADCASTD odd3<>(SB), Y4 \
	VPBROADCASTD odd1<>(SB), Y5 \
	VPBROADCASTD odd2<>(SB), Y8 \
	VPMADDWD Y3, Y6, Y3 \
	VPMADDWD Y4, Y6, Y4 \
	VPMADDWD Y5, Y7, Y5 \
	VPMADDWD Y8, Y7, Y8 \
	VPADDD Y1, Y3, Y3 \ // odd parts: of 3 and 4
	VPADDD Y2, Y4, Y4 \ // of 0 and 7
	VPADDD Y2, Y5, Y5 \ // of 2 and 5
	VPADDD Y1, Y8, Y6 \ // of 1 and 6
	VPADDD Y4, Y10, Y0 \
	VPSUBD Y4, Y10, Y7 \
	VPADDD Y6, Y11, Y1 \
	VPSUBD Y6, Y11, Y6 \
	VPADDD Y5, Y12, Y2 \
	VPSUBD Y5, Y12, Y5 \
	VPSUBD Y3, Y13, Y4 \
	VPADDD Y3, Y13, Y3 \
	VPSRAD $shift, Y0, Y0 \
	VPSRAD $shift, Y1, Y1 \
	VPSRAD $shift, Y2, Y2 \
	VPSRAD $shift, Y3, Y3 \
	VPSRAD $shift, Y4, Y4 \
	VPSRAD $shift, Y5, Y5 \
	VPSRAD $shift, Y6, Y6 \
	VPSRAD $shift, Y7, Y7 \
	VPACKSSDW Y4, Y0, Y0 \ // values 0 and 4 of four lines in each half
	VPACKSSDW Y5, Y1, Y1 \
	VPACKSSDW Y6, Y2, Y2 \
	VPACKSSDW Y7, Y3, Y3

// func idct8Vectors(blk *block, out *uint8, stride int)
TEXT ·idct8Vectors(SB), NOSPLIT, $0-24
	MOVQ blk+0(FP), SI
	MOVQ out+8(FP), DI
	MOVQ stride+16(FP), DX
	VBROADCASTI128 pairUp<>(SB), Y15
	VMOVDQU 0(SI), X0
	VMOVDQU 16(SI), X1
	VMOVDQU 32(SI), X2
	VMOVDQU 48(SI), X3
	VINSERTI128 $1, 64(SI), Y0, Y0
	VINSERTI128 $1, 80(SI), Y1, Y1
	VINSERTI128 $1, 96(SI), Y2, Y2
	VINSERTI128 $1, 112(SI), Y3, Y3
	PASS(half1, 11)

	// Columns become rows: words, then pairs, then fours.
	VPUNPCKLWD Y1, Y0, Y4
	VPUNPCKHWD Y1, Y0, Y5
	VPUNPCKLWD Y3, Y2, Y6
	VPUNPCKHWD Y3, Y2, Y7
	VPUNPCKLDQ Y6, Y4, Y8
	VPUNPCKHDQ Y6, Y4, Y9
	VPUNPCKLDQ Y7, Y5, Y10
	VPUNPCKHDQ Y7, Y5, Y11
	VPUNPCKLQDQ Y10, Y8, Y0
	VPUNPCKHQDQ Y10, Y8, Y1
	VPUNPCKLQDQ Y11, Y9, Y2
	VPUNPCKHQDQ Y11, Y9, Y3
	PASS(half2, 18)

	VPACKSSWB Y2, Y0, Y0 // columns 0, 4, 2 and 6 of four rows in each half
	VPACKSSWB Y3, Y1, Y1 // 1, 5, 3 and 7
	VPUNPCKLBW Y1, Y0, Y2
	VPUNPCKHBW Y1, Y0, Y3
	VPUNPCKLWD Y3, Y2, Y0
	VPUNPCKHWD Y3, Y2, Y1
	VPUNPCKLDQ Y1, Y0, Y2
	VPUNPCKHDQ Y1, Y0, Y3
	VPBROADCASTD center<>(SB), Y4
	VPXOR Y4, Y2, Y2
	VPXOR Y4, Y3, Y3
	LEAQ (DX)(DX*2), R8
	LEAQ (DI)(DX*4), R9
	VMOVQ X2, (DI)
	VMOVHPS X2, (DI)(DX*1)
	VMOVQ X3, (DI)(DX*2)
	VMOVHPS X3, (DI)(R8*1)
	VEXTRACTI128 $1, Y2, X2
	VEXTRACTI128 $1, Y3, X3
	VMOVQ X2, (R9)
	VMOVHPS X2, (R9)(DX*1)
	VMOVQ X3, (R9)(DX*2)
	VMOVHPS X3, (R9)(R8*1)
	VZEROUPPER
	RET
