package clip

import (
	"context"
	"fmt"
	"math"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/finite"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
)

// CastFrozen stores the weights of linear maps that are frozen as c, rounded, while all
// others stay as they are: training a few groups of a large model takes less memory so.
// What c cannot hold stays in f32, and a warning names it. It must come after the locks, before train.New,
// before the model first computes and while no other call uses it; later it gives
// ErrInput. A weight that has been rounded cannot be trained any more.
func (m *Model) CastFrozen(ctx context.Context, c CastDType) error {
	format, err := towers.Format(string(c))
	if err != nil {
		return err
	}
	var unfit []string
	for _, p := range m.towers.LinearWeights() {
		if !p.Frozen || p.Format == format {
			continue
		}
		values := make([]float32, p.Shape.Elems())
		if err := m.Store().ReadParam(ctx, p, values); err != nil {
			return err
		}
		if !fits(values, format.Overflow(), format.Underflow()) {
			unfit = append(unfit, p.Name)
			continue
		}
		if err := m.Store().Free(&p.State); err != nil {
			return fmt.Errorf("%w: frozen weights can be stored as %s before the model first computes: %w", ErrInput, c, err)
		}
		p.Format = format
		if err := m.Store().Write(ctx, &p.State, values); err != nil {
			return err
		}
	}
	if unfit != nil {
		m.source.Warnings = append(m.source.Warnings, fmt.Sprintf("stored in f32, as %s cannot hold it: tensor %s", c, finite.FirstFew(unfit)))
	}
	return nil
}

// fits reports whether a format can store values. It cannot where a finite value
// reaches overflow, from where on the format has infinities, or where all values are
// below underflow, where it loses digits.
func fits(values []float32, overflow, underflow float32) bool {
	largest := float32(0)
	for _, v := range values {
		if v = float32(math.Abs(float64(v))); finite.Is(v) {
			largest = max(largest, v)
		}
	}
	return largest < overflow && (largest == 0 || largest >= underflow)
}
