package tests

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
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
