package train

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

func steps(t *testing.T, trainer *Trainer, n int) {
	t.Helper()
	images, texts := pairs(4)
	for range n {
		_, err := trainer.Step(t.Context(), Batch{Images: images, Texts: texts})
		require.NoError(t, err)
	}
}

// Training takes the memory of two moments, the activations and the programs beside
// the parameters, and Close gives it back.
func TestMemoryOfTraining(t *testing.T) {
	m := open(t)
	images, texts := pairs(4)
	_, err := m.Forward(t.Context(), clip.ImageInputs(images), texts)
	require.NoError(t, err)
	d := m.Device()
	before := d.MemoryInUse()
	trainer, err := New(m, DefaultConfig())
	require.NoError(t, err)
	steps(t, trainer, 1)
	prog, err := trainer.program(4, towers.Lengths{Text: len(texts[0])})
	require.NoError(t, err)
	var slabs, states int64
	for _, b := range trainer.slabs {
		slabs += b.home.Bytes()
		for _, p := range b.stored {
			states += p.Bytes()
		}
	}
	inputs := int64(0)
	for _, in := range prog.Inputs {
		inputs += in.Bytes()
	}
	most := 3*slabs - states + prog.ArenaBytes() + inputs + int64(len(prog.Steps))*256
	assert.LessOrEqual(t, d.MemoryInUse()-before, most+4096)
	require.NoError(t, trainer.Close())
	assert.InDelta(t, before, d.MemoryInUse(), float64(slabs-states)+4096, "but for what is between parameters side by side")
}

// Trainers of one model with different frozen parameters share the memory of the
// parameters; what is frozen stays as it is.
func TestTwoTrainersOfOneModel(t *testing.T) {
	m := open(t)
	freeze := func(towers ...string) {
		for name, p := range m.Parameters() {
			p.Frozen = slices.ContainsFunc(towers, func(tower string) bool {
				return tower == "visual" == (len(name) > 7 && name[:7] == "visual.")
			})
		}
	}
	changed := func(step func()) (visual, text int) {
		before := parameters(t, m)
		step()
		for name, v := range parameters(t, m) {
			switch {
			case slices.Equal(v, before[name]):
			case len(name) > 7 && name[:7] == "visual.":
				visual++
			default:
				text++
			}
		}
		return visual, text
	}
	steps(t, newTrainer(t, m), 1) // all parameters are on the device
	freeze("visual")
	texts := newTrainer(t, m)
	freeze("text")
	images := newTrainer(t, m)
	for range 2 {
		visual, text := changed(func() { steps(t, texts, 1) })
		assert.Zero(t, visual)
		assert.Greater(t, text, 20)
		visual, text = changed(func() { steps(t, images, 1) })
		assert.Greater(t, visual, 20)
		assert.Zero(t, text)
	}
}

func newTrainer(t *testing.T, m Model) *Trainer { return newTrainerOf(t, m, DefaultConfig()) }

// What the model computes follows the parameters wherever they lie: programs that
// were loaded before training give what those of a new model with them give.
func TestModelFollowsItsTraining(t *testing.T) {
	m := open(t)
	images, texts := pairs(4)
	encode := func(m *clip.Model) [2]clip.Array {
		x, err := m.EncodeImage(t.Context(), images, true)
		require.NoError(t, err)
		y, err := m.EncodeText(t.Context(), texts, true)
		require.NoError(t, err)
		return [2]clip.Array{x, y}
	}
	before := encode(m)
	trainer := newTrainer(t, m)
	steps(t, trainer, 1)
	fresh := open(t)
	for name, p := range fresh.Parameters() {
		require.NoError(t, fresh.Store().Write(t.Context(), &p.State, parameters(t, m)[name]))
	}
	assert.NotEqual(t, before, encode(m))
	assert.Equal(t, encode(fresh), encode(m))
}

// However the slabs are cut, a step computes the same, and no kernel reads or writes
// what lies between the gradients.
func TestSlabsChangeNothing(t *testing.T) {
	run := func(limit int64, check bool) (map[string]clip.Array, int) {
		trainer := newTrainer(t, openOn(t, gpu.Options{DefaultLimits: true, Check: check}))
		trainer.slabs = trainer.model.slabs(trainer.cfg, limit)
		for _, b := range trainer.slabs {
			assert.True(t, len(b.stored) == 1 || b.home.Bytes() <= limit)
		}
		steps(t, trainer, 2)
		p, err := trainer.Parameters(t.Context())
		require.NoError(t, err)
		return p, len(trainer.slabs)
	}
	want, one := run(4<<20, true)
	assert.Equal(t, 1, one)
	for _, limit := range []int64{1, 20000} {
		got, several := run(limit, false)
		assert.Greater(t, several, 2)
		assert.Equal(t, want, got)
	}
}

// scaleAlone is a loss of the logit scale and nothing else.
type scaleAlone struct{ weight float64 }

func (l scaleAlone) Record(g *graph.Graph, f Features) graph.Tensor {
	return ops.Scale(g, f.LogitScale, l.weight)
}

func (scaleAlone) Inputs(context.Context, Batch) (map[string]any, error) { return nil, nil }

// After a step the logit scale is at most 100 and at least 1; what the loss does
// not see decays nevertheless.
func TestLogitScaleIsClamped(t *testing.T) {
	for weight, want := range map[float64]float32{-1: 4.6051702, 1: 0} {
		m := open(t)
		before := parameters(t, m)
		trainer, err := New(m, Config{Loss: scaleAlone{weight}, Optimizer: SGD{LR: 1, WeightDecay: 0.25}})
		require.NoError(t, err)
		defer trainer.Close()
		steps(t, trainer, 1)
		after := parameters(t, m)
		assert.Equal(t, []float32{want}, after["logit_scale"])
		const decays, not = "visual.conv1.weight", "visual.ln_pre.weight"
		for i, v := range before[decays] {
			require.InDelta(t, 0.75*v, after[decays][i], 1e-7)
		}
		assert.Equal(t, before[not], after[not])
	}
}

// warmup is a schedule: an optimizer whose rate follows the step.
type warmup struct{ AdamW }

func (w warmup) Settings(step int) (map[string]float64, error) {
	w.LR *= float64(step - 1)
	return w.AdamW.Settings(step)
}

func TestSettingsFollowTheStep(t *testing.T) {
	m := open(t)
	o := DefaultConfig().Optimizer.(AdamW)
	o.WeightDecay = 0
	trainer, err := New(m, Config{Loss: ClipLoss{}, Optimizer: warmup{o}})
	require.NoError(t, err)
	defer trainer.Close()
	before := parameters(t, m)
	steps(t, trainer, 1)
	assert.Equal(t, before, parameters(t, m), "a rate of 0")
	steps(t, trainer, 1)
	assert.NotEqual(t, before, parameters(t, m))
}

// switching is an optimizer that does not keep to one rule.
type switching struct{ Optimizer }

func TestOptimizersThatDoNotFit(t *testing.T) {
	m := open(t)
	images, texts := pairs(2)
	o := &switching{DefaultConfig().Optimizer}
	trainer, err := New(m, Config{Loss: ClipLoss{}, Optimizer: o})
	require.NoError(t, err)
	defer trainer.Close()
	o.Optimizer = SGD{LR: 1}
	_, err = trainer.Step(t.Context(), Batch{Images: images, Texts: texts})
	require.ErrorIs(t, err, clip.ErrInput)
	require.ErrorContains(t, err, "the optimizer's rule was adamw and is sgd")
	for want, c := range map[string]Config{
		"wants a loss and an optimizer": {Loss: ClipLoss{}},
		"a loss and an optimizer":       {Optimizer: SGD{LR: 1}},
		"the optimizer's gain is 0":     {Loss: ClipLoss{}, Optimizer: numbers{"lr": 1, "momentum": 0, "weight_decay": 0, "nesterov": 0}},
		"the optimizer sets [betas":     {Loss: ClipLoss{}, Optimizer: numbers{"lr": 1, "momentum": 0, "weight_decay": 0, "nesterov": 0, "gain": 1, "betas": 1}},
	} {
		_, err := New(m, c)
		require.ErrorIs(t, err, clip.ErrInput)
		require.ErrorContains(t, err, want)
	}
}

// numbers are settings of SGD's rule.
type numbers map[string]float64

func (numbers) Rule() *ops.Rule                            { return SGD{}.Rule() }
func (n numbers) Settings(int) (map[string]float64, error) { return n, nil }
