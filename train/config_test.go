package train

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// fresh makes a model of a recording with random weights.
func fresh(t *testing.T, recording string, opts ...clip.Option) *clip.Model {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(recordings, recording, "config.json"))
	require.NoError(t, err)
	cfg, _, err := models.Parse(data)
	require.NoError(t, err)
	m, err := clip.New(cfg, 1, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, m.Close()) })
	return m
}

// The groups that open_clip_train makes with both decays, of models of several families.
func TestLayerDecayIsThatOfOpenCLIPTrain(t *testing.T) {
	data, err := os.ReadFile("testdata/layer_decay.json")
	require.NoError(t, err)
	var recorded struct {
		Settings struct {
			Text  float64 `json:"text_layer_decay"`
			Image float64 `json:"image_layer_decay"`
		}
		Groups map[string][]struct {
			Rate   float64 `json:"lr_scale"`
			Decays bool
			Names  []string
		}
	}
	require.NoError(t, json.Unmarshal(data, &recorded))
	require.NotEmpty(t, recorded.Groups)
	c := DefaultConfig()
	c.ImageLayerDecay, c.TextLayerDecay = recorded.Settings.Image, recorded.Settings.Text
	device := open(t).Device()
	for name, groups := range recorded.Groups {
		m, err := newModel(fresh(t, name, clip.WithDevice(device)), graph.Target{})
		require.NoError(t, err)
		rates, want := m.rates(c), map[string]float64{}
		for _, group := range groups {
			for _, param := range group.Names {
				want[param] = group.Rate
			}
		}
		for _, p := range m.trainable {
			rate, ok := want[p.Name]
			assert.True(t, ok, "%s: %s", name, p.Name)
			assert.InDelta(t, rate, rates[p], 1e-12, "%s: %s", name, p.Name)
			delete(want, p.Name)
		}
		for _, group := range groups {
			for _, param := range group.Names {
				assert.NotContains(t, want, param, name)
			}
		}
	}
}

// A step of a parameter is as much shorter as its rate says.
func TestLayerDecayShortensSteps(t *testing.T) {
	c := Config{Loss: ClipLoss{}, Optimizer: SGD{LR: 1}}
	moved := func(c Config) map[string][]float32 {
		m := open(t)
		before := parameters(t, m)
		trainer, err := New(m, c)
		require.NoError(t, err)
		defer trainer.Close()
		steps(t, trainer, 1)
		after := parameters(t, m)
		for name, values := range after {
			for i := range values {
				values[i] -= before[name][i]
			}
		}
		return after
	}
	whole := moved(c)
	c.ImageLayerDecay, c.TextLayerDecay = 0.5, 0.25
	slow := moved(c)
	for name, rate := range map[string]float64{
		"logit_scale": 1, "visual.proj": 1, "visual.ln_post.weight": 0.5, "visual.transformer.resblocks.0.attn.in_proj_weight": 0.25,
		"visual.conv1.weight": 0.125, "text_projection": 1, "ln_final.weight": 0.25, "token_embedding.weight": math.Pow(0.25, 4),
	} {
		for i, v := range whole[name] {
			require.InDelta(t, rate*float64(v), slow[name][i], 1e-6, name)
		}
	}
}

// The norm is that of what Gradients gives, and a norm that is far away clips nothing.
func TestGradNorm(t *testing.T) {
	m := open(t)
	images, texts := pairs(4)
	grads, _, err := Gradients(t.Context(), m, ClipLoss{}, Batch{Images: images, Texts: texts})
	require.NoError(t, err)
	sum := 0.0
	for _, g := range grads {
		for _, v := range g.Data {
			sum += float64(v) * float64(v)
		}
	}
	after := map[float64]map[string][]float32{}
	for _, most := range []float64{0, 1e6, math.Sqrt(sum) / 3} {
		m := open(t)
		trainer, err := New(m, Config{Loss: ClipLoss{}, Optimizer: SGD{LR: 1e-2}, GradClipNorm: most})
		require.NoError(t, err)
		defer trainer.Close()
		assert.Zero(t, trainer.GradNorm())
		steps(t, trainer, 1)
		assert.InEpsilon(t, math.Sqrt(sum), trainer.GradNorm(), 1e-6)
		after[most] = parameters(t, m)
	}
	assert.Equal(t, after[0], after[1e6])
	assert.NotEqual(t, after[0], after[math.Sqrt(sum)/3])
}

// A step that is no number is not made: the next one is as if it had not been asked for.
func TestStepsThatAreNoNumbers(t *testing.T) {
	c := DefaultConfig()
	c.EMADecay = 0.5
	m, reference := open(t), open(t)
	trainer, err := New(m, c)
	require.NoError(t, err)
	defer trainer.Close()
	images, texts := pairs(4)
	bad := clip.Array{Shape: images.Shape, Data: make([]float32, len(images.Data))}
	steps(t, trainer, 1)
	before, state := parameters(t, m), states(t, trainer)
	for _, v := range []float64{math.NaN(), math.Inf(1)} {
		copy(bad.Data, images.Data)
		bad.Data[17] = float32(v)
		_, err = trainer.Step(t.Context(), Batch{Images: bad, Texts: texts})
		var odd *NotFiniteError
		require.ErrorAs(t, err, &odd)
		assert.Equal(t, 2, odd.Step)
		assert.ErrorContains(t, err, "step 2: the loss is ")
		assert.Equal(t, before, parameters(t, m))
		assert.Equal(t, state, states(t, trainer))
	}
	steps(t, trainer, 1)
	other, err := New(reference, c)
	require.NoError(t, err)
	defer other.Close()
	steps(t, other, 2)
	assert.Equal(t, parameters(t, reference), parameters(t, m))
	assert.Equal(t, states(t, other), states(t, trainer))
}

func states(t *testing.T, trainer *Trainer) map[string]clip.Array {
	t.Helper()
	s, err := trainer.readAll(t.Context(), maps.All(trainer.moments()))
	require.NoError(t, err)
	return s
}

func TestConfigsOutOfRange(t *testing.T) {
	m := open(t)
	for want, change := range map[string]func(*Config){
		"GradClipNorm is -1":                              func(c *Config) { c.GradClipNorm = -1 },
		"GradClipNorm is NaN":                             func(c *Config) { c.GradClipNorm = math.NaN() },
		"GradClipNorm is 1e+300":                          func(c *Config) { c.GradClipNorm = 1e300 },
		"ImageLayerDecay is 2 and TextLayerDecay is 0":    func(c *Config) { c.ImageLayerDecay = 2 },
		"ImageLayerDecay is 0 and TextLayerDecay is -0.5": func(c *Config) { c.TextLayerDecay = -0.5 },
		"EMADecay is 1":                                   func(c *Config) { c.EMADecay = 1 },
	} {
		c := DefaultConfig()
		change(&c)
		_, err := New(m, c)
		require.ErrorIs(t, err, clip.ErrInput)
		require.ErrorContains(t, err, want)
	}
}
