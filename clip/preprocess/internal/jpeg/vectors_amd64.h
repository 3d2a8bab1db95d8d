// PAIR is a constant of two words, the low one first.
#define PAIR(name, low, high) \
	DATA name<>+0(SB)/4, $((low)&0xffff|((high)&0xffff)<<16) \
	GLOBL name<>(SB), RODATA|NOPTR, $4

// PLACES is 16 indices of VPSHUFB, the lowest byte of low first. 0x80 gives zero.
#define PLACES(name, low, high) \
	DATA name<>+0(SB)/8, $low \
	DATA name<>+8(SB)/8, $high \
	GLOBL name<>(SB), RODATA|NOPTR, $16
