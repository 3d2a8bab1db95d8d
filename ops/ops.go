package ops

import (
	"fmt"
	"math"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// rowsOf splits a shape into the number of its rows and their length, the last
// dimension.
func rowsOf(s graph.Shape) (rows, cols int) {
	if len(s) == 0 {
		return 1, 1
	}
	cols = s[len(s)-1]
	return s.Elems() / max(1, cols), cols
}

// wantF32 refuses present tensors that are not f32.
func wantF32(ts ...graph.Tensor) error {
	for i, t := range ts {
		if t.Valid() && t.Spec().Element != graph.F32 {
			return fmt.Errorf("input %d is %v, want f32", i, t.Spec())
		}
	}
	return nil
}

// bits is a float parameter of a kernel.
func bits(x float64) uint32 { return math.Float32bits(float32(x)) }

// flag is a boolean parameter of a kernel.
func flag(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}
