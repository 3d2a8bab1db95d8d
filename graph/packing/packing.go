// Package packing lays the weights of linear maps out as the kernels read them.
//
// Two things say how a weight lies. Its Format is how its numbers are stored, which
// the user chooses. The Arrangement is where they go, which the device chooses once
// for all weights. A Weight has both: it knows its size, where its elements are
// and how to pack and unpack them. Open this package to add a Format, together
// with shaders/lib/weight_FORMAT.wgsl, or an Arrangement, together with
// shaders/lib/packed.wgsl.
package packing

import (
	"cmp"
	"fmt"
	"math"

	"github.com/clip-wgpu/clip-wgpu/internal/half"
)

// Format is how the numbers of a tensor are stored. All formats but RowMajor are
// those of a Weight: they store blocks of 4 × 4 elements. Within a block, element
// (n, k) of W comes at 4·k + n, so that the four n of one k are a vec4.
type Format uint8

const (
	RowMajor Format = iota // f32 or i32, one row after the other: not packed
	F32                    // blocks of 64 bytes
	F16                    // blocks of 32 bytes, IEEE 754 binary16, rounded to nearest
	BF16                   // blocks of 32 bytes, bfloat16, rounded to nearest
	Q8                     // blocks of 16 bytes, see below, and a scale for each n
	formats
)

// In Q8 a row n of W has its own scale, its largest magnitude. An element is its
// byte, a signed integer, and the bytes below that in its word, a fraction, times
// scale/127: a shift and a conversion decode it, and since the fraction is known
// when the integer is chosen, the element is still within half a step.

// blockWords is the length of a block in 32-bit words.
var blockWords = [formats]int{F32: 16, F16: 8, BF16: 8, Q8: 4}

// Valid reports whether f is one of the constants.
func (f Format) Valid() bool { return f < formats }

func (f Format) String() string {
	return [formats]string{"row-major", "f32", "f16", "bf16", "q8"}[f]
}

// Overflow is the least magnitude that the format rounds to infinity. Formats that
// round no finite number to infinity have +Inf.
func (f Format) Overflow() float32 {
	switch f {
	case F16:
		return half.OverflowF16
	case BF16:
		return half.OverflowBF16
	}
	return float32(math.Inf(1))
}

// Underflow is the magnitude below which the format has fewer digits: 0 where
// that is none. A weight without a larger element is not worth storing so.
func (f Format) Underflow() float32 {
	if f == F16 {
		return half.UnderflowF16
	}
	return 0
}

// Fits reports whether the format can store a weight whose greatest finite magnitude is
// largest.
func (f Format) Fits(largest float32) bool {
	return largest < f.Overflow() && (largest == 0 || largest >= f.Underflow())
}

// Arrangement is where the blocks of all weights of a device lie. Some blocks side
// by side in N, or as many as are left, make a panel. A panel holds its blocks k by
// k, the neighbours in n side by side: invocations that make neighbouring columns
// read neighbouring memory and, going along k, all of it in order, which is what
// caches fetch ahead. In Q8 a panel ends with a row of blocks that are its scales.
// Arrangements differ in the order of the blocks alone: a weight's size is the same
// in all.
//
// The zero Arrangement has panels of 8 blocks. Arrangements that are equal by ==
// are the same.
type Arrangement struct {
	width int // of a panel in blocks; 0, and never defaultPanel, means that
}

const defaultPanel = 8

// Panels returns the Arrangement with panels of width blocks, at least 1. With a
// width of 1 every four rows of W are a row of blocks.
func Panels(width int) Arrangement {
	if width = max(1, width); width == defaultPanel {
		return Arrangement{}
	}
	return Arrangement{width}
}

func (a Arrangement) panel() int { return cmp.Or(a.width, defaultPanel) }

func (a Arrangement) String() string { return fmt.Sprintf("panels of %d blocks", a.panel()) }

// Consts are the constants that kernels which use lib/packed.wgsl need for a: what
// shaders.Variant's With takes. The zero Arrangement needs none.
func (a Arrangement) Consts() map[string]any {
	if a == (Arrangement{}) {
		return nil
	}
	return map[string]any{"PANEL": a.panel()}
}

// Weight is a weight W [N, K] of a linear map y [N] = W · x [K], as a device holds
// it: padded with zeros to multiples of 4 and cut into blocks. The zero Weight is
// that of a tensor which is not packed.
type Weight struct {
	Name        string // for errors
	N, K        int
	Transposed  bool // its values are given as P [K, N] of y = x · P
	Format      Format
	Arrangement Arrangement
}

// Blocks is how many blocks there are along N.
func (w Weight) Blocks() int { return ceil(w.N, 4) }

// Depth is how many rows of blocks a panel holds: those along K and, in Q8, that
// of the scales.
func (w Weight) Depth() int {
	depth := ceil(w.K, 4)
	if w.Format == Q8 {
		depth++
	}
	return depth
}

// Bytes is the size on the device, in any Arrangement.
func (w Weight) Bytes() int64 {
	return 4 * int64(w.Blocks()) * int64(w.Depth()) * int64(blockWords[w.Format])
}

// PartRows is what the first row of a Part is a multiple of: whole panels that take
// a multiple of 256 bytes, at which WebGPU lets a binding begin.
func (w Weight) PartRows() int { return 64 * w.Arrangement.panel() }

// Part is the least run of whole panels from a multiple of PartRows on that holds the
// rows of W from first on, and the row it begins with. It lies as a Weight of its own.
func (w Weight) Part(first, rows int) (part Weight, from int) {
	from = first / w.PartRows() * w.PartRows()
	panel := 4 * w.Arrangement.panel()
	part = w
	part.N = min(w.N, ceil(first+rows, panel)*panel) - from
	return part, from
}

// IndexParams are the four parameters with which packed_index of lib/packed.wgsl finds the
// elements of w, in F32 or not packed, by their row-major index.
func (w Weight) IndexParams() []uint32 {
	cols, transposed := w.K, uint32(0)
	if w.Transposed {
		cols, transposed = w.N, 1
	}
	return []uint32{uint32(cols), transposed, uint32(w.Blocks()), uint32(w.Depth())}
}

// CheckRange refuses finite values that the format would round to infinity.
func (w Weight) CheckRange(values []float32) error {
	least := w.Format.Overflow()
	if math.IsInf(float64(least), 1) {
		return nil
	}
	for _, v := range values {
		if a := float32(math.Abs(float64(v))); a >= least && a <= math.MaxFloat32 {
			return fmt.Errorf("%s has the element %v, which %v cannot hold", w.Name, v, w.Format)
		}
	}
	return nil
}

func ceil(n, size int) int { return (n + size - 1) / size }
