package weights

import (
	"fmt"
	"math"

	"github.com/clip-wgpu/clip-wgpu/internal/half"
)

// DType is the element type of a stored tensor. Constants are in the order of
// the safetensors reference implementation, which sorts saved tensors by it.
type DType uint8

// The element types of the safetensors format that fill whole bytes.
// Only the floats F64, F32, F16 and BF16 and the integers can be read as
// values; the others can be present in a file and viewed as bytes.
const (
	Bool DType = iota + 1
	U8
	I8
	F8E5M2
	F8E4M3
	F8E8M0
	I16
	U16
	F16
	BF16
	I32
	U32
	F32
	C64
	F64
	I64
	U64
)

var dtypes = [...]struct {
	name string
	size int
}{
	Bool: {"BOOL", 1}, U8: {"U8", 1}, I8: {"I8", 1},
	F8E5M2: {"F8_E5M2", 1}, F8E4M3: {"F8_E4M3", 1}, F8E8M0: {"F8_E8M0", 1},
	I16: {"I16", 2}, U16: {"U16", 2}, F16: {"F16", 2}, BF16: {"BF16", 2},
	I32: {"I32", 4}, U32: {"U32", 4}, F32: {"F32", 4},
	C64: {"C64", 8}, F64: {"F64", 8}, I64: {"I64", 8}, U64: {"U64", 8},
}

// String returns the type's name as safetensors headers spell it, "BF16".
func (d DType) String() string {
	if d == 0 || int(d) >= len(dtypes) {
		return fmt.Sprintf("DType(%d)", uint8(d))
	}
	return dtypes[d].name
}

// Bytes is the number of bytes of one element; 0 for an unknown type.
func (d DType) Bytes() int {
	if int(d) >= len(dtypes) {
		return 0
	}
	return dtypes[d].size
}

// Overflow returns the least magnitude of a float32 that becomes infinite when it
// is rounded to d. That is infinity for types other than F16 and BF16.
func (d DType) Overflow() float32 {
	switch d {
	case F16:
		return half.OverflowF16
	case BF16:
		return half.OverflowBF16
	}
	return float32(math.Inf(1))
}

// IsFloat reports whether ReadF32 can read the type.
func (d DType) IsFloat() bool {
	return d == F64 || d == F32 || d == F16 || d == BF16
}

// isBuffer reports whether only buffers, and never parameters, have the type.
func (d DType) isBuffer() bool {
	switch d {
	case Bool, U8, I8, I16, U16, I32, U32, I64, U64:
		return true
	}
	return false
}

func parseDType(name string) (DType, bool) {
	for d := Bool; int(d) < len(dtypes); d++ {
		if dtypes[d].name == name {
			return d, true
		}
	}
	return 0, false
}
