package train

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/gpu"
)

// A model whose towers are locked has one thing left to learn, and steps change
// nothing else. The fixed table of positions is trained once its group is unlocked.
func TestLockedTowersDoNotTrain(t *testing.T) {
	dir := filepath.Join(recordings, "opt_sincos")
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	require.NoError(t, err)
	cfg, _, err := models.Parse(data)
	require.NoError(t, err)
	m, err := clip.Load(t.Context(), dir, clip.WithConfig(cfg), clip.WithGPU(gpu.Options{DefaultLimits: true}))
	require.NoError(t, err)
	defer m.Close()
	images := clip.Array{Shape: []int{3, 3, 32, 32}, Data: make([]float32, 3*3*32*32)}
	for i := range images.Data {
		images.Data[i] = float32(i%13) / 6
	}
	texts := [][]int32{{1, 2, 3, 59, 0, 0, 0, 0}, {4, 5, 59, 0, 0, 0, 0, 0}, {6, 59, 0, 0, 0, 0, 0, 0}}
	changed := func() (names []string) {
		trainer, err := New(m, DefaultConfig())
		require.NoError(t, err)
		defer trainer.Close()
		before, err := trainer.Parameters(t.Context())
		require.NoError(t, err)
		_, err = trainer.Step(t.Context(), Batch{Images: images, Texts: texts})
		require.NoError(t, err)
		after, err := trainer.Parameters(t.Context())
		require.NoError(t, err)
		for name, x := range after {
			if !slices.Equal(before[name].Data, x.Data) {
				names = append(names, name)
			}
		}
		return names
	}
	assert.NotContains(t, changed(), "visual.positional_embedding")
	m.LockImageTower(0, true)
	require.NoError(t, m.LockTextTower(0, true))
	assert.Equal(t, []string{"logit_scale"}, changed())
	grads, _, err := Gradients(t.Context(), m, ClipLoss{}, Batch{Images: images, Texts: texts})
	require.NoError(t, err)
	assert.Len(t, grads, 1)
	m.LockImageTower(99, false)
	names := changed()
	assert.Contains(t, names, "visual.positional_embedding")
	assert.NotContains(t, names, "text_projection")
	require.ErrorIs(t, m.LockTextTower(0, false), clip.ErrInput)
}

// Locks that come between two trainers of a model, those of batch norms too, leave its
// slabs as they are.
func TestTrainersBeforeAndAfterLocks(t *testing.T) {
	dir := filepath.Join(recordings, "modified_resnet")
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	require.NoError(t, err)
	cfg, _, err := models.Parse(data)
	require.NoError(t, err)
	m, err := clip.Load(t.Context(), dir, clip.WithConfig(cfg), clip.WithGPU(gpu.Options{DefaultLimits: true}))
	require.NoError(t, err)
	defer m.Close()
	size := cfg.VisionCfg.ImageSize
	images := clip.Array{Shape: []int{2, 3, size[0], size[1]}, Data: make([]float32, 2*3*size[0]*size[1])}
	for i := range images.Data {
		images.Data[i] = float32(i%13) / 6
	}
	texts := [][]int32{make([]int32, cfg.TextCfg.ContextLength), make([]int32, cfg.TextCfg.ContextLength)}
	texts[0][1], texts[1][1] = 3, 5
	for _, lock := range []func(){func() {}, func() { m.LockImageTower(2, true) }, func() { m.LockImageTower(0, false) }, m.FreezeBatchNorm} {
		lock()
		trainer, err := New(m, DefaultConfig())
		require.NoError(t, err)
		_, err = trainer.Step(t.Context(), Batch{Images: images, Texts: texts})
		require.NoError(t, err)
		require.NoError(t, trainer.Close())
	}
}
