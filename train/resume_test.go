package train

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// withAverages is what these tests train with.
func withAverages() Config {
	c := DefaultConfig()
	c.EMADecay, c.GradClipNorm = 0.9, 2
	return c
}

// A training that goes on from a file is the one that was not interrupted, to the bit.
// The file holds all: the second model begins with other weights.
func TestResume(t *testing.T) {
	sgd := withAverages()
	sgd.Optimizer = SGD{LR: 1e-2, Momentum: 0.9, Dampening: 0.5, WeightDecay: 0.1}
	for _, cfg := range []Config{withAverages(), sgd} {
		t.Run(cfg.Optimizer.Rule().Kernel, func(t *testing.T) { resumes(t, cfg) })
	}
}

func resumes(t *testing.T, cfg Config) {
	path := filepath.Join(t.TempDir(), "state.safetensors")
	first, err := New(open(t), cfg)
	require.NoError(t, err)
	defer first.Close()
	for name, x := range states(t, first) {
		assert.Zero(t, slices.Max(x.Data), "%s before the first step", name)
		assert.Zero(t, slices.Min(x.Data), "%s before the first step", name)
	}
	steps(t, first, 2)
	require.NoError(t, first.Save(t.Context(), path))
	steps(t, first, 2)

	m := fresh(t, "train_vit", clip.WithDevice(first.on.Device()))
	second, err := New(m, cfg)
	require.NoError(t, err)
	defer second.Close()
	require.NoError(t, second.Resume(t.Context(), path))
	assert.Equal(t, 2, second.Steps())
	again := filepath.Join(t.TempDir(), "again")
	require.NoError(t, second.Save(t.Context(), again))
	assert.Equal(t, contents(t, path), contents(t, again))
	steps(t, second, 2)
	assert.Equal(t, first.GradNorm(), second.GradNorm())
	assert.Equal(t, states(t, first), states(t, second))
	assert.Equal(t, parameters(t, first.on.(*clip.Model)), parameters(t, m))
	assert.Equal(t, first.on.(*clip.Model).LogitScale(), m.LogitScale())
}

func contents(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

// Weights of fewer bits are not rounded a second time.
func TestResumeWithFrozenWeightsOfFewerBits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.safetensors")
	var files [][]byte
	for range 2 {
		m := open(t)
		lockMiddle(t, m)
		require.NoError(t, m.CastFrozen(t.Context(), clip.Q8))
		trainer := newTrainer(t, m)
		if files != nil {
			require.NoError(t, trainer.Resume(t.Context(), path))
		}
		steps(t, trainer, 1)
		require.NoError(t, trainer.Save(t.Context(), path))
		files = append(files, contents(t, path))
	}
	m := open(t)
	lockMiddle(t, m)
	require.NoError(t, m.CastFrozen(t.Context(), clip.Q8))
	steps(t, newTrainer(t, m), 2)
	f, err := weights.Parse("state", files[1])
	require.NoError(t, err)
	for name, values := range parameters(t, m) {
		stored, ok := f.Tensor("model." + name)
		require.True(t, ok)
		got := make([]float32, stored.Len())
		require.NoError(t, stored.ReadF32(got, 0))
		assert.Equal(t, values, got, name)
	}
}

// A Save that fails leaves the last file, and nothing beside it.
func TestSaveThatFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.safetensors")
	trainer := newTrainer(t, open(t))
	require.NoError(t, trainer.Save(t.Context(), path))
	before := contents(t, path)
	steps(t, trainer, 1)
	ctx := &endingContext{Context: t.Context(), after: 40}
	err := trainer.Save(ctx, path)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, before, contents(t, path))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, entries, 1)
	require.ErrorIs(t, trainer.Save(t.Context(), filepath.Join(filepath.Dir(path), "none", "state")), fs.ErrNotExist)
	require.NoError(t, trainer.Save(t.Context(), path))
	assert.NotEqual(t, before, contents(t, path))
}

// endingContext ends when it has been asked often enough.
type endingContext struct {
	context.Context
	after int
}

func (c *endingContext) Err() error {
	if c.after--; c.after < 0 {
		return context.Canceled
	}
	return nil
}

// What does not fit is refused by name, and the trainer goes on as before.
func TestSavedStatesThatDoNotFit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.safetensors")
	trainer, err := New(open(t), withAverages())
	require.NoError(t, err)
	defer trainer.Close()
	require.NoError(t, trainer.Save(t.Context(), path))
	steps(t, trainer, 1)
	state, params := states(t, trainer), parameters(t, trainer.on.(*clip.Model))
	data := contents(t, path)
	f, err := weights.Parse("state", data)
	require.NoError(t, err)

	bad := filepath.Join(dir, "bad")
	save := func(header map[string]string, change func([]weights.Record) []weights.Record) {
		var records []weights.Record
		for _, x := range f.Tensors() {
			records = append(records, x.As(x.DType))
		}
		require.NoError(t, weights.Save(bad, change(records), weights.SaveOptions{Metadata: header}))
	}
	same := func(r []weights.Record) []weights.Record { return r }
	without := func(name string) func(r []weights.Record) []weights.Record {
		return func(r []weights.Record) []weights.Record {
			return slices.DeleteFunc(r, func(x weights.Record) bool { return x.Name == name })
		}
	}
	header := f.Metadata()
	for want, write := range map[string]func(){
		"is no clip-wgpu training state":                       func() { save(nil, same) },
		"step is \"-3\", want a whole number":                  func() { save(with(header, "step", "-3"), same) },
		"the optimizer was sgd and is adamw":                   func() { save(with(header, "optimizer", "sgd"), same) },
		"ema.visual.proj is missing":                           func() { save(header, without("ema.visual.proj")) },
		"model.logit_scale is missing":                         func() { save(header, without("model.logit_scale")) },
		"the trainer and its model have no model.visual.extra": func() { save(header, copied("ema.logit_scale", "model.visual.extra")) },
		"exp_avg.logit_scale is F16 [], want F32 []":           func() { save(header, retyped("exp_avg.logit_scale", weights.F16, nil)) },
		"exp_avg.logit_scale is F32 [1], want F32 []":          func() { save(header, retyped("exp_avg.logit_scale", weights.F32, []int{1})) },
		"cut short": func() { require.NoError(t, os.WriteFile(bad, data[:len(data)-1], 0o600)) },
	} {
		write()
		err := trainer.Resume(t.Context(), bad)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, bad)
		require.True(t, errors.Is(err, clip.ErrInput) || errors.Is(err, weights.ErrTruncated), err)
	}
	require.ErrorIs(t, trainer.Resume(t.Context(), filepath.Join(dir, "none")), fs.ErrNotExist)
	assert.Equal(t, state, states(t, trainer))
	assert.Equal(t, params, parameters(t, trainer.on.(*clip.Model)))

	other := newTrainer(t, fresh(t, "opt_custom_text", clip.WithDevice(trainer.on.Device())))
	require.ErrorContains(t, other.Resume(t.Context(), path), "exp_avg.text.ln_final.bias is missing")
	plain := newTrainer(t, open(t))
	require.ErrorContains(t, plain.Resume(t.Context(), path), "the trainer and its model have no ema.")
	require.NoError(t, plain.Close())
	require.ErrorIs(t, plain.Resume(t.Context(), path), gpu.ErrClosed)
	require.ErrorIs(t, plain.Save(t.Context(), path), gpu.ErrClosed)
}

// with is header with another value.
func with(header map[string]string, key, value string) map[string]string {
	changed := map[string]string{key: value}
	for k, v := range header {
		if k != key {
			changed[k] = v
		}
	}
	return changed
}

// copied adds a copy of a record under another name.
func copied(from, to string) func([]weights.Record) []weights.Record {
	return func(all []weights.Record) []weights.Record {
		r := all[slices.IndexFunc(all, func(r weights.Record) bool { return r.Name == from })]
		r.Name = to
		return append(all, r)
	}
}

// retyped changes the type and shape of a record.
func retyped(name string, d weights.DType, shape []int) func([]weights.Record) []weights.Record {
	return func(all []weights.Record) []weights.Record {
		i := slices.IndexFunc(all, func(r weights.Record) bool { return r.Name == name })
		all[i].DType, all[i].Shape = d, shape
		return all
	}
}
