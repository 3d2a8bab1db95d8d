package clip

import (
	"context"
	"fmt"
	"math"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/finite"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// CastFrozen stores the weights of linear maps that are frozen as c, rounded, while all
// others stay as they are: training a few groups of a large model takes less memory so.
// What c cannot hold stays in f32, and a warning names it. It must come after the locks,
// before train.New, before the model first computes and while no other call uses it; later
// it gives ErrInput and changes nothing. A weight that has been rounded cannot be trained
// any more.
func (m *Model) CastFrozen(ctx context.Context, c CastDType) error {
	format, err := towers.Format(string(c))
	if err != nil {
		return err
	}
	if err := m.inspect(ctx); err != nil { // by the formats that there are
		return err
	}
	var chosen []*graph.Param
	var states []*graph.State
	for _, p := range m.towers.LinearWeights() {
		if p.Frozen && p.Format != format {
			chosen, states = append(chosen, p), append(states, &p.State)
		}
	}
	if err := m.Store().MayFree(states...); err != nil {
		return fmt.Errorf("%w: frozen weights can be stored as %s before the model first computes: %w", ErrInput, c, err)
	}
	var unfit []string
	for _, p := range chosen {
		values := make([]float32, p.Shape.Elems())
		if err := m.Store().ReadParam(ctx, p, values); err != nil {
			return err
		}
		if !format.Fits(largest(values)) {
			unfit = append(unfit, p.Name)
			continue
		}
		if err := m.Store().Free(&p.State); err != nil {
			return err
		}
		m.changed.Store(true)
		p.Format = format
		if err := m.Store().Write(ctx, &p.State, values); err != nil {
			return err
		}
	}
	if unfit != nil {
		m.inspecting.Lock()
		defer m.inspecting.Unlock()
		m.source.Warnings = append(m.source.Warnings, fmt.Sprintf("stored in f32, as %s cannot hold it: tensor %s", c, finite.FirstFew(unfit)))
	}
	return nil
}

// largest is the greatest magnitude of the finite values.
func largest(values []float32) float32 {
	most := float32(0)
	for _, v := range values {
		if v = float32(math.Abs(float64(v))); finite.Is(v) {
			most = max(most, v)
		}
	}
	return most
}
