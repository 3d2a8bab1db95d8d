//go:build !purego

#include "textflag.h"

// Which pair of weights each lane takes: the upper parts, then the lower ones.
DATA pairs<>+0(SB)/8, $0
DATA pairs<>+8(SB)/8, $0
DATA pairs<>+16(SB)/8, $0x0000000100000001
DATA pairs<>+24(SB)/8, $0x0000000100000001
DATA pairs<>+32(SB)/8, $0x0000000200000002
DATA pairs<>+40(SB)/8, $0x0000000200000002
DATA pairs<>+48(SB)/8, $0x0000000300000003
DATA pairs<>+56(SB)/8, $0x0000000300000003
GLOBL pairs<>(SB), RODATA|NOPTR, $64

// The order that packing leaves groups of four columns in, undone.
DATA order<>+0(SB)/8, $0x0000000400000000
DATA order<>+8(SB)/8, $0x0000000500000001
DATA order<>+16(SB)/8, $0x0000000600000002
DATA order<>+24(SB)/8, $0x0000000700000003
GLOBL order<>(SB), RODATA|NOPTR, $32

DATA half<>+0(SB)/4, $0x200000
GLOBL half<>(SB), RODATA|NOPTR, $4

// TAPS adds four pixels of one row to its sums of upper and lower parts.
#define TAPS(pixels, upper, lower) \
	VBROADCASTI128 pixels, Y11         \
	VPSHUFB        Y15, Y11, Y11       \
	VPMADDWD       Y9, Y11, Y12        \
	VPADDD         Y12, upper, upper   \
	VPMADDWD       Y10, Y11, Y11       \
	VPADDD         Y11, lower, lower

// WHOLE makes a row's sums of its parts.
#define WHOLE(upper, lower) \
	VPSLLD $11, upper, upper   \
	VPADDD lower, upper, upper

// func horizontalAVX2(dst, src *uint8, dstStride, srcStride int, first *int32, k *int16, spread *[32]uint8, n, groups, bands int)
TEXT ·horizontalAVX2(SB), NOSPLIT, $0-80
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ dstStride+16(FP), R8
	MOVQ srcStride+24(FP), DX
	MOVQ first+32(FP), R12
	MOVQ k+40(FP), R13
	MOVQ spread+48(FP), AX
	VMOVDQU (AX), Y15
	MOVQ n+56(FP), R10
	MOVQ groups+64(FP), R11
	MOVQ bands+72(FP), AX
	LEAQ (R8)(R8*2), R9
	LEAQ (DX)(DX*2), R14
	VMOVDQU pairs<>+0(SB), Y14
	VMOVDQU pairs<>+32(SB), Y13

pixel:
	MOVLQSX (R12), BX
	ADDQ    SI, BX
	ADDQ    $4, R12
	MOVQ    R11, CX
	VPXOR   Y0, Y0, Y0
	VPXOR   Y1, Y1, Y1
	VPXOR   Y2, Y2, Y2
	VPXOR   Y3, Y3, Y3
	VPXOR   Y4, Y4, Y4
	VPXOR   Y5, Y5, Y5
	VPXOR   Y6, Y6, Y6
	VPXOR   Y7, Y7, Y7

group:
	VBROADCASTI128 (R13), Y8
	VPERMD         Y8, Y14, Y9
	VPERMD         Y8, Y13, Y10
	TAPS((BX), Y0, Y4)
	TAPS((BX)(DX*1), Y1, Y5)
	TAPS((BX)(DX*2), Y2, Y6)
	TAPS((BX)(R14*1), Y3, Y7)
	ADDQ           $16, R13
	LEAQ           (BX)(AX*4), BX
	DECQ           CX
	JNZ            group

	WHOLE(Y0, Y4)
	WHOLE(Y1, Y5)
	WHOLE(Y2, Y6)
	WHOLE(Y3, Y7)
	VPBROADCASTD half<>(SB), Y8
	VPERM2I128   $0x20, Y1, Y0, Y4
	VPERM2I128   $0x31, Y1, Y0, Y5
	VPADDD       Y4, Y5, Y0
	VPADDD       Y8, Y0, Y0
	VPSRAD       $22, Y0, Y0
	VPERM2I128   $0x20, Y3, Y2, Y6
	VPERM2I128   $0x31, Y3, Y2, Y7
	VPADDD       Y6, Y7, Y2
	VPADDD       Y8, Y2, Y2
	VPSRAD       $22, Y2, Y2
	VPACKUSDW    Y2, Y0, Y0
	VPACKUSWB    Y0, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VMOVD        X0, (DI)
	VMOVD        X1, (DI)(R8*1)
	VPEXTRD      $1, X0, (DI)(R8*2)
	VPEXTRD      $1, X1, (DI)(R9*1)
	ADDQ         AX, DI
	DECQ         R10
	JNZ          pixel

	VZEROUPPER
	RET

// COLUMNS adds eight columns of a line to their sums.
#define COLUMNS(pixels, sums) \
	VPMOVZXBD pixels, Y5       \
	VPMULLD   Y4, Y5, Y5       \
	VPADDD    Y5, sums, sums

// func verticalAVX2(dst, lines *uint8, stride int, k *int32, taps, n int)
TEXT ·verticalAVX2(SB), NOSPLIT, $0-48
	MOVQ         dst+0(FP), DI
	MOVQ         n+40(FP), R10
	VMOVDQU      order<>+0(SB), Y6
	VPBROADCASTD half<>(SB), Y7
	MOVQ         lines+8(FP), SI
	MOVQ         stride+16(FP), DX
	MOVQ         k+24(FP), R8
	MOVQ         taps+32(FP), R9

columns:
	MOVQ    SI, BX
	XORQ    CX, CX
	VMOVDQA Y7, Y0
	VMOVDQA Y7, Y1
	VMOVDQA Y7, Y2
	VMOVDQA Y7, Y3

line:
	VPBROADCASTD (R8)(CX*4), Y4
	COLUMNS((BX), Y0)
	COLUMNS(8(BX), Y1)
	COLUMNS(16(BX), Y2)
	COLUMNS(24(BX), Y3)
	ADDQ         DX, BX
	INCQ         CX
	CMPQ         CX, R9
	JLT          line

	VPSRAD    $22, Y0, Y0
	VPSRAD    $22, Y1, Y1
	VPSRAD    $22, Y2, Y2
	VPSRAD    $22, Y3, Y3
	VPACKUSDW Y1, Y0, Y0
	VPACKUSDW Y3, Y2, Y2
	VPACKUSWB Y2, Y0, Y0
	VPERMD    Y0, Y6, Y0
	VMOVDQU   Y0, (DI)
	ADDQ      $32, DI
	ADDQ      $32, SI
	DECQ      R10
	JNZ       columns

	VZEROUPPER
	RET
