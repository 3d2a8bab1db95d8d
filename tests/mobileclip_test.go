package tests

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// Batch norms that open_clip freezes lose the activation that is part of timm's.
func TestFrozenStemOfMobileCLIP(t *testing.T) {
	data, err := os.ReadFile("testdata/mobileclip_frozen.json")
	require.NoError(t, err)
	var want []float32
	require.NoError(t, json.Unmarshal(data, &want))
	f, err := weights.Open("testdata/oracle/mobileclip_b_mci/inputs.safetensors")
	require.NoError(t, err)
	defer f.Close()
	image, ok := f.Tensor("image")
	require.True(t, ok)
	images := clip.Array{Shape: image.Shape, Data: make([]float32, image.Len())}
	require.NoError(t, image.ReadF32(images.Data, 0))
	m := openRecorded(t, "mobileclip_b_mci")
	m.LockImageTower(0, true)
	got, err := m.EncodeImage(t.Context(), images, false)
	require.NoError(t, err)
	assert.InDeltaSlice(t, want, got.Data, 5e-5, "the recording's own tolerance")
	m = openRecorded(t, "mobileclip_b_mci")
	m.LockImageTower(0, false)
	kept, err := m.EncodeImage(t.Context(), images, false)
	require.NoError(t, err)
	assert.NotEqual(t, got.Data, kept.Data)
}

// A model that timm has fused for inference gives what it gave, and is saved with branches.
func TestFusedMobileCLIP(t *testing.T) {
	data := []byte(`{
		"embed_dim": 4, "custom_text": true,
		"vision_cfg": {"image_size": 32, "timm_model_name": "fastvit_mci0", "timm_pool": "avg", "timm_proj": null,
			"timm_model_kwargs": {"layers": [1, 1, 1, 1], "embed_dims": [4, 4, 8, 32], "mlp_ratios": [1, 1, 1, 1]}},
		"text_cfg": {"context_length": 3, "vocab_size": 10, "width": 8, "heads": 2, "layers": 1, "no_causal_mask": true}
	}`)
	c, _, err := models.Parse(data)
	require.NoError(t, err)
	images := clip.Array{Shape: []int{2, 3, 32, 32}, Data: make([]float32, 2*3*32*32)}
	for i := range images.Data {
		images.Data[i] = float32(math.Sin(float64(i) * 1.7))
	}
	encode := func(source string, o ...clip.Option) ([]float32, *clip.Model) {
		m, err := clip.Load(t.Context(), source, o...)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, m.Close()) })
		got, err := m.EncodeImage(t.Context(), images, false)
		require.NoError(t, err)
		return got.Data, m
	}
	want, _ := encode("testdata/containers/mobileclip_s.safetensors", clip.WithConfig(c))
	got, m := encode("testdata/containers/mobileclip_s_fused.safetensors", clip.WithConfig(c))
	for i := range want {
		assert.InEpsilon(t, want[i], got[i], 1e-5)
	}
	folder := filepath.Join(t.TempDir(), "saved")
	_, err = m.Save(t.Context(), folder, clip.SaveOptions{DType: weights.F32})
	require.NoError(t, err)
	again, _ := encode(folder)
	assert.Equal(t, got, again)
}
