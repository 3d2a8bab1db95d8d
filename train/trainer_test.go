package train

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/gpu"
)

func TestStepAfterClose(t *testing.T) {
	m := open(t)
	images, texts := pairs(2)
	trainer, err := New(m, DefaultConfig())
	require.NoError(t, err)
	_, err = trainer.Step(t.Context(), Batch{Images: images, Texts: texts})
	require.NoError(t, err)
	require.NoError(t, trainer.Close())
	require.NoError(t, trainer.Close())
	_, err = trainer.Step(t.Context(), Batch{Images: images, Texts: texts})
	assert.ErrorIs(t, err, gpu.ErrClosed)
	_, err = m.EncodeImage(t.Context(), images, true)
	assert.NoError(t, err)
}

// A trainer has the plan of a step once it has made one.
func TestPlanOfATrainer(t *testing.T) {
	m, c := open(t), DefaultConfig()
	c.MicroBatch = 2
	trainer := newTrainerOf(t, m, c)
	assert.Nil(t, trainer.Plan(3, m.Lengths()))
	images, texts := pairs(3)
	_, err := trainer.Step(t.Context(), Batch{Images: images, Texts: texts})
	require.NoError(t, err)
	want, err := NewPlan(m, m.Device().Target(), c, 3, m.Lengths(), 0)
	require.NoError(t, err)
	assert.Equal(t, want.String(), trainer.Plan(3, m.Lengths()).String())
	assert.Nil(t, trainer.Plan(4, m.Lengths()))
	require.NoError(t, trainer.Close())
	assert.Nil(t, trainer.Plan(3, m.Lengths()))
}

func openResNet(t *testing.T) *clip.Model {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(recordings, "train_resnet/config.json"))
	require.NoError(t, err)
	cfg, _, err := models.Parse(data)
	require.NoError(t, err)
	m, err := clip.Load(t.Context(), filepath.Join(recordings, "train_resnet"), clip.WithConfig(cfg), clip.WithGPU(gpu.Options{DefaultLimits: true}))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, m.Close()) })
	return m
}

// resNetPairs are n images of one side and texts for the model of openResNet.
func resNetPairs(n, side int) (clip.Array, [][]int32) {
	images := clip.Array{Shape: []int{n, 3, side, side}, Data: make([]float32, n*3*side*side)}
	for i := range images.Data {
		images.Data[i] = float32(i%17) / 9
	}
	return images, slices.Repeat([][]int32{{1, 2, 3, 4, 5, 6, 7, 59}}, n)
}

// What open_clip decays with frozen batch norms, that is without their parameters.
func TestDecayOfResNetFollowsOpenCLIPTrain(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(recordings, "train_resnet/meta.json"))
	require.NoError(t, err)
	var want struct {
		Decay   []string `json:"decay_frozen"`
		NoDecay []string `json:"no_decay_frozen"`
	}
	require.NoError(t, json.Unmarshal(data, &want))
	m := openResNet(t)
	m.FreezeBatchNorm()
	x, err := newModel(m, m.Device().Target())
	require.NoError(t, err)
	var decayed, not []string
	for _, p := range x.trainable {
		if Decays(p) {
			decayed = append(decayed, p.Name)
		} else {
			not = append(not, p.Name)
		}
	}
	assert.ElementsMatch(t, want.Decay, decayed)
	assert.ElementsMatch(t, want.NoDecay, not)
}

// Only training mode moves the running statistics, and never those of frozen norms.
func TestRunningStatistics(t *testing.T) {
	m := openResNet(t)
	images, texts := resNetPairs(3, 64)
	buffers := func() map[string][]float32 {
		all := map[string][]float32{}
		for name, p := range m.Parameters() {
			if p.Buffer {
				all[name] = make([]float32, p.Shape.Elems())
				require.NoError(t, m.Store().ReadParam(t.Context(), p, all[name]))
			}
		}
		return all
	}
	before := buffers()
	require.Len(t, before, 3*22)
	m.Eval()
	_, _, err := Gradients(t.Context(), m, ClipLoss{}, Batch{Images: images, Texts: texts})
	require.NoError(t, err)
	assert.Equal(t, before, buffers())
	m.Train()
	for _, step := range []func() error{
		func() error {
			_, _, err := Gradients(t.Context(), m, ClipLoss{}, Batch{Images: images, Texts: texts})
			return err
		},
		func() error {
			trainer, err := New(m, DefaultConfig())
			require.NoError(t, err)
			defer trainer.Close()
			_, err = trainer.Step(t.Context(), Batch{Images: images, Texts: texts})
			return err
		},
	} {
		require.NoError(t, step())
		after := buffers()
		for name := range before {
			assert.NotEqual(t, before[name], after[name], name)
		}
		before = after
	}
	assert.Equal(t, float32(2), before["visual.bn1.num_batches_tracked"][0])

	m.FreezeBatchNorm()
	before = buffers()
	assert.Len(t, before, 4*22)
	grads, _, err := Gradients(t.Context(), m, ClipLoss{}, Batch{Images: images, Texts: texts})
	require.NoError(t, err)
	assert.Equal(t, before, buffers())
	assert.NotContains(t, grads, "visual.bn1.weight")
}

// torch's batch norm refuses it as well.
func TestBatchNormOfOneValue(t *testing.T) {
	m := openResNet(t)
	cfg := m.Config()
	cfg.VisionCfg.ImageSize = config.Size{32, 32}
	small, err := clip.New(cfg, 1, clip.WithDevice(m.Device()))
	require.NoError(t, err)
	defer small.Close()
	images, texts := resNetPairs(1, 32)
	small.Eval()
	_, _, err = Gradients(t.Context(), small, ClipLoss{}, Batch{Images: images, Texts: texts})
	require.NoError(t, err)
	small.Train()
	_, _, err = Gradients(t.Context(), small, ClipLoss{}, Batch{Images: images, Texts: texts})
	require.ErrorContains(t, err, "visual.layer4.0.bn3: batch norm of f32[1×1×1×128]: want more than one value per channel when training")
}
