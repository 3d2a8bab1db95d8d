// Package half converts between float32 and the two 16-bit floats.
package half

import "math"

// UnderflowF16 is the least magnitude that binary16 holds with all of its digits.
const UnderflowF16 = 0x1p-14

// The least magnitudes that round to infinity.
const (
	OverflowF16  = 65520      // 65504, the largest binary16, and half a step
	OverflowBF16 = 0x1.ffp127 // 3.3962e38, likewise
)

// F16ToF32 converts IEEE 754 binary16 bits to float32. Every value is exact:
// subnormals, infinities, signed zeros and NaN payloads included.
func F16ToF32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	bits := uint32(h&0x7fff) << 13
	if bits >= 0x7c00<<13 {
		return math.Float32frombits(sign | 0x7f800000 | bits)
	}
	// Read with float32's bias the value is 2^112 too small; the product is
	// exact and normalises subnormals on the way.
	return math.Float32frombits(sign | math.Float32bits(math.Float32frombits(bits)*0x1p112))
}

// F32ToF16 rounds to the nearest binary16 value, ties to even; from OverflowF16
// up the result is infinite. NaNs keep their sign and the upper bits of their
// payload.
func F32ToF16(f float32) uint16 {
	bits := math.Float32bits(f)
	sign := uint16(bits>>16) & 0x8000
	bits &= 0x7fffffff
	switch {
	case bits > 0x7f800000:
		payload := uint16(bits>>13) & 0x3ff
		if payload == 0 {
			payload = 0x200
		}
		return sign | 0x7c00 | payload
	case bits >= 0x47800000: // 2^16
		return sign | 0x7c00
	case bits >= 0x38800000: // 2^-14, the smallest normal
		bits += 0xfff + bits>>13&1
		return sign | uint16((bits-0x38000000)>>13)
	default:
		// 0.5 has the spacing of binary16 subnormals, 2^-24: the addition rounds.
		sum := math.Float32bits(math.Float32frombits(bits) + 0.5)
		return sign | uint16(sum-0x3f000000)
	}
}

// BF16ToF32 converts bfloat16 bits, the upper half of a float32, exactly.
func BF16ToF32(h uint16) float32 {
	return math.Float32frombits(uint32(h) << 16)
}

// F32ToBF16 rounds to the nearest bfloat16 value, ties to even; from
// OverflowBF16 up the result is infinite. NaNs keep their sign and the upper
// bits of their payload.
func F32ToBF16(f float32) uint16 {
	bits := math.Float32bits(f)
	if bits&0x7fffffff > 0x7f800000 {
		h := uint16(bits >> 16)
		if h&0x7f == 0 {
			h |= 0x40
		}
		return h
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}
