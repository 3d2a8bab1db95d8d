package train

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// State reads what the optimizer has kept, to go on later by LoadState: the number
// of steps as "step" and a tensor like each trainable parameter for each of the
// rule's moments, named "exp_avg.logit_scale" and so on, and with Config.EMADecay the
// averages, named "ema.logit_scale". With Parameters it is a whole checkpoint.
func (t *Trainer) State(ctx context.Context) (map[string]clip.Array, error) {
	if err := t.acquire(ctx); err != nil {
		return nil, err
	}
	defer t.turn.Unlock()
	if err := t.beginAverages(ctx); err != nil {
		return nil, err
	}
	all := map[string]clip.Array{"step": {Shape: []int{}, Data: []float32{float32(t.step)}}}
	for name, p := range t.moments() {
		var err error
		if all[name], err = t.read(ctx, p); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// maxSteps is the most steps that float32 counts.
const maxSteps = 1 << 24

// LoadState makes the trainer go on where the one was that State was called on. Both
// have the same rule and trainable parameters: a tensor that is missing, unknown or of
// another shape gives clip.ErrInput, with its name, and changes nothing.
func (t *Trainer) LoadState(ctx context.Context, state map[string]clip.Array) error {
	if err := t.acquire(ctx); err != nil {
		return err
	}
	defer t.turn.Unlock()
	moments := t.moments()
	step := state["step"]
	if len(step.Data) != 1 || !(step.Data[0] >= 0 && step.Data[0] <= maxSteps && step.Data[0] == float32(math.Trunc(float64(step.Data[0])))) {
		return fmt.Errorf("%w: step is %v, want one whole number up to %d", clip.ErrInput, step.Data, maxSteps)
	}
	for _, name := range slices.Sorted(maps.Keys(moments)) {
		x, ok := state[name]
		if want := moments[name].Shape; !ok {
			return fmt.Errorf("%w: the optimizer's %s is missing", clip.ErrInput, name)
		} else if !slices.Equal(x.Shape, want) || len(x.Data) != want.Elems() {
			return fmt.Errorf("%w: the optimizer's %s has %d values of shape %v, want %v", clip.ErrInput, name, len(x.Data), x.Shape, []int(want))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(state)) {
		if moments[name] == nil && name != "step" {
			return fmt.Errorf("%w: the optimizer %s with these parameters has no %s", clip.ErrInput, t.rule.Kernel, name)
		}
	}
	ctx = context.WithoutCancel(ctx) // half of a state is none
	for name, p := range moments {
		if err := t.on.Store().Write(ctx, &p.State, state[name].Data); err != nil {
			return err
		}
	}
	t.step, t.averaged = int(step.Data[0]), true
	return nil
}

// acquire takes the turn of a trainer that is open.
func (t *Trainer) acquire(ctx context.Context) error {
	if err := t.turn.Acquire(ctx); err != nil {
		return err
	}
	if t.closed {
		t.turn.Unlock()
		return gpu.ErrClosed
	}
	return nil
}

// moments returns the optimizer's moments of all trained parameters, and the averages, by
// names such as "exp_avg.logit_scale" and "ema.logit_scale".
func (t *Trainer) moments() map[string]*graph.Param {
	all := map[string]*graph.Param{}
	for _, b := range t.slabs {
		for _, m := range b.moments {
			for _, p := range m.params {
				all[p.Name] = p
			}
		}
	}
	for _, a := range t.ema {
		for _, p := range a.params {
			all[p.Name] = p
		}
	}
	return all
}
