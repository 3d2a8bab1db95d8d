package checkpoint

import (
	"context"
	"fmt"
	"maps"
	"math"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/finite"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// Inspect reads all weights. It remembers the tensors that hold NaN or infinities,
// and stores in float32 a tensor that does not fit the format of its parameter.
// Warnings tell of both.
func (c *Checkpoint) Inspect(ctx context.Context) error {
	if c.src == nil { // random weights are what they should be
		return nil
	}
	params := maps.Collect(c.Model.Parameters())
	var wide []string
	for _, name := range c.src.Names() {
		if err := ctx.Err(); err != nil {
			return err
		}
		t, _ := c.src.Tensor(name)
		var format packing.Format
		if p := params[name]; p != nil {
			format = p.Format
		}
		i, v, err := unfit(t, format) // of F64, beyond float32 is Inf
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
			c.NotFinite = append(c.NotFinite, finite.Exception{Tensor: name, Element: i, Value: exact})
		}
	}
	if len(wide) > 0 {
		c.Warnings = append(c.Warnings, "stored in f32, as fewer bits cannot hold it: tensor "+finite.FirstFew(wide))
	}
	c.Warnings = append(c.Warnings, c.NotFinite.Warnings()...)
	return nil
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
