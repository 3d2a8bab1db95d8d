package debug

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// NPY is a tensor as a file of NumPy (numpy.lib.format, version 1.0), of float32 or,
// with ints, of int32.
func NPY(shape []int, ints bool, values []float64) []byte {
	kind := "<f4"
	if ints {
		kind = "<i4"
	}
	var dims strings.Builder
	for _, d := range shape {
		fmt.Fprintf(&dims, "%d, ", d)
	}
	const prefix = "\x93NUMPY\x01\x00"
	dict := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", kind, dims.String())
	padded := (len(prefix)+2+len(dict)+1+63)/64*64 - len(prefix) - 2
	b := binary.LittleEndian.AppendUint16([]byte(prefix), uint16(padded))
	b = fmt.Appendf(b, "%-*s\n", padded-1, dict)
	for _, v := range values {
		word := math.Float32bits(float32(v))
		if ints {
			word = uint32(int32(v))
		}
		b = binary.LittleEndian.AppendUint32(b, word)
	}
	return b
}
