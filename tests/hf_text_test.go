package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

const robertaCase = "testdata/oracle/hf_roberta_quick"

// A converted model over RoBERTa says nothing of the native tower's options, and is
// the same model again.
func TestConvertHFText(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "model")
	_, err := checkpoint.Convert(t.Context(), robertaCase, folder, checkpoint.SaveOptions{DType: weights.F32}, checkpoint.Options{})
	require.NoError(t, err)
	data, err := os.ReadFile(filepath.Join(folder, "open_clip_config.json"))
	require.NoError(t, err)
	var written struct {
		Model struct {
			CustomText bool `json:"custom_text"`
			TextCfg    any  `json:"text_cfg"`
		} `json:"model_cfg"`
	}
	require.NoError(t, json.Unmarshal(data, &written))
	assert.True(t, written.Model.CustomText)
	text, err := json.Marshal(written.Model.TextCfg)
	require.NoError(t, err)
	assert.JSONEq(t, `{"context_length": 77, "hf_model_name": "roberta-base", "hf_model_pretrained": false, "hf_model_config":
		{"vocab_size": 57, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 36, "max_position_embeddings": 22}}`, string(text))
	c, err := checkpoint.Open(t.Context(), folder, checkpoint.Options{})
	require.NoError(t, err)
	defer c.Close()
	assert.Empty(t, c.Warnings)
}

// open_clip's class has no intermediates, beside those of the image tower.
func TestHFTextRefusals(t *testing.T) {
	m, err := clip.Load(t.Context(), robertaCase)
	require.NoError(t, err)
	defer m.Close()
	images, texts := clip.Array{Shape: []int{1, 3, 16, 16}, Data: make([]float32, 3*16*16)}, [][]int32{{0, 5, 2, 1}}
	out, err := m.ForwardIntermediates(t.Context(), clip.ImageInputs(images), nil, clip.IntermediatesOptions{})
	require.NoError(t, err)
	assert.Len(t, out.ImageIntermediates, 1)
	_, err = m.ForwardIntermediates(t.Context(), clip.ImageInputs(images), texts, clip.IntermediatesOptions{})
	require.ErrorIs(t, err, clip.ErrInput)
	require.ErrorContains(t, err, "Hugging Face text towers have no intermediates")
}
