package clip

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// NotFiniteError says that features or logits hold NaN or infinities: whatever is
// computed from them would be no number. The methods of Model that return one
// tensor return it beside this error, so that a caller can go on with other items.
type NotFiniteError struct {
	Of    string // "image features", "text features" or "logits"
	Items []int  // indices along the first dimension, ascending
	Cause string // which weights or input held NaN or infinities before, or that none did
}

func (e *NotFiniteError) Error() string {
	text := fmt.Sprintf("NaN or Inf in the %s of item %d", e.Of, e.Items[0])
	if others := len(e.Items) - 1; others > 0 {
		text += fmt.Sprintf(" and %d more", others)
	}
	return text + ": " + e.Cause
}

// finiteImages returns a *NotFiniteError unless all features of images are finite.
func (e *engine) finiteImages(features, images Tensor) error {
	return e.finite("image features", features, func(name string) bool { return strings.HasPrefix(name, "visual.") }, images)
}

// finiteTexts does the same for texts.
func (e *engine) finiteTexts(features Tensor) error {
	return e.finite("text features", features, func(name string) bool {
		return !strings.HasPrefix(name, "visual.") && !strings.HasPrefix(name, "logit_")
	})
}

// finiteLogits does the same for logits, whose cause may also be the scale.
func (e *engine) finiteLogits(logits, imageFeatures, textFeatures Tensor) error {
	err := e.finite("logits", logits, func(name string) bool { return strings.HasPrefix(name, "logit_") }, imageFeatures, textFeatures)
	var odd *NotFiniteError
	if scale := e.LogitScale(); errors.As(err, &odd) && odd.Cause == overflow && !isFinite(scale) {
		odd.Cause = fmt.Sprintf("the exponential of tensor logit_scale is %v", scale)
	}
	return err
}

// overflow is the cause where neither weights nor inputs hold NaN or infinities.
const overflow = "neither the weights nor the input hold any, so float32 has overflowed"

// finite returns nil or, where t [n, ...] holds NaN or infinities, an error. Its
// cause is tensors of that part of the state dict or, without such, the inputs.
func (e *engine) finite(of string, t Tensor, part func(name string) bool, inputs ...Tensor) error {
	var items []int
	n := t.Shape[0]
	for i := range n {
		item := len(t.Data) / n
		if !allFinite(t.Data[i*item : (i+1)*item]) {
			items = append(items, i)
		}
	}
	if items == nil {
		return nil
	}
	used := slices.DeleteFunc(slices.Clone(e.notFinite), func(t notFiniteTensor) bool { return !part(t.name) })
	cause := strings.Join(used.warnings(), "; ")
	switch {
	case cause != "":
	case slices.ContainsFunc(inputs, func(t Tensor) bool { return !allFinite(t.Data) }):
		cause = "the input holds NaN or Inf"
	default:
		cause = overflow
	}
	return &NotFiniteError{Of: of, Items: items, Cause: cause}
}

func isFinite(v float32) bool { return v-v == 0 } // NaN and infinities give NaN

func allFinite(values []float32) bool {
	for _, v := range values {
		if !isFinite(v) {
			return false
		}
	}
	return true
}

// unfit returns the first element of t that a format rounds to infinity. Where
// all elements are too small for its digits, that is the first one but zeros. The
// index is -1 where t fits; NaN and infinities do not.
func unfit(t weights.Tensor, f packing.Format) (index int, value float32, err error) {
	index, value, err = t.FirstBeyond(f.Overflow())
	if err != nil || index >= 0 || f.Underflow() == 0 {
		return index, value, err
	}
	if large, _, err := t.FirstBeyond(f.Underflow()); err != nil || large >= 0 {
		return -1, 0, err
	}
	return t.FirstBeyond(math.SmallestNonzeroFloat32)
}

// inspect reads all weights. It remembers the tensors that hold NaN or infinities.
// It stores a tensor in float32 that does not fit the storage which cast chose.
// Warnings tell of both.
func (e *engine) inspect(ctx context.Context, src weights.Source) error {
	params := map[string]*graph.Param{}
	for name, p := range e.root.Parameters() {
		params[name] = p
	}
	var wide []string
	for _, name := range src.Names() {
		if err := ctx.Err(); err != nil {
			return err
		}
		t, _ := src.Tensor(name)
		var format packing.Format
		if p := params[name]; p != nil {
			format = p.Format
		}
		i, v, err := unfit(t, format) // of F64, beyond float32 is Inf
		if err == nil && i >= 0 && isFinite(v) {
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
			e.notFinite = append(e.notFinite, notFiniteTensor{name, i, exact})
		}
	}
	if len(wide) > 0 {
		e.warnings = append(e.warnings, "stored in f32, as fewer bits cannot hold it: tensor "+firstFew(wide))
	}
	e.warnings = append(e.warnings, e.notFinite.warnings()...)
	return nil
}

// notFinite are the tensors that hold, in float32, NaN or infinities.
type notFinite []notFiniteTensor

type notFiniteTensor struct {
	name    string
	element int     // index of the first that is not finite
	value   float64 // of that element, as stored: finite where float32 cannot hold it
}

// warnings are one for each of NaN, infinities and numbers that become one,
// however many tensors hold them: after a training that diverged it is all of them.
func (n notFinite) warnings() []string {
	var nan, inf, beyond []string
	for _, b := range n {
		where := fmt.Sprintf("%s (element %d)", b.name, b.element)
		switch {
		case math.IsNaN(b.value):
			nan = append(nan, where)
		case math.IsInf(b.value, 0):
			inf = append(inf, where)
		default:
			beyond = append(beyond, fmt.Sprintf("%s (element %d is %v)", b.name, b.element, b.value))
		}
	}
	var texts []string
	if beyond != nil {
		texts = append(texts, "computed as Inf, as float32 cannot hold it: tensor "+firstFew(beyond))
	}
	if nan != nil {
		texts = append(texts, "NaN in tensor "+firstFew(nan))
	}
	if inf != nil {
		texts = append(texts, "Inf in tensor "+firstFew(inf))
	}
	return texts
}

// firstFew lists the first three of names and counts the others.
func firstFew(names []string) string {
	named := names[:min(len(names), 3)]
	text := strings.Join(named, ", ")
	if more := len(names) - len(named); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
