package train

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// savedFormat is what the header's __metadata__ of a file that Save wrote calls it.
const savedFormat = "clip-wgpu training state"

// Save writes all that a training goes on from to one safetensors file: parameters and
// buffers as "model.logit_scale" and so on, what State gives, and in the header the
// number of steps, the optimizer's rule and the seed of dropout. The file appears whole or not at all; what
// was at path before is whole until then. It holds float32, frozen weights of fewer bits
// too.
func (t *Trainer) Save(ctx context.Context, path string) error {
	if err := t.acquire(ctx); err != nil {
		return err
	}
	defer t.turn.Unlock()
	if err := t.beginAverages(ctx); err != nil {
		return err
	}
	var records []weights.Record
	for name, p := range t.whole() {
		records = append(records, t.record(ctx, name, p))
	}
	return weights.Save(path, records, weights.SaveOptions{Metadata: map[string]string{
		"format": savedFormat, "optimizer": t.rule.Kernel, "step": strconv.Itoa(t.step), "seed": strconv.FormatUint(t.cfg.Seed, 10),
	}})
}

// Resume makes the trainer and its model go on where those were that Save was called on:
// their next steps are the same, bit for bit on one device. A file that Save did not write,
// of another optimizer or of a model with other parameters, or with or without averages
// where the trainer is not, gives clip.ErrInput, one that is damaged an error of package
// weights. Both say what is wrong and change nothing.
//
// The seed of dropout is that of the file, whatever Config.Seed says. Loss, learning rate,
// decay and the other settings are those of this trainer.
func (t *Trainer) Resume(ctx context.Context, path string) error {
	if err := t.acquire(ctx); err != nil {
		return err
	}
	defer t.turn.Unlock()
	f, err := weights.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	all := t.whole()
	step, seed, err := t.checkHeader(f.Metadata())
	if err == nil {
		err = checkTensors(f, all)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	ctx = context.WithoutCancel(ctx) // half of a state is none
	for name, p := range all {
		stored, _ := f.Tensor(name)
		if err := t.restore(ctx, p, stored); err != nil {
			return err
		}
	}
	t.step, t.averaged, t.cfg.Seed = step, true, seed
	return t.on.Refresh(ctx)
}

// Steps is how many steps have been made, those before Resume or LoadState too. It
// waits for a step in progress.
func (t *Trainer) Steps() int {
	t.turn.Lock()
	defer t.turn.Unlock()
	return t.step
}

// whole is what Save writes, by name: moments, averages and the model.
func (t *Trainer) whole() map[string]*graph.Param {
	all := t.moments()
	for name, p := range t.structure.Parameters() {
		all["model."+name] = p
	}
	return all
}

// record reads p from the device, whole when its first elements are asked for.
func (t *Trainer) record(ctx context.Context, name string, p *graph.Param) weights.Record {
	var x clip.Array
	return weights.Record{Name: name, DType: weights.F32, Shape: p.Shape, ReadF32: func(dst []float32, off int) (err error) {
		if off == 0 {
			x, err = t.read(ctx, p)
		}
		if copy(dst, x.Data[off:]); off+len(dst) == len(x.Data) {
			x.Data = nil
		}
		return err
	}}
}

// restore writes the stored values of p to the device. A p of a format that rounds is
// left alone where it has these values already, so that they are not rounded a second
// time.
func (t *Trainer) restore(ctx context.Context, p *graph.Param, stored weights.Stored) error {
	values := make([]float32, p.Shape.Elems())
	if err := stored.ReadF32(values, 0); err != nil {
		return err
	}
	if p.Trainable() != nil {
		if now, err := t.read(ctx, p); err != nil || slices.Equal(now.Data, values) {
			return err
		}
	}
	return t.on.Store().Write(ctx, &p.State, values)
}

// checkHeader returns the number of steps and the seed.
func (t *Trainer) checkHeader(header map[string]string) (step int, seed uint64, err error) {
	if header["format"] != savedFormat {
		return 0, 0, fmt.Errorf("%w: is no %s", clip.ErrInput, savedFormat)
	}
	if o := header["optimizer"]; o != t.rule.Kernel {
		return 0, 0, fmt.Errorf("%w: the optimizer was %s and is %s", clip.ErrInput, o, t.rule.Kernel)
	}
	step, err = strconv.Atoi(header["step"])
	if err != nil || step < 0 || step > math.MaxInt32 {
		return 0, 0, fmt.Errorf("%w: step is %q, want a whole number", clip.ErrInput, header["step"])
	}
	seed, err = strconv.ParseUint(header["seed"], 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("%w: seed is %q, want a whole number", clip.ErrInput, header["seed"])
	}
	return step, seed, nil
}

// checkTensors refuses a file whose tensors are not like all.
func checkTensors(f *weights.File, all map[string]*graph.Param) error {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		x, ok := f.Tensor(name)
		if want := all[name].Shape; !ok {
			return fmt.Errorf("%w: %s is missing", clip.ErrInput, name)
		} else if x.DType != weights.F32 || !slices.Equal(x.Shape, want) {
			return fmt.Errorf("%w: %s is %v %v, want F32 %v", clip.ErrInput, name, x.DType, x.Shape, []int(want))
		}
	}
	for _, name := range f.Names() {
		if all[name] == nil {
			return fmt.Errorf("%w: the trainer and its model have no %s", clip.ErrInput, name)
		}
	}
	return nil
}
