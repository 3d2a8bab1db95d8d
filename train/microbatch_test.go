package train

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/internal/debug"
)

// stepsOf makes three steps of n pairs. It returns the losses and the last gradients'
// norm, and the parameters or their averages.
func stepsOf(t *testing.T, c Config, n int) (losses []float64, parameters map[string]clip.Array, micro int) {
	t.Helper()
	trainer, err := New(open(t), c)
	require.NoError(t, err)
	defer trainer.Close()
	images, texts := pairs(n)
	for range 3 {
		loss, err := trainer.Step(t.Context(), Batch{Images: images, Texts: texts})
		require.NoError(t, err)
		losses = append(losses, loss)
	}
	parameters, err = trainer.Parameters(t.Context())
	if c.EMADecay > 0 {
		parameters, err = trainer.EMA(t.Context())
	}
	require.NoError(t, err)
	return append(losses, trainer.GradNorm()), parameters, trainer.programs[size{n, towers.Lengths{Text: 16}}].step.plan.MicroBatch
}

// TestMicroBatches are exact: the loss is over the whole batch.
func TestMicroBatches(t *testing.T) {
	for name, c := range map[string]Config{
		"clip":    {Loss: ClipLoss{}, Optimizer: SGD{LR: 0.1}},
		"siglip":  {Loss: SigLipLoss{}, Optimizer: SGD{LR: 0.1}},
		"clipped": {Loss: ClipLoss{}, Optimizer: SGD{LR: 0.1, Momentum: 0.9}, GradClipNorm: 0.5, EMADecay: 0.7},
	} {
		want, wanted, micro := stepsOf(t, c, 7)
		require.Equal(t, 7, micro)
		for _, c.MicroBatch = range []int{1, 3, 4} {
			got, parameters, micro := stepsOf(t, c, 7)
			assert.Equal(t, c.MicroBatch, micro)
			for i := range want {
				assert.InDelta(t, want[i], got[i], 4e-6, "%s, step %d by %d", name, i+1, micro)
			}
			for p := range wanted {
				assert.InDeltaSlice(t, wanted[p].Data, parameters[p].Data, 2e-6, "%s by %d", p, micro)
			}
		}
	}
}

// SumScaleGradients counts the gradient of the scale once for each micro-batch, and no
// other gradient.
func TestSumScaleGradients(t *testing.T) {
	after := func(sum bool) map[string]clip.Array {
		trainer, err := New(open(t), Config{Loss: ClipLoss{}, Optimizer: SGD{LR: 1e-3}, MicroBatch: 3, SumScaleGradients: sum})
		require.NoError(t, err)
		defer trainer.Close()
		steps(t, trainer, 1)
		p, err := trainer.Parameters(t.Context())
		require.NoError(t, err)
		return p
	}
	before, once, summed := parameters(t, open(t)), after(false), after(true)
	for name := range once {
		if name != "logit_scale" {
			assert.Equal(t, once[name], summed[name], name)
			continue
		}
		change := once[name].Data[0] - before[name][0]
		assert.NotZero(t, change)
		assert.InEpsilon(t, 2*change, summed[name].Data[0]-before[name][0], 1e-2, "of two micro-batches, in float32")
	}
}

// TestMicroBatchFollowsFromTheMemory: it is halved until the step fits.
func TestMicroBatchFollowsFromTheMemory(t *testing.T) {
	m := open(t)
	trainer := newTrainer(t, m)
	parts, err := trainer.plan(32, towers.Lengths{Text: 16}, 8)
	require.NoError(t, err)
	need := parts.StateBytes + parts.WorkBytes
	device := m.Device().MemoryInUse() // before the model has any

	limited := openOn(t, gpu.Options{DefaultLimits: true, MaxMemory: device + need})
	small := newTrainer(t, limited)
	images, texts := pairs(32)
	loss, err := small.Step(t.Context(), Batch{Images: images, Texts: texts})
	require.NoError(t, err)
	assert.Equal(t, 8, small.programs[size{32, towers.Lengths{Text: 16}}].step.plan.MicroBatch)
	used := limited.Device().MemoryInUse() - device
	assert.InDelta(t, need, used, 0.01*float64(need), "what the plan says is what is used")
	want, err := trainer.Step(t.Context(), Batch{Images: images, Texts: texts})
	require.NoError(t, err)
	assert.InDelta(t, want, loss, 2e-6)

	plan, err := NewPlan(m, m.Device().Target(), DefaultConfig(), 32, towers.Lengths{Text: 16}, need)
	require.NoError(t, err)
	assert.Equal(t, parts.MicroBatch, plan.MicroBatch)
	assert.Equal(t, need, plan.StateBytes+plan.WorkBytes)
	for _, bad := range [][3]int{{0, 16, 0}, {1, 0, 0}, {1, 16, -1}} {
		_, err := NewPlan(m, m.Device().Target(), DefaultConfig(), bad[0], towers.Lengths{Text: bad[1]}, int64(bad[2]))
		require.ErrorIs(t, err, clip.ErrInput)
	}
	_, err = NewPlan(m, m.Device().Target(), DefaultConfig(), 32, towers.Lengths{Text: 16}, 1<<20)
	var memory *gpu.MemoryError
	require.ErrorAs(t, err, &memory)
}

// TestMicroBatchesThatAreNoNumbers change nothing.
func TestMicroBatchesThatAreNoNumbers(t *testing.T) {
	m := open(t)
	c := DefaultConfig()
	c.MicroBatch = 2
	trainer, err := New(m, c)
	require.NoError(t, err)
	defer trainer.Close()
	images, texts := pairs(4)
	before := parameters(t, m)
	images.Data[len(images.Data)-1] = float32(math.NaN())
	_, err = trainer.Step(t.Context(), Batch{Images: images, Texts: texts})
	var notFinite *NotFiniteError
	require.ErrorAs(t, err, &notFinite)
	assert.Equal(t, 1, notFinite.Step)
	assert.Equal(t, before, parameters(t, m))
	assert.Zero(t, trainer.Steps())
}

// TestCancelledMicroBatches leave parameters and moments as they are, wherever in the
// step they are stopped.
func TestCancelledMicroBatches(t *testing.T) {
	images, texts := pairs(6)
	b := Batch{Images: images, Texts: texts}
	c := DefaultConfig()
	c.MicroBatch = 2
	trainer, err := New(open(t), c)
	require.NoError(t, err)
	defer trainer.Close()
	_, err = trainer.Step(t.Context(), b)
	require.NoError(t, err)
	began := time.Now()
	_, err = trainer.Step(t.Context(), b)
	require.NoError(t, err)
	took, made, cancelled := time.Since(began), 2, 0
	for i := range 8 {
		ctx, stop := context.WithTimeout(t.Context(), took*time.Duration(i+1)/10)
		_, err := trainer.Step(ctx, b)
		stop()
		if err == nil {
			made++
			continue
		}
		require.ErrorIs(t, err, context.DeadlineExceeded)
		cancelled++
	}
	assert.Positive(t, cancelled)
	got, err := trainer.Parameters(t.Context())
	require.NoError(t, err)

	reference, err := New(open(t), c)
	require.NoError(t, err)
	defer reference.Close()
	for range made {
		_, err := reference.Step(t.Context(), b)
		require.NoError(t, err)
	}
	want, err := reference.Parameters(t.Context())
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

// CLIPWGPU=check=nan names the first op that made a number that is none.
func TestFirstOpWithoutNumbersIsNamed(t *testing.T) {
	t.Setenv(debug.Variable, "check=nan")
	images, texts := pairs(2)
	images.Data[7] = float32(math.Inf(1))
	trainer := newTrainer(t, open(t))
	_, err := trainer.Step(t.Context(), Batch{Images: images, Texts: texts})
	require.ErrorContains(t, err, "patchify of visual.conv1.patchify: wrote +Inf")
	assert.Zero(t, trainer.Steps())
}

// Texts of a batch have one length, and as many as there are images.
func TestBatchesThatDoNotFit(t *testing.T) {
	trainer := newTrainer(t, open(t))
	images, texts := pairs(3)
	longer := [][]int32{texts[0], texts[1], append(slices.Clone(texts[2]), 1)}
	for want, b := range map[string]Batch{
		"text 2":                {Images: images, Texts: longer},
		"3 images and 2 texts":  {Images: images, Texts: texts[:2]},
		"0 images and 0 texts":  {Images: clip.Array{Shape: []int{0, 3, 32, 32}}},
		"images of shape [3 3]": {Images: clip.Array{Shape: []int{3, 3}, Data: images.Data}, Texts: texts},
	} {
		_, err := trainer.Step(t.Context(), b)
		require.ErrorIs(t, err, clip.ErrInput)
		require.ErrorContains(t, err, want)
	}
}

// The plan of a step is what it takes, of other models, with locks and averages too, and
// with that much memory it is made as planned.
func TestPlansAreWhatStepsTake(t *testing.T) {
	for name, change := range map[string]func(m *clip.Model, c *Config){
		"modified_resnet":  func(_ *clip.Model, c *Config) { c.MicroBatch = 5 },
		"siglip_timm_map":  func(m *clip.Model, c *Config) { m.LockImageTower(0, true); c.MicroBatch = 8 },
		"hf_roberta_quick": func(m *clip.Model, c *Config) { m.LockImageTower(0, true); c.MicroBatch = 8 },
		"opt_attn_pool":    func(_ *clip.Model, c *Config) { c.MicroBatch, c.EMADecay = 8, 0.9 },
	} {
		t.Run(name, func(t *testing.T) {
			c := DefaultConfig()
			m := openRecording(t, name)
			device := m.Device().MemoryInUse()
			change(m, &c)
			b := batchFor(m, 24)
			plan, err := NewPlan(m, m.Device().Target(), c, 24, towers.Lengths{Text: len(b.Texts[0])}, 0)
			require.NoError(t, err)
			need := plan.StateBytes + plan.WorkBytes
			trainer, err := New(m, c)
			require.NoError(t, err)
			defer trainer.Close()
			_, err = trainer.Step(t.Context(), b)
			require.NoError(t, err)
			assert.InEpsilon(t, need, m.Device().MemoryInUse()-device, 0.05)
			assert.Equal(t, plan.MicroBatch, trainer.programs[size{24, towers.Lengths{Text: len(b.Texts[0])}}].step.plan.MicroBatch)
		})
	}
}

// A step that could change nothing is none.
func TestNothingToTrain(t *testing.T) {
	m := open(t)
	for _, p := range m.NamedParameters() {
		p.Frozen = true
	}
	_, err := New(m, DefaultConfig())
	require.ErrorIs(t, err, clip.ErrInput)
	require.ErrorContains(t, err, "nothing to train")
	for want, c := range map[string]Config{
		"lr is 1e+39":           {Loss: ClipLoss{}, Optimizer: SGD{LR: 1e39}},
		"eps is 1e-60":          {Loss: ClipLoss{}, Optimizer: AdamW{LR: 1, Eps: 1e-60}},
		"GradClipNorm is 1e-50": {Loss: ClipLoss{}, Optimizer: SGD{LR: 1}, GradClipNorm: 1e-50},
		"SGD with":              {Loss: ClipLoss{}, Optimizer: SGD{LR: 1, Momentum: 0.9, Dampening: math.NaN()}},
	} {
		_, err := New(open(t), c)
		require.ErrorIs(t, err, clip.ErrInput)
		require.ErrorContains(t, err, want)
	}
	_, _, err = Gradients(t.Context(), m, nil, Batch{})
	require.ErrorIs(t, err, clip.ErrInput)
}

// A micro-batch begins when the device has the one before, which goes on meanwhile.
func TestMicroBatchesOverlap(t *testing.T) {
	images, texts := pairs(7)
	s := &step{plan: &Plan{Pairs: 7, MicroBatch: 2}}
	var began []part
	next := make(chan struct{})
	err := s.microBatches(t.Context(), open(t), Batch{Images: images, Texts: texts}, func(i int) []int32 { return []int32{int32(i), 0} },
		func(_ context.Context, p part, inputs map[string]any, submitted func()) error {
			assert.Equal(t, []int32{int32(len(began)), 0}, inputs["seed"])
			began = append(began, p)
			if len(began)%2 == 0 {
				next <- struct{}{} // the one before is still under way
				return nil
			}
			submitted()
			<-next
			return nil
		})
	require.NoError(t, err)
	assert.Equal(t, []part{{0, 2, 0}, {2, 4, 0}, {4, 6, 0}, {6, 7, 1}}, began)

	broken := errors.New("broken")
	err = s.microBatches(t.Context(), open(t), Batch{Images: images, Texts: texts}, func(int) []int32 { return nil },
		func(ctx context.Context, p part, _ map[string]any, submitted func()) error {
			if p.lo == 2 {
				return broken
			}
			submitted()
			<-ctx.Done() // ends with the one that is broken
			return ctx.Err()
		})
	assert.ErrorIs(t, err, broken)
}
