package weights

import (
	"slices"
)

// strided is an order of a tensor's elements other than their file's. Walking
// dims in row-major order gives the elements of Shape, whose dimensions can be
// others with the same product.
type strided struct {
	dims, strides []int // in elements, none negative
}

// gather fills dst with the elements, of size bytes each, from index off on.
func (s *strided) gather(dst, raw []byte, size, off int) {
	index := make([]int, len(s.dims))
	at := 0 // in elements
	for i := len(s.dims) - 1; i >= 0; i-- {
		index[i] = off % max(1, s.dims[i])
		off /= max(1, s.dims[i])
		at += index[i] * s.strides[i]
	}
	for i := 0; i < len(dst); i += size {
		copy(dst[i:i+size], raw[at*size:])
		for axis := len(s.dims) - 1; axis >= 0; axis-- {
			at += s.strides[axis]
			if index[axis]++; index[axis] < s.dims[axis] {
				break
			}
			at -= index[axis] * s.strides[axis]
			index[axis] = 0
		}
	}
}

// contiguous are the strides of row-major order.
func contiguous(shape []int) []int {
	strides := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		strides[i] = n
		n *= shape[i]
	}
	return strides
}

// isContiguous tells whether strides are those of row-major order where it matters.
func isContiguous(shape, strides []int) bool {
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] != 1 && strides[i] != n {
			return false
		}
		n *= shape[i]
	}
	return true
}

// permute reorders the axes of a tensor that has not been reshaped, as NumPy's
// transpose does.
func (t Stored) permute(axes ...int) (Stored, error) {
	s := t.strided
	if s == nil {
		s = &strided{t.Shape, contiguous(t.Shape)}
	}
	if t.parts != nil || !slices.Equal(s.dims, t.Shape) || len(axes) != len(t.Shape) {
		return t, t.fail(ErrMalformed, "shape %v, %d dimensions expected", t.Shape, len(axes))
	}
	p := &strided{make([]int, len(axes)), make([]int, len(axes))}
	for i, axis := range axes {
		p.dims[i], p.strides[i] = s.dims[axis], s.strides[axis]
	}
	t.Shape, t.strided = p.dims, p
	return t, nil
}

// reshape gives the same elements another shape of as many.
func (t Stored) reshape(shape ...int) (Stored, error) {
	r := t
	r.Shape = shape
	if r.Len() != t.Len() || slices.Min(append([]int{0}, shape...)) < 0 {
		return t, t.fail(ErrMalformed, "shape %v cannot become %v", t.Shape, shape)
	}
	return r, nil
}

// rows is the part [lo, hi) along the first axis of a tensor that has not been reshaped.
func (t Stored) rows(lo, hi int) (Stored, error) {
	s := t.strided
	if s == nil {
		s = &strided{t.Shape, contiguous(t.Shape)}
	}
	if t.parts != nil || !slices.Equal(s.dims, t.Shape) || len(t.Shape) == 0 || lo < 0 || lo > hi || hi > t.Shape[0] {
		return t, t.fail(ErrMalformed, "shape %v has no rows %d to %d", t.Shape, lo, hi)
	}
	row := s.strides[0] * t.DType.Bytes()
	t.Shape = append([]int{hi - lo}, t.Shape[1:]...)
	t.begin += lo * row
	if t.strided == nil {
		t.end = t.begin + (hi-lo)*row
	} else {
		t.strided = &strided{t.Shape, s.strides}
	}
	return t, nil
}

// concat joins tensors along their first axis.
func concat(name string, parts ...Stored) (Stored, error) {
	first := parts[0]
	shape := slices.Clone(first.Shape)
	for _, p := range parts[1:] {
		if len(p.Shape) == 0 || len(shape) == 0 || !slices.Equal(p.Shape[1:], shape[1:]) || p.DType != first.DType {
			return first, p.fail(ErrMalformed, "%v %v does not go with %s, %v %v", p.DType, p.Shape, first.Name, first.DType, first.Shape)
		}
		shape[0] += p.Shape[0]
	}
	return Stored{Name: name, DType: first.DType, Shape: shape, parts: parts}, nil
}
