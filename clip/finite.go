package clip

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/finite"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/internal/await"
)

// NotFiniteError says that features or logits hold NaN or infinities: whatever is
// computed from them would be no number. The methods of Model that return one
// tensor return it beside this error, so that a caller can go on with other items.
type NotFiniteError struct {
	Of    string // "image features", "text features", another output of a tower, or "logits"
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

// finiteOutputs returns a *NotFiniteError unless all outputs of a tower are finite.
func (m *Model) finiteOutputs(ctx context.Context, tower string, outs map[string]Array, part func(name string) bool, inputs ...Array) error {
	for _, name := range slices.Sorted(maps.Keys(outs)) {
		if err := m.finite(ctx, tower+" "+name, outs[name], part, inputs...); err != nil {
			return err
		}
	}
	return nil
}

// finiteLogits returns a *NotFiniteError unless all logits are finite. Where neither
// weights nor features hold NaN or Inf, an infinite logit scale is named as the cause.
func (m *Model) finiteLogits(ctx context.Context, logits, imageFeatures, textFeatures Array) error {
	err := m.finite(ctx, "logits", logits, isLogit, imageFeatures, textFeatures)
	var odd *NotFiniteError
	if scale := m.LogitScale(); errors.As(err, &odd) && odd.Cause == overflow && !finite.Is(scale) {
		odd.Cause = fmt.Sprintf("the exponential of tensor logit_scale is %v", scale)
	}
	return err
}

// overflow is the cause where neither weights nor inputs hold NaN or infinities.
const overflow = "neither the weights nor the input hold any, so float32 has overflowed"

// finite returns nil or, where t [n, ...] holds NaN or infinities, an error. Its
// cause is tensors of that part of the state dict or, without such, the inputs.
func (m *Model) finite(ctx context.Context, of string, t Array, part func(name string) bool, inputs ...Array) error {
	var items []int
	n := t.Shape[0]
	for i := range n {
		item := len(t.Data) / n
		if !finite.All(t.Data[i*item : (i+1)*item]) {
			items = append(items, i)
		}
	}
	if items == nil {
		return nil
	}
	used, unread := m.notFinite(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	used = slices.DeleteFunc(used, func(t finite.Exception) bool { return !part(t.Tensor) })
	cause := strings.Join(used.Warnings(), "; ")
	switch {
	case cause != "":
	case unread != nil:
		cause = unread.Error()
	case slices.ContainsFunc(inputs, func(t Array) bool { return !finite.All(t.Data) }):
		cause = "the input holds NaN or Inf"
	default:
		cause = overflow
	}
	return &NotFiniteError{Of: of, Items: items, Cause: cause}
}

// notFinite lists the tensors that hold NaN or infinities in the source.
func (m *Model) notFinite(ctx context.Context) (finite.Exceptions, error) {
	return await.Do(ctx, func() (finite.Exceptions, error) {
		err := m.inspect(ctx)
		m.inspecting.Lock()
		defer m.inspecting.Unlock()
		return slices.Clone(m.source.NotFinite), err
	}, nil)
}

// isImage, isLogit and isText tell the parts of the state dict apart. The text tower's names
// have no prefix of their own: they are those that belong neither to the image tower, nor to
// the scale and bias of the logits, nor to a decoder.
func (m *Model) isImage(name string) bool { return strings.HasPrefix(name, m.towers.ImageScope()+".") }

func (m *Model) isText(name string) bool {
	return !m.isImage(name) && !isLogit(name) && !strings.HasPrefix(name, towers.DecoderScope+".")
}

func isLogit(name string) bool { return strings.HasPrefix(name, "logit_") }
