package weights

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/clip-wgpu/clip-wgpu/internal/half"
)

var (
	le           = binary.LittleEndian
	littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1
)

// bytesOf returns the memory of s as bytes. Bytes need no alignment, so copies between
// them and a file are right at any offset of a tensor.
func bytesOf[T float32 | int64](s []T) []byte {
	var zero T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(zero)))
}

// decodeF32 converts len(dst) little-endian elements; false for a type that is no float.
func decodeF32(dst []float32, raw []byte, d DType) bool {
	switch d {
	case F32:
		if littleEndian {
			copy(bytesOf(dst), raw)
			break
		}
		for i := range dst {
			dst[i] = math.Float32frombits(le.Uint32(raw[4*i:]))
		}
	case F16:
		for i := range dst {
			dst[i] = half.F16ToF32(le.Uint16(raw[2*i:]))
		}
	case BF16:
		for i := range dst {
			dst[i] = half.BF16ToF32(le.Uint16(raw[2*i:]))
		}
	case F64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(le.Uint64(raw[8*i:])))
		}
	default:
		return false
	}
	return true
}

// decodeI64 converts len(dst) little-endian elements; false for a type whose
// values do not all fit an int64.
func decodeI64(dst []int64, raw []byte, d DType) bool {
	var at func(i int) int64
	switch d {
	case I64:
		at = func(i int) int64 { return int64(le.Uint64(raw[8*i:])) }
	case I32:
		at = func(i int) int64 { return int64(int32(le.Uint32(raw[4*i:]))) }
	case U32:
		at = func(i int) int64 { return int64(le.Uint32(raw[4*i:])) }
	case I16:
		at = func(i int) int64 { return int64(int16(le.Uint16(raw[2*i:]))) }
	case U16:
		at = func(i int) int64 { return int64(le.Uint16(raw[2*i:])) }
	case I8:
		at = func(i int) int64 { return int64(int8(raw[i])) }
	case U8:
		at = func(i int) int64 { return int64(raw[i]) }
	case Bool:
		at = func(i int) int64 { return int64(min(raw[i], 1)) }
	default:
		return false
	}
	for i := range dst {
		dst[i] = at(i)
	}
	return true
}

// encodeF32 appends src to raw as d, which must be F32, F16 or BF16.
func encodeF32(raw []byte, src []float32, d DType) []byte {
	switch d {
	case F16:
		for _, v := range src {
			raw = le.AppendUint16(raw, half.F32ToF16(v))
		}
	case BF16:
		for _, v := range src {
			raw = le.AppendUint16(raw, half.F32ToBF16(v))
		}
	default:
		if littleEndian {
			return append(raw, bytesOf(src)...)
		}
		for _, v := range src {
			raw = le.AppendUint32(raw, math.Float32bits(v))
		}
	}
	return raw
}

func encodeI64(raw []byte, src []int64) []byte {
	for _, v := range src {
		raw = le.AppendUint64(raw, uint64(v))
	}
	return raw
}
