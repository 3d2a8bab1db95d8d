package graph

import (
	"fmt"
	"math"
	"sync"

	"github.com/clip-wgpu/clip-wgpu/internal/half"
)

// Layout is how a State lies on the device. It follows from the State's role and
// the model's choice of precision, never from a kernel or a batch, so that all
// programs share one copy.
//
// The packed layouts are for a weight W [N, K …] of a linear map y = x·Wᵀ, its
// dimensions but the first flattened, or, where State.Transposed, for P [K, N] of
// y = x·P. W is padded with zeros to multiples of 4 and cut into blocks of 4 × 4;
// within a block element (n, k) comes at 4·k + n, so that the four n of one k
// are a vec4. 8 blocks side by side in n (or as many as are left) make a panel,
// which holds its blocks k by k, the neighbours in n side by side: invocations
// that make neighbouring columns read neighbouring memory and, going along k, all
// of it in order, which is what caches fetch ahead.
type Layout uint8

const (
	RowMajor   Layout = iota // f32 or i32, one row after the other
	PackedF32                // blocks of 64 bytes
	PackedF16                // blocks of 32 bytes, IEEE 754 binary16, rounded to nearest
	PackedBF16               // blocks of 32 bytes, bfloat16, rounded to nearest
	PackedQ8                 // blocks of 16 bytes, see below; a panel ends with its scales
)

// In PackedQ8 a row n of W has its own scale, its largest magnitude. An element
// is its byte, a signed integer, and the bytes below that in its word, a
// fraction, times scale/127: a shift and a conversion decode it, and since the
// fraction is known when the integer is chosen, the element is still within half
// a step.

func (l Layout) String() string {
	return [...]string{"row-major", "f32", "f16", "bf16", "q8"}[l]
}

// Overflow is the least magnitude that the layout rounds to infinity. Layouts that
// round no finite number to infinity have +Inf.
func (l Layout) Overflow() float32 {
	switch l {
	case PackedF16:
		return half.OverflowF16
	case PackedBF16:
		return half.OverflowBF16
	}
	return float32(math.Inf(1))
}

// Underflow is the magnitude below which the layout has fewer digits: 0 where
// that is none. A weight without a larger element is not worth storing so.
func (l Layout) Underflow() float32 {
	if l == PackedF16 {
		return half.UnderflowF16
	}
	return 0
}

// PanelBlocks is how many blocks lie side by side in a panel, but for the last.
const PanelBlocks = 8

// blockWords is the length of a packed block in 32-bit words.
var blockWords = [...]int{PackedF32: 16, PackedF16: 8, PackedBF16: 8, PackedQ8: 4}

// Packed tells whether s lies in blocks.
func (s *State) Packed() bool { return s.Layout != RowMajor }

// Matrix gives the sizes of the linear map y [N] = f(x [K]) that s, of at least
// one dimension, is the weight of.
func (s *State) Matrix() (n, k int) {
	if s.Transposed {
		return s.Shape[len(s.Shape)-1], s.Shape[:len(s.Shape)-1].Elems()
	}
	return s.Shape[0], s.Shape[1:].Elems()
}

// Depth is how many rows of blocks a panel holds: those along k and, in
// PackedQ8, that of the scales.
func (s *State) Depth() int {
	_, k := s.Matrix()
	depth := Ceil(k, 4)
	if s.Layout == PackedQ8 {
		depth++
	}
	return depth
}

// Bytes is the size on the device.
func (s *State) Bytes() int64 {
	if !s.Packed() {
		return s.Spec.Bytes()
	}
	n, _ := s.Matrix()
	return 4 * int64(Ceil(n, 4)) * int64(s.Depth()) * int64(blockWords[s.Layout])
}

// Places are the parameters that lib/packed.wgsl's place takes to find the
// elements of s, row-major or PackedF32.
func (s *State) Places() []uint32 {
	if s == nil || !s.Packed() {
		return make([]uint32, 4)
	}
	n, cols := s.Matrix()
	transposed := uint32(0)
	if s.Transposed {
		cols, transposed = n, 1
	}
	return []uint32{uint32(cols), transposed, uint32(Ceil(n, 4)), uint32(s.Depth())}
}

// Trainable refuses a State whose layout rounds what is assigned.
func (s *State) Trainable() error {
	if s.Packed() && s.Layout != PackedF32 {
		return fmt.Errorf("%s is stored as %v: training wants its weights in f32", s.Name, s.Layout)
	}
	return nil
}

// panelRun is what streams from a Source at a time: whole panels, with their first
// row of W, how many rows, and their place in words.
type panelRun struct{ row, rows, at, words int }

// panelRunRows is how many rows of W a panelRun has, but for the last.
const panelRunRows = 8 * 4 * PanelBlocks

func (s *State) panelRuns() []panelRun {
	n, _ := s.Matrix()
	var all []panelRun
	at := 0
	for row := 0; row < n; row += panelRunRows {
		rows := min(panelRunRows, n-row)
		words := s.words(rows)
		all = append(all, panelRun{row, rows, at, words})
		at += words
	}
	return all
}

// words is the length of panels of so many rows of W.
func (s *State) words(rows int) int { return Ceil(rows, 4) * s.Depth() * blockWords[s.Layout] }

// Pack reads a packed State's values, row-major, and writes what the device
// holds, some panels at a time: words to be stored at an offset in bytes, valid
// until write returns. It returns the first error of read, CheckRange or write.
func (s *State) Pack(read func(dst []float32, offset int) error, write func(offset int64, words []uint32) error) error {
	_, k := s.Matrix()
	m := scratches.Get().(*scratch)
	defer scratches.Put(m)
	for _, p := range s.panelRuns() {
		m.values, m.words = resized(m.values, p.rows*k), resized(m.words, p.words)
		if err := s.move(p, m.values, read); err != nil {
			return err
		}
		if err := s.CheckRange(m.values); err != nil {
			return err
		}
		s.eachPanel(p, m.values, m.words, s.encode)
		if err := write(4*int64(p.at), m.words); err != nil {
			return err
		}
	}
	return nil
}

// CheckRange refuses finite values that the layout would round to infinity.
func (s *State) CheckRange(values []float32) error {
	least := s.Layout.Overflow()
	if math.IsInf(float64(least), 1) {
		return nil
	}
	for _, v := range values {
		if a := float32(math.Abs(float64(v))); a >= least && a <= math.MaxFloat32 {
			return fmt.Errorf("%s has the element %v, which %v cannot hold", s.Name, v, s.Layout)
		}
	}
	return nil
}

// Unpack is Pack's way back: it reads what the device holds and writes the
// values, row-major.
func (s *State) Unpack(read func(words []uint32, offset int64) error, write func(offset int, values []float32) error) error {
	_, k := s.Matrix()
	var values []float32
	var words []uint32
	for _, p := range s.panelRuns() {
		values, words = resized(values, p.rows*k), resized(words, p.words)
		if err := read(words, 4*int64(p.at)); err != nil {
			return err
		}
		s.eachPanel(p, values, words, s.decode)
		err := s.move(p, values, func(part []float32, offset int) error { return write(offset, part) })
		if err != nil {
			return err
		}
	}
	return nil
}

// scratch is what a panelRun is packed in, reused: a model has hundreds of weights,
// and clearing new memory for each shows in the time it takes to load.
type scratch struct {
	values []float32
	words  []uint32
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// resized is a slice of length n, in the memory of s where that is enough.
func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// move hands the parts of a panelRun's values to f with their offsets in the whole:
// rows of W in one piece, or k columns of rows.
func (s *State) move(p panelRun, values []float32, f func(part []float32, offset int) error) error {
	n, k := s.Matrix()
	if !s.Transposed {
		return f(values, p.row*k)
	}
	for i := range k {
		if err := f(values[i*p.rows:(i+1)*p.rows], i*n+p.row); err != nil {
			return err
		}
	}
	return nil
}

// panel is a panel's values, as they lie among those of its panelRun, and its words.
type panel struct {
	rows       int       // of W
	values     []float32 // from its first on
	byRow, byK int       // the distances of neighbours in n and k
	words      []uint32
}

func (s *State) eachPanel(p panelRun, values []float32, words []uint32, f func(panel)) {
	_, width := s.Matrix()
	byRow, byK := width, 1
	if s.Transposed {
		byRow, byK = 1, p.rows
	}
	for row := 0; row < p.rows; row += 4 * PanelBlocks {
		rows := min(4*PanelBlocks, p.rows-row)
		length := s.words(rows)
		f(panel{rows, values[row*byRow:], byRow, byK, words[:length]})
		words = words[length:]
	}
}

// leastScale is the least scale of PackedQ8. Below it 127/scale would overflow, so
// rows whose numbers are all that small are stored as zeros.
const leastScale = 0x1p-120

// block is 4 × 4 elements of W, those of one k side by side.
type block [16]float32

// encode makes the words of a panel from its values.
func (s *State) encode(p panel) {
	_, depth := s.Matrix()
	width, size := Ceil(p.rows, 4), blockWords[s.Layout]
	scales := p.words[len(p.words)-4*width:]
	for row := 0; row < p.rows; row += 4 {
		rows := min(4, p.rows-row)
		var toInt [4]float32
		if s.Layout == PackedQ8 {
			for j := range 4 {
				scale := float32(0)
				if j < rows {
					scale = largest(p.values[(row+j)*p.byRow:], p.byK, depth)
				}
				if scale < leastScale {
					scale = 0
				}
				scales[row+j] = math.Float32bits(scale)
				if scale > 0 {
					toInt[j] = 127 / scale
				}
			}
		}
		for k := 0; k < depth; k += 4 {
			var b block
			for i := range min(4, depth-k) {
				at := p.values[row*p.byRow+(k+i)*p.byK:]
				for j := range rows {
					b[4*i+j] = at[j*p.byRow]
				}
			}
			s.Layout.put(p.words[(k/4*width+row/4)*size:][:size], &b, &toInt)
		}
	}
}

// put stores b. toInt takes the elements of each of four rows to PackedQ8's integers.
func (l Layout) put(words []uint32, b *block, toInt *[4]float32) {
	switch l {
	case PackedF32:
		for i, v := range b {
			words[i] = math.Float32bits(v)
		}
	case PackedF16:
		for i := range words {
			words[i] = uint32(half.F32ToF16(b[2*i])) | uint32(half.F32ToF16(b[2*i+1]))<<16
		}
	case PackedBF16:
		for i := range words {
			words[i] = uint32(half.F32ToBF16(b[2*i])) | uint32(half.F32ToBF16(b[2*i+1]))<<16
		}
	case PackedQ8:
		for i := range words {
			words[i] = 0
			for j, f := range toInt {
				fraction := float64(words[i]) / float64(uint32(1)<<(8*j))
				q := int8(math.RoundToEven(float64(b[4*i+j]*f) - fraction))
				words[i] |= uint32(uint8(q)) << (8 * j)
			}
		}
	}
}

// largest is the largest magnitude of count values, stride apart.
func largest(values []float32, stride, count int) float32 {
	m := float32(0)
	for i := range count {
		m = max(m, float32(math.Abs(float64(values[i*stride]))))
	}
	return m
}

// decode makes a panel's values from its words.
func (s *State) decode(p panel) {
	_, depth := s.Matrix()
	width, size := Ceil(p.rows, 4), blockWords[s.Layout]
	scales := p.words[len(p.words)-4*width:]
	for row := 0; row < p.rows; row += 4 {
		rows := min(4, p.rows-row)
		for k := 0; k < depth; k += 4 {
			b := s.Layout.get(p.words[(k/4*width+row/4)*size:][:size])
			for i := range min(4, depth-k) {
				at := p.values[row*p.byRow+(k+i)*p.byK:]
				for j := range rows {
					v := b[4*i+j]
					if s.Layout == PackedQ8 {
						v *= math.Float32frombits(scales[row+j])
					}
					at[j*p.byRow] = v
				}
			}
		}
	}
}

// get is a block, before PackedQ8's scales.
func (l Layout) get(words []uint32) (b block) {
	for i := range b {
		switch l {
		case PackedF32:
			b[i] = math.Float32frombits(words[i])
		case PackedF16:
			b[i] = half.F16ToF32(uint16(words[i/2] >> (i % 2 * 16)))
		case PackedBF16:
			b[i] = half.BF16ToF32(uint16(words[i/2] >> (i % 2 * 16)))
		case PackedQ8:
			b[i] = float32(int32(words[i/4]<<(24-i%4*8))) / (127 << 24)
		}
	}
	return b
}
