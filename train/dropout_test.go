package train

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/gpu"
)

// dropoutModel is a model that drops while it trains, and a batch for it.
type dropoutModel struct {
	Name    string
	Config  json.RawMessage
	Streams int // of random words, one for each operation that drops
	texts   [][]int32
}

// dropoutModels are those of package tests' recording, one of each kind.
func dropoutModels(t *testing.T) []dropoutModel {
	t.Helper()
	data, err := os.ReadFile("../tests/testdata/dropout.json")
	require.NoError(t, err)
	var recorded struct {
		Texts [][]int32
		Cases []dropoutModel
	}
	require.NoError(t, json.Unmarshal(data, &recorded))
	require.NotEmpty(t, recorded.Cases)
	for i := range recorded.Cases {
		recorded.Cases[i].texts = recorded.Texts
	}
	return recorded.Cases
}

func (d dropoutModel) open(t *testing.T) (*clip.Model, clip.Array) {
	t.Helper()
	cfg, _, err := models.Parse(d.Config)
	require.NoError(t, err)
	m, err := clip.New(cfg, 1, clip.WithGPU(gpu.Options{DefaultLimits: true}))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, m.Close()) })
	side := cfg.VisionCfg.ImageSize[0]
	images := clip.Array{Shape: []int{3, 3, side, side}, Data: make([]float32, 3*3*side*side)}
	for i := range images.Data {
		images.Data[i] = float32(i%17)/9 - 1
	}
	return m, images
}

// steps makes two steps and returns their losses and the parameters after them.
func (d dropoutModel) steps(t *testing.T, m *clip.Model, images clip.Array, seed uint64, lr float64) (losses [2]float64, after map[string][]float32) {
	t.Helper()
	trainer, err := New(m, Config{Loss: ClipLoss{}, Optimizer: AdamW{LR: lr, Eps: 1e-6}, Seed: seed})
	require.NoError(t, err)
	defer trainer.Close()
	for i := range losses {
		losses[i], err = trainer.Step(t.Context(), Batch{Images: images, Texts: d.texts})
		require.NoError(t, err)
		require.False(t, math.IsNaN(losses[i]) || math.IsInf(losses[i], 0))
	}
	return losses, parameters(t, m)
}

// Every kind of model trains: each step drops otherwise, as the seed says. The rate of 0
// leaves the models as they are.
func TestDropoutGoesByTheSeed(t *testing.T) {
	for _, d := range dropoutModels(t) {
		t.Run(d.Name, func(t *testing.T) {
			m, images := d.open(t)
			one, _ := d.steps(t, m, images, 1, 0)
			again, _ := d.steps(t, m, images, 1, 0)
			two, _ := d.steps(t, m, images, 2, 0)
			assert.Equal(t, one, again)
			if d.Streams == 0 {
				assert.Equal(t, one, two)
				return
			}
			assert.NotEqual(t, one[0], one[1], "two steps")
			assert.NotEqual(t, one[0], two[0], "two seeds")
		})
	}
}

// The same seed gives the same parameters, bit for bit, another gives others; and those
// that go on from a state drop what they had dropped.
func TestStepsFollowTheirSeed(t *testing.T) {
	d := dropoutModels(t)[0]
	after := func(seed uint64) map[string][]float32 {
		m, images := d.open(t)
		_, p := d.steps(t, m, images, seed, 1e-3)
		return p
	}
	one := after(1)
	assert.Equal(t, one, after(1))
	assert.NotEqual(t, one, after(2))

	m, images := d.open(t)
	cfg := Config{Loss: ClipLoss{}, Optimizer: AdamW{LR: 1e-3, Eps: 1e-6}, Seed: 1}
	first, err := New(m, cfg)
	require.NoError(t, err)
	_, err = first.Step(t.Context(), Batch{Images: images, Texts: d.texts})
	require.NoError(t, err)
	state, err := first.State(t.Context())
	require.NoError(t, err)
	require.NoError(t, first.Close())
	second, err := New(m, cfg)
	require.NoError(t, err)
	defer second.Close()
	require.NoError(t, second.LoadState(t.Context(), state))
	_, err = second.Step(t.Context(), Batch{Images: images, Texts: d.texts})
	require.NoError(t, err)
	assert.Equal(t, one, parameters(t, m))
}
