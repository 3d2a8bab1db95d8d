package clip

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// CastDType is open_clip's cast_dtype: how the device stores the weights of the
// linear maps, which are nearly all of a transformer. Arithmetic, and all other
// parameters, stay in float32.
type CastDType string

const (
	F32  CastDType = "f32"
	F16  CastDType = "f16"  // IEEE 754 binary16, rounded to nearest
	BF16 CastDType = "bf16" // bfloat16, rounded to nearest
	Q8   CastDType = "q8"   // 8-bit integers, with a scale for every output of a map
)

// ParseCastDType checks the name of a CastDType; errors match ErrInput.
func ParseCastDType(name string) (CastDType, error) {
	_, err := CastDType(name).format()
	return CastDType(name), err
}

func (c CastDType) format() (packing.Format, error) {
	for _, f := range []packing.Format{packing.F32, packing.F16, packing.BF16, packing.Q8} {
		if string(c) == f.String() {
			return f, nil
		}
	}
	return 0, fmt.Errorf("%w: weights as %q, want f32, f16, bf16 or q8", ErrInput, string(c))
}

// WithCastDType chooses how the device stores weights (F32). Only F32 can be
// trained.
func WithCastDType(c CastDType) Option { return func(o *options) { o.castDType = c } }

// cast sets the format of all packed weights.
func (e *engine) cast(c CastDType) error {
	format, err := c.format()
	if err != nil {
		return err
	}
	weights.Find(e.root, func(_ string, w *layers.Weight) {
		if w.Packed() {
			w.Format = format
		}
	})
	return nil
}
