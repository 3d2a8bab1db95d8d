package checkpoint

import (
	"context"
	"fmt"
	"maps"
	"math"
	"sync"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/finite"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// Inspect reads the weights, but for those that others have read before from one end to
// the other. It remembers the tensors that hold NaN or infinities, and stores in float32
// a tensor that does not fit the format of its parameter. Warnings tell of both. Call it
// once: a second call would repeat its warnings.
func (c *Checkpoint) Inspect(ctx context.Context) error {
	if c.src == nil { // random weights are what they should be
		return nil
	}
	params := maps.Collect(c.Model.Parameters())
	var odd finite.Exceptions
	var wide []string
	for _, name := range c.src.Names() {
		if err := ctx.Err(); err != nil {
			return err
		}
		t, _ := c.src.Tensor(name)
		i, v, err := firstOdd(t, params[name]) // of F64, beyond float32 is Inf
		if err == nil && i >= 0 && finite.Is(v) {
			wide = append(wide, fmt.Sprintf("%s (element %d is %v)", name, i, v))
			params[name].Format = packing.F32
			i, _, err = t.FirstBeyond(float32(math.Inf(1)))
		}
		if err != nil {
			return err
		}
		if i >= 0 {
			exact, err := t.Exact(i)
			if err != nil {
				return err
			}
			odd = append(odd, finite.Exception{Tensor: name, Element: i, Value: exact})
		}
	}
	if len(wide) > 0 {
		c.Warnings = append(c.Warnings, "stored in f32, as fewer bits cannot hold it: tensor "+finite.FirstFew(wide))
	}
	c.NotFinite, c.Warnings = odd, append(c.Warnings, odd.Warnings()...)
	return nil
}

// Narrow reports whether the format of some parameter cannot hold all of float32. Then
// Inspect must come before the parameters are used.
func (c *Checkpoint) Narrow() bool {
	for _, p := range c.Model.Parameters() {
		if isNarrow(p.Format) {
			return true
		}
	}
	return false
}

func isNarrow(f packing.Format) bool { return finite.Is(f.Overflow()) || f.Underflow() > 0 }

// firstOdd is unfit for the tensor t of p, which may be nil. It does not read a tensor
// again that p's source was watched to be read.
func firstOdd(t weights.Stored, p *graph.Param) (index int, value float32, err error) {
	if p == nil {
		return unfit(t, packing.RowMajor)
	}
	if w, ok := p.Source.(*watched); ok && !isNarrow(p.Format) {
		if index, value, known := w.found(); known {
			return index, value, nil
		}
	}
	return unfit(t, p.Format)
}

// watched is a tensor that looks for NaN and infinities in what is read of it, as long
// as it is read from one end to the other: so a file is read once.
type watched struct {
	weights.Stored
	mu    sync.Mutex
	next  int // the elements before it have been read
	index int // of the first of them that is not finite, or -1
	value float32
}

// watch makes the sources of all parameters watched ones.
func (c *Checkpoint) watch() {
	for _, p := range c.Model.Parameters() {
		if t, ok := p.Source.(weights.Stored); ok {
			p.Source = &watched{Stored: t, index: -1}
		}
	}
}

// ReadF32 implements graph.Source.
func (w *watched) ReadF32(dst []float32, offset int) error {
	if err := w.Stored.ReadF32(dst, offset); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if offset == w.next && w.index < 0 {
		w.next += len(dst)
		if i := finite.FirstNot(dst); i >= 0 {
			w.index, w.value = offset+i, dst[i]
		}
	}
	return nil
}

// found returns what Stored.FirstBeyond would for infinity, if that is known.
func (w *watched) found() (index int, value float32, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.index, w.value, w.index >= 0 || w.next == w.Len()
}

// unfit returns the first element of t that a format rounds to infinity. Where
// all elements are too small for its digits, that is the first one but zeros. The
// index is -1 where t fits; NaN and infinities do not.
func unfit(t weights.Stored, f packing.Format) (index int, value float32, err error) {
	index, value, err = t.FirstBeyond(f.Overflow())
	if err != nil || index >= 0 || f.Underflow() == 0 {
		return index, value, err
	}
	if large, _, err := t.FirstBeyond(f.Underflow()); err != nil || large >= 0 {
		return -1, 0, err
	}
	return t.FirstBeyond(math.SmallestNonzeroFloat32)
}
