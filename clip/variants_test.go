package clip

import (
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// TestVariants: whichever kernels a device prefers, a tower's features are
// open_clip's. Every one that there is to choose runs. (That each reads every
// storage of weights is for the tables of package tests.)
func TestVariants(t *testing.T) {
	const oracle, tolerance = "../tests/testdata/oracle/vit_openai_tiny/", 5e-5 // of meta.json
	cfg, err := os.ReadFile(oracle + "config.json")
	require.NoError(t, err)
	images := readTensor(t, oracle+"inputs.safetensors", "image")
	texts := readTokens(t, oracle+"inputs.safetensors", "text")
	wantImage := readTensor(t, oracle+"outputs.safetensors", "image_features_norm")
	wantText := readTensor(t, oracle+"outputs.safetensors", "text_features_norm")

	for c, least := range map[CastDType]float64{F32: 0.99999, Q8: 0.999} {
		var most, ran int
		for round := 0; round == 0 || round < most; round++ {
			t.Run(fmt.Sprint(c, " ", round), func(t *testing.T) {
				m, err := Load(t.Context(), oracle+"model.safetensors", WithConfig(parse(t, cfg)), WithDevice(device(t)), WithCastDType(c))
				require.NoError(t, err)
				defer m.Close()
				m.engine.Tuning = device(t).NewTuning()
				force := func(class string, candidates []string) string {
					most = max(most, len(candidates))
					m.engine.Tuning.Add(class, candidates[round%len(candidates)], 1)
					return ""
				}
				for batch := 1; batch <= len(texts); batch *= 2 { // the batches that run makes of three
					_, _, err := m.towers.Programs(batch, choosing(m, force))
					require.NoError(t, err)
				}
				image, err := m.EncodeImage(t.Context(), images, true)
				require.NoError(t, err)
				text, err := m.EncodeText(t.Context(), texts, true)
				require.NoError(t, err)
				for i := range texts {
					assert.GreaterOrEqual(t, cosine(wantImage, image, i), least, "image %d", i)
					assert.GreaterOrEqual(t, cosine(wantText, text, i), least, "text %d", i)
				}
				if c == F32 {
					assert.LessOrEqual(t, farthest(wantImage, image), tolerance, "images")
					assert.LessOrEqual(t, farthest(wantText, text), tolerance, "texts")
				}
				ran++
			})
		}
		assert.Equal(t, most, ran)
		assert.Greater(t, most, 1, "kernels to choose from")
	}
}

// readTensor reads one tensor of a safetensors file.
func readTensor(t *testing.T, path, name string) (x Array) {
	t.Helper()
	inFile(t, path, name, func(stored weights.Stored) error {
		x = Array{Shape: stored.Shape, Data: make([]float32, stored.Len())}
		return stored.ReadF32(x.Data, 0)
	})
	return x
}

// readTokens reads rows of token ids.
func readTokens(t *testing.T, path, name string) (rows [][]int32) {
	t.Helper()
	inFile(t, path, name, func(stored weights.Stored) error {
		ids := make([]int64, stored.Len())
		err := stored.ReadI64(ids, 0)
		rows = make([][]int32, stored.Shape[0])
		for i, id := range ids {
			row := &rows[i/stored.Shape[1]]
			*row = append(*row, int32(id))
		}
		return err
	})
	return rows
}

func inFile(t *testing.T, path, name string, read func(weights.Stored) error) {
	t.Helper()
	f, err := weights.Open(path)
	require.NoError(t, err)
	defer f.Close()
	x, ok := f.Tensor(name)
	require.True(t, ok, name)
	require.NoError(t, read(x))
}

// farthest is the largest difference of two tensors.
func farthest(a, b Array) (d float64) {
	for i, v := range a.Data {
		d = max(d, math.Abs(float64(v-b.Data[i])))
	}
	return d
}

// TestDispatches holds the kernels of a tower to what GPUs are to be given: nine
// a block and a few around the blocks, or seven where attention is one kernel.
func TestDispatches(t *testing.T) {
	c, err := models.Config("ViT-B-32")
	require.NoError(t, err)
	m, err := towers.Build(c)
	require.NoError(t, err)
	for variant, most := range map[string]int{"three passes": 120, "one pass": 95} {
		image, text, err := m.Programs(1, func(g *graph.Graph) { g.Variants = func(string, []string) string { return variant } })
		require.NoError(t, err)
		for tower, p := range map[string]*graph.Program{"image": image, "text": text} {
			assert.LessOrEqual(t, len(p.Steps), most, "%s tower, attention in %s", tower, variant)
			assert.LessOrEqual(t, float64(p.ArenaBytes()), 1.1*float64(p.ArenaBound), "%s tower, attention in %s", tower, variant)
		}
	}
}
