package preprocess

import "encoding/binary"

// bitSpreader makes samples of 8 bits of those of 1, 2, 4 or 8, the first of which are
// the highest bits of a byte.
type bitSpreader struct {
	bits int
	of   [256]uint64 // the samples in each byte, the first one lowest
}

// newBitSpreader makes one that multiplies samples by scale, after xor with flip.
func newBitSpreader(bits int, scale, flip uint8) *bitSpreader {
	s := &bitSpreader{bits: bits}
	for v := range s.of {
		for i := range 8 / bits {
			sample := uint8(v) << (i * bits) >> (8 - bits)
			s.of[v] |= uint64((sample^flip)*scale) << (8 * i)
		}
	}
	return s
}

// samples fills dst.
func (s *bitSpreader) samples(dst, src []uint8) {
	each := 8 / s.bits
	if each == 1 {
		copy(dst, src)
		return
	}
	for ; len(dst) >= 8; dst, src = dst[each:], src[1:] {
		binary.LittleEndian.PutUint64(dst, s.of[src[0]])
	}
	for i := range dst {
		dst[i] = uint8(s.of[src[i/each]] >> (i % each * 8))
	}
}
