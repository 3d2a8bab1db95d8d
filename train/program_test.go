package train

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// A step of ViT-B-32 is at most 700 dispatches, of which a few are sums: those of
// biases and of norms' parameters are made with the other gradients. It updates its 302
// parameters, with their moments, by 16 dispatches and copies two tensors: the clamped
// scale, and one gradient of which another is a part.
func TestStepOfViTB32(t *testing.T) {
	c := config.Config{EmbedDim: 512, VisionCfg: config.DefaultVisionConfig(), TextCfg: config.DefaultTextConfig()}
	c.VisionCfg.PatchSize = config.Size{32, 32}
	m, err := clip.New(c, 1, clip.WithGPU(gpu.Options{DefaultLimits: true}))
	require.NoError(t, err)
	defer m.Close()
	trainer, err := New(m, DefaultConfig())
	require.NoError(t, err)
	p, err := trainer.program(8, towers.Lengths{Text: 77})
	require.NoError(t, err)
	count := map[string]int{}
	for _, s := range p.Steps {
		count[s.Op]++
	}
	assert.LessOrEqual(t, len(p.Steps), 700)
	assert.LessOrEqual(t, count["sum_axis"], 8)
	assert.Equal(t, 51, count["layernorm_grad"])
	assert.Equal(t, 99, count["linear_weight_grad"])
	assert.Equal(t, len(trainer.slabs), count["update"])
	assert.LessOrEqual(t, count["update"], 16)
	assert.Equal(t, 1, count["assign"])
	assert.Equal(t, 1, count["join"])
	trained := 0
	for _, b := range trainer.slabs {
		trained += len(b.trained)
		for _, s := range []*graph.State{b.home, b.like, b.moments[0].State, b.moments[1].State} {
			assert.LessOrEqual(t, s.Bytes(), graph.Target{}.BindingLimit())
		}
	}
	assert.Equal(t, 302, trained)
	// What is alive at once is little more than all gradients, 605 MB, and what the
	// image tower's backward pass needs beside those of the text tower.
	assert.Less(t, p.ArenaBytes(), int64(780e6))
}
