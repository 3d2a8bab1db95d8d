// Package weights reads and writes model checkpoints.
//
// Open maps a safetensors file, a PyTorch checkpoint, a NumPy archive, a sharded
// index or a folder that holds one and checks all of its header before it
// returns; Canonical gives its tensors open_clip's names. Tensor values are
// converted piece by piece while they are read, so that no second copy of a
// checkpoint is ever in memory. Save writes safetensors, atomically.
package weights

import (
	"maps"
	"math"
	"math/bits"
	"slices"
)

// StateDict is a set of named tensors: a File, a Map, or another container.
type StateDict interface {
	// Names lists the tensors in ascending order.
	Names() []string
	// Tensor returns the named tensor; false when there is none.
	Tensor(name string) (Stored, bool)
}

// Stored is one tensor of a StateDict: what it is, and access to its elements,
// which stay where they are stored until read. Elements are in row-major
// order. Shape must not be modified. A Stored of a File is usable until the
// File is closed; from then on its methods return ErrClosed.
type Stored struct {
	Name  string
	DType DType
	Shape []int // empty for a scalar

	data       storage
	begin, end int // bytes [begin, end) of data
	strided    *strided
	parts      []Stored // instead of data: what lies one after the other along the first axis
}

// storage holds the little-endian bytes of tensors.
type storage interface {
	// view calls fn with bytes [begin, end), which are valid until fn returns.
	view(begin, end int, fn func(raw []byte) error) error
	// path is the file behind the bytes, or empty.
	path() string
}

// memory is storage on the heap.
type memory []byte

func (m memory) view(begin, end int, fn func([]byte) error) error { return fn(m[begin:end]) }
func (m memory) path() string                                     { return "" }

// Len is the number of elements, 1 for a scalar.
func (t Stored) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// View calls fn with the tensor's bytes: little-endian, of any alignment,
// read-only, and valid only until fn returns.
func (t Stored) View(fn func(raw []byte) error) error {
	if t.parts == nil {
		return t.each(0, t.Len(), func(_ Stored, _ int, raw []byte) error { return fn(raw) })
	}
	var all []byte
	err := t.each(0, t.Len(), func(_ Stored, _ int, raw []byte) error {
		all = append(all, raw...)
		return nil
	})
	if err != nil {
		return err
	}
	return fn(all)
}

// ReadF32 fills dst with the elements from index off on, converting F64, F16
// and BF16 to float32: F64 rounds, the others are exact. Other types give ErrDType.
func (t Stored) ReadF32(dst []float32, off int) error {
	return t.read(len(dst), off, "float32", func(at, n int, raw []byte, d DType) bool { return decodeF32(dst[at:at+n], raw, d) })
}

// ReadI64 fills dst with the elements from index off on, converting from any
// integer type but U64, and from BOOL as 0 and 1. Other types give ErrDType.
func (t Stored) ReadI64(dst []int64, off int) error {
	return t.read(len(dst), off, "int64", func(at, n int, raw []byte, d DType) bool { return decodeI64(dst[at:at+n], raw, d) })
}

// Exact is the element at an index as it is stored, also where that is beyond
// float32 as F64 can be. Types that are not floats give ErrDType.
func (t Stored) Exact(index int) (value float64, err error) {
	err = t.read(1, index, "float64", func(_, _ int, raw []byte, d DType) bool {
		var narrow [1]float32
		ok := decodeF32(narrow[:], raw, d)
		if value = float64(narrow[0]); d == F64 {
			value = math.Float64frombits(le.Uint64(raw))
		}
		return ok
	})
	return value, err
}

// FirstBeyond returns the index and the value of the first element that is NaN or
// at least limit in magnitude. The index is -1 if there is none, as in every tensor
// that is not of floats. An infinite limit finds NaN and infinities. FirstBeyond
// reads the tensor once, in pieces; its errors are those of ReadF32.
func (t Stored) FirstBeyond(limit float32) (index int, value float32, err error) {
	if !t.DType.IsFloat() {
		return -1, 0, nil
	}
	// Without their sign, the bits of floats are in the order of the magnitudes,
	// and NaN comes after infinity.
	const signBit = 1 << 31
	least := math.Float32bits(limit)
	buf := make([]float32, min(t.Len(), 1<<14)) // stays in the processor's cache
	for off := 0; off < t.Len(); off += len(buf) {
		buf = buf[:min(len(buf), t.Len()-off)]
		if err := t.ReadF32(buf, off); err != nil {
			return -1, 0, err
		}
		for i, v := range buf {
			if math.Float32bits(v)&^signBit >= least {
				return off + i, v, nil
			}
		}
	}
	return -1, 0, nil
}

func (t Stored) read(n, off int, as string, decode func(at, n int, raw []byte, d DType) bool) error {
	if off < 0 || off > t.Len() || n > t.Len()-off {
		return t.fail(nil, "elements %d to %d asked for, it has %d", off, off+n, t.Len())
	}
	return t.each(off, n, func(p Stored, at int, raw []byte) error {
		if !decode(at, len(raw)/max(1, p.DType.Bytes()), raw, p.DType) {
			return t.fail(ErrDType, "%v cannot be read as %s", p.DType, as)
		}
		return nil
	})
}

// each calls fn with the bytes of the n elements from index off on: in one
// piece, or one for each part that they are in. at is the number of those before.
func (t Stored) each(off, n int, fn func(p Stored, at int, raw []byte) error) error {
	size := t.DType.Bytes()
	switch {
	case t.parts != nil:
		return t.eachPart(off, n, fn)
	case t.data == nil:
		return t.fail(nil, "has no data")
	case t.strided == nil:
		return t.data.view(t.begin+off*size, t.begin+(off+n)*size, func(raw []byte) error { return fn(t, 0, raw) })
	}
	gathered := make([]byte, n*size)
	if err := t.data.view(t.begin, t.end, func(raw []byte) error {
		t.strided.gather(gathered, raw, size, off)
		return nil
	}); err != nil {
		return err
	}
	return fn(t, 0, gathered)
}

func (t Stored) eachPart(off, n int, fn func(p Stored, at int, raw []byte) error) error {
	begin := 0 // of the part
	for _, part := range t.parts {
		end := begin + part.Len()
		if lo, hi := max(off, begin), min(off+n, end); lo < hi || n == 0 && begin == 0 {
			if err := part.each(lo-begin, hi-lo, func(p Stored, at int, raw []byte) error { return fn(p, lo-off+at, raw) }); err != nil {
				return err
			}
		}
		begin = end
	}
	return nil
}

func (t Stored) fail(kind error, format string, args ...any) error {
	err := fail(kind, t.Name, format, args...)
	for t.parts != nil {
		t = t.parts[0]
	}
	if t.data != nil {
		err.Path = t.data.path()
	}
	return err
}

// FromF32 makes an F32 tensor in memory. It does not copy data, which must
// not change while the tensor is in use; len(data) must be the product of shape.
func FromF32(name string, shape []int, data []float32) (Stored, error) {
	raw := bytesOf(data)
	if !littleEndian {
		raw = encodeF32(nil, data, F32)
	}
	return inMemory(name, F32, shape, raw)
}

// FromI64 makes an I64 tensor in memory, under the same rules as FromF32.
func FromI64(name string, shape []int, data []int64) (Stored, error) {
	raw := bytesOf(data)
	if !littleEndian {
		raw = encodeI64(nil, data)
	}
	return inMemory(name, I64, shape, raw)
}

func inMemory(name string, d DType, shape []int, raw []byte) (Stored, error) {
	t := Stored{Name: name, DType: d, Shape: slices.Clone(shape), data: memory(raw), end: len(raw)}
	if want, ok := byteSize(shape, d); !ok || want != len(raw) {
		return Stored{}, t.fail(nil, "%d elements do not fill shape %v", len(raw)/d.Bytes(), shape)
	}
	return t, nil
}

// byteSize is Π shape × the element size; false when a dimension is negative
// or the product overflows an int.
func byteSize(shape []int, d DType) (int, bool) {
	n := uint(1)
	for _, dim := range append([]int{d.Bytes()}, shape...) {
		hi, lo := bits.Mul(n, uint(dim))
		if dim < 0 || hi != 0 || int(lo) < 0 {
			return 0, false
		}
		n = lo
	}
	return int(n), true
}

// Map is a StateDict in memory, by tensor name.
type Map map[string]Stored

// NewMap collects tensors by name; a later one replaces an earlier namesake.
func NewMap(tensors ...Stored) Map {
	m := make(Map, len(tensors))
	for _, t := range tensors {
		m[t.Name] = t
	}
	return m
}

// Names lists the tensors in ascending order.
func (m Map) Names() []string { return slices.Sorted(maps.Keys(m)) }

// Tensor returns the named tensor; false when there is none.
func (m Map) Tensor(name string) (Stored, bool) {
	t, ok := m[name]
	return t, ok
}
