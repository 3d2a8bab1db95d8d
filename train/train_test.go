package train

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

const recordings = "../tests/testdata/oracle"

// The whole of train_vit runs through clip-wgpu verify; here is what it does
// not ask.

func open(t *testing.T) *clip.Model {
	t.Helper()
	return openOn(t, gpu.Options{DefaultLimits: true})
}

func openOn(t *testing.T, o gpu.Options) *clip.Model {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(recordings, "train_vit/config.json"))
	require.NoError(t, err)
	cfg, _, err := models.Parse(data)
	require.NoError(t, err)
	m, err := clip.Load(t.Context(), filepath.Join(recordings, "vit_openai_tiny/model.safetensors"),
		clip.WithConfig(cfg), clip.WithGPU(o))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, m.Close()) })
	return m
}

// pairs are n random images with distinct texts that end in the highest id.
func pairs(n int) (clip.Array, [][]int32) {
	rng := rand.New(rand.NewPCG(1, 2))
	images := clip.Array{Shape: []int{n, 3, 32, 32}, Data: make([]float32, n*3*32*32)}
	for i := range images.Data {
		images.Data[i] = float32(rng.NormFloat64())
	}
	texts := make([][]int32, n)
	for i := range texts {
		texts[i] = make([]int32, 16)
		for j := range 8 {
			texts[i][j] = rng.Int32N(590)
		}
		texts[i][8] = 599
	}
	return images, texts
}

func parameters(t *testing.T, m *clip.Model) map[string][]float32 {
	t.Helper()
	all := map[string][]float32{}
	for name, p := range m.Parameters() {
		v := make([]float32, p.Shape.Elems())
		require.NoError(t, m.Store().ReadParam(t.Context(), p, v))
		all[name] = v
	}
	return all
}

func TestGradientsLeaveTheModelAlone(t *testing.T) {
	m := open(t)
	images, texts := pairs(3)
	before, err := m.EncodeImage(t.Context(), images, true)
	require.NoError(t, err)
	for _, l := range []Loss{ClipLoss{}, SigLipLoss{}} {
		first, loss, err := Gradients(t.Context(), m, l, Batch{Images: images, Texts: texts})
		require.NoError(t, err)
		again, same, err := Gradients(t.Context(), m, l, Batch{Images: images, Texts: texts})
		require.NoError(t, err)
		assert.Equal(t, loss, same, l)
		assert.Equal(t, first, again, "%v: gradients of the same inputs differ", l)
	}
	after, err := m.EncodeImage(t.Context(), images, true)
	require.NoError(t, err)
	assert.Equal(t, before, after)
}

// A pair alone has nothing to be told from: the contrastive loss is 0 and so
// are its gradients.
func TestBatchOfOne(t *testing.T) {
	images, texts := pairs(1)
	grads, loss, err := Gradients(t.Context(), open(t), ClipLoss{}, Batch{Images: images, Texts: texts})
	require.NoError(t, err)
	assert.Zero(t, loss)
	for name, g := range grads {
		for _, v := range g.Data {
			require.Zero(t, v, name)
		}
	}
}

func TestStepsChangeTheModel(t *testing.T) {
	m := open(t)
	images, texts := pairs(4)
	trainer, err := New(m, Config{Loss: ClipLoss{}, Optimizer: AdamW{LR: 1e-3, Beta1: 0.9, Beta2: 0.98, Eps: 1e-6}})
	require.NoError(t, err)
	defer trainer.Close()
	var losses []float64
	for range 20 {
		loss, err := trainer.Step(t.Context(), Batch{Images: images, Texts: texts})
		require.NoError(t, err)
		losses = append(losses, loss)
	}
	assert.Less(t, losses[19], losses[0]/2, "twenty steps on one batch: %v", losses)
	got, err := trainer.Parameters(t.Context())
	require.NoError(t, err)
	on := parameters(t, m)
	for name, p := range got {
		assert.Equal(t, on[name], p.Data, name)
	}
	assert.InDelta(t, math.Exp(float64(got["logit_scale"].Data[0])), float64(m.LogitScale()), 1e-4, "the model knows its new scale")
	_, loss, err := Gradients(t.Context(), m, ClipLoss{}, Batch{Images: images, Texts: texts})
	require.NoError(t, err)
	assert.Less(t, loss, losses[0]/2, "the model's own loss")
}

// A cancelled step leaves parameters and moments whole: the next ones are those
// of a trainer that was never cancelled.
func TestCancelledStepIsNoStep(t *testing.T) {
	images, texts := pairs(4)
	run := func(cancel bool) map[string]clip.Array {
		trainer, err := New(open(t), DefaultConfig())
		require.NoError(t, err)
		defer trainer.Close()
		for i := range 3 {
			if cancel && i == 1 {
				ctx, stop := context.WithCancel(t.Context())
				stop()
				_, err := trainer.Step(ctx, Batch{Images: images, Texts: texts})
				require.ErrorIs(t, err, context.Canceled)
			}
			if cancel && i == 0 { // while it is loaded
				ctx, stop := context.WithTimeout(t.Context(), time.Millisecond)
				_, err := trainer.Step(ctx, Batch{Images: images, Texts: texts})
				stop()
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
			_, err := trainer.Step(t.Context(), Batch{Images: images, Texts: texts})
			require.NoError(t, err)
		}
		p, err := trainer.Parameters(t.Context())
		require.NoError(t, err)
		return p
	}
	assert.Equal(t, run(false), run(true))
}

func TestBadInputs(t *testing.T) {
	m := open(t)
	images, texts := pairs(3)
	for name, call := range map[string]func() error{
		"no pairs": func() error {
			_, _, err := Gradients(t.Context(), m, ClipLoss{}, Batch{Images: clip.Array{Shape: []int{0, 3, 32, 32}}, Texts: nil})
			return err
		},
		"fewer texts": func() error {
			_, _, err := Gradients(t.Context(), m, ClipLoss{}, Batch{Images: images, Texts: texts[:2]})
			return err
		},
		"a short text": func() error {
			_, _, err := Gradients(t.Context(), m, ClipLoss{}, Batch{Images: images, Texts: [][]int32{{1}, {1}, {1}}})
			return err
		},
		"a negative rate": func() error {
			_, err := New(m, Config{Loss: ClipLoss{}, Optimizer: AdamW{LR: -1, Eps: 1e-6}})
			return err
		},
		"a beta of 1": func() error {
			_, err := New(m, Config{Loss: ClipLoss{}, Optimizer: AdamW{Beta1: 1, Eps: 1e-6}})
			return err
		},
	} {
		assert.ErrorIs(t, call(), clip.ErrInput, name)
	}
}

// A tower with rotary positions, whose angles are a constant beside the parameters.
func TestTrainingATimmTower(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(recordings, "pe_core/config.json"))
	require.NoError(t, err)
	cfg, _, err := models.Parse(data)
	require.NoError(t, err)
	m, err := clip.New(cfg, 1, clip.WithGPU(gpu.Options{DefaultLimits: true}))
	require.NoError(t, err)
	defer func() { assert.NoError(t, m.Close()) }()
	trainer, err := New(m, DefaultConfig())
	require.NoError(t, err)
	defer trainer.Close()
	images := clip.Array{Shape: []int{3, 3, 24, 40}, Data: make([]float32, 3*3*24*40)}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range images.Data {
		images.Data[i] = float32(rng.NormFloat64())
	}
	texts := [][]int32{{1, 2, 3, 4, 5, 6, 7, 59}, {8, 9, 10, 59, 0, 0, 0, 0}, {11, 12, 59, 0, 0, 0, 0, 0}}
	var losses []float64
	var before map[string][]float32
	for i := range 6 {
		if i == 1 {
			before = parameters(t, m)
		}
		loss, err := trainer.Step(t.Context(), Batch{Images: images, Texts: texts})
		require.NoError(t, err)
		losses = append(losses, loss)
	}
	assert.Less(t, losses[5], losses[0])
	for name, v := range parameters(t, m) {
		assert.NotEqual(t, before[name], v, name)
	}
}

func TestDecayFollowsOpenCLIPTrain(t *testing.T) {
	f, err := weights.Open(filepath.Join(recordings, "vit_openai_tiny/model.safetensors"))
	require.NoError(t, err)
	defer f.Close()
	var decayed []string
	for name, p := range open(t).Parameters() {
		if Decays(p) {
			decayed = append(decayed, name)
		}
	}
	var want []string
	for _, name := range f.Names() {
		switch tensor, _ := f.Tensor(name); {
		case len(tensor.Shape) < 2, name == "positional_embedding", name == "visual.positional_embedding":
		default:
			want = append(want, name)
		}
	}
	assert.ElementsMatch(t, want, decayed)
}
