package clip

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/internal/torchtest"
)

// A bare file under a model's name takes what its published weights agree on,
// and says so, and that the name has another activation, too.
func TestConfigByName(t *testing.T) {
	file := filepath.Join(t.TempDir(), "w.pt")
	weights := torchtest.Dict{{Key: "logit_scale", Value: torchtest.F32(nil, []float32{1})}}
	require.NoError(t, os.WriteFile(file, torchtest.Save(weights), 0o666))
	find := func(config string) *checkpoint {
		c, err := openCheckpoint(file, newOptions([]Option{WithConfigFrom(config)}))
		require.NoError(t, err)
		t.Cleanup(func() { c.file.Close() })
		return c
	}
	c := find("vit-b-32")
	assert.False(t, c.config.QuickGELU)
	require.Len(t, c.warnings, 1)
	assert.Contains(t, c.warnings[0], "ViT-B-32-quickgelu")
	assert.Contains(t, c.assumed, "bicubic")
	require.NoError(t, c.comesFrom(origin{preprocess: &preprocess.Config{Mode: "RGB", Std: preprocess.Channels{1, 1, 1}, Interpolation: "bilinear", ResizeMode: "squash"}}))
	assert.Empty(t, c.assumed, "a tag says it")
	assert.Equal(t, "bilinear", c.transform.Config().Interpolation)

	c = find("ViT-B-32-quickgelu")
	assert.True(t, c.config.QuickGELU)
	assert.Empty(t, c.warnings)

	for name, mean := range map[string]float64{"ViT-B-16-SigLIP": 0.5, "ViT-B-32": preprocess.OpenAIDatasetMean[0]} {
		_, entry, err := findModel(name)
		require.NoError(t, err)
		require.NotNil(t, entry.commonPreprocess(), name)
		assert.Equal(t, mean, entry.commonPreprocess().Mean[0], name)
	}
	differ := modelEntry{Pretrained: map[string]Pretrained{"a": {ResizeMode: "squash"}, "b": {}}}
	assert.Nil(t, differ.commonPreprocess())
}
