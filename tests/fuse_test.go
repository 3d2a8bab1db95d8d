package tests

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// Towers whose ops were fused compute what they compute without: one recording
// of each kind of tower, with all that kernels fuse.
func TestFusedTowersEqualUnfusedOnes(t *testing.T) {
	dev := openChecked(t)
	for _, name := range []string{"vit_openai_tiny", "modified_resnet", "siglip_timm_map", "opt_scale_fc", "opt_attn_pool"} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join("testdata", "oracle", name)
			data, err := os.ReadFile(filepath.Join(folder, "config.json"))
			require.NoError(t, err)
			cfg, _, err := models.Parse(data)
			require.NoError(t, err)
			m, err := clip.Load(t.Context(), filepath.Join(folder, "model.safetensors"), clip.WithConfig(cfg), clip.WithDevice(dev))
			require.NoError(t, err)
			defer m.Close()
			fused, fewer := runTowers(t, m, false)
			unfused, steps := runTowers(t, m, true)
			assert.Less(t, fewer, steps, "nothing was fused")
			for i := range fused {
				assert.InDeltaSlice(t, unfused[i], fused[i], 1e-5, "output %d", i)
			}
		})
	}
}

// runTowers returns the unit features of two images and two texts, and how many
// steps make them.
func runTowers(t *testing.T, m *clip.Model, unfused bool) (features [][]float32, steps int) {
	t.Helper()
	cfg := m.Config()
	size := cfg.VisionCfg.ImageSize
	images := clip.Array{Shape: []int{2, 3, size[0], size[1]}, Data: make([]float32, 2*3*size[0]*size[1])}
	noise := rand.New(rand.NewPCG(1, 2))
	for i := range images.Data {
		images.Data[i] = float32(noise.NormFloat64())
	}
	texts := make([][]int32, 2)
	for i := range texts {
		for j := range cfg.TextCfg.ContextLength {
			texts[i] = append(texts[i], int32((7*i+3*j+1)%cfg.TextCfg.VocabSize))
		}
	}
	feed, err := m.Feed(images, texts)
	require.NoError(t, err)
	g := graph.New()
	image, text := m.Record(g, 2, cfg.TextCfg.ContextLength)
	g.Unfused = unfused
	prog, err := g.Build(image, text)
	require.NoError(t, err)
	session, err := m.Device().Load(prog, m.Store())
	require.NoError(t, err)
	defer session.Close()
	features = [][]float32{make([]float32, image.Shape().Elems()), make([]float32, text.Shape().Elems())}
	require.NoError(t, session.Run(t.Context(), gpu.IO{Inputs: feed, Outputs: features}))
	return features, len(prog.Steps)
}
