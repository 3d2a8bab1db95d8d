// PAIR is a constant of two words, the low one first.
#define PAIR(name, low, high) \
	DATA name<>+0(SB)/4, $((low)&0xffff|((high)&0xffff)<<16) \
	GLOBL name<>(SB), RODATA|NOPTR, $4
