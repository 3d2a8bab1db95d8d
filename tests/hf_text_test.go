package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
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
	assert.Equal(t, []string{"text_cfg.hf_tokenizer_name is missing: the tokenizer is CLIP's, as in open_clip"}, c.Warnings)
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

// Padding at the end changes nothing, whatever the encoder; nor does it where there is one
// layer, which reads less.
func TestHFTextPadding(t *testing.T) {
	for name, c := range map[string]struct {
		padding int32
		layers  string
	}{
		"hf_mt5_mean_mlp": {0, "num_layers"}, "hf_nllb_cls_linear": {1, "encoder_layers"}, "hf_modernbert_cls_linear": {69, "num_hidden_layers"},
		"hf_bert_cls_linear": {0, "num_hidden_layers"}, "moderntext_vit_b32": {58, ""}, "opt_modern_bidir_map": {0, ""}, "opt_modern_reg_vr": {0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("testdata/oracle", name, "config.json"))
			require.NoError(t, err)
			cfg, _, err := models.Parse(data)
			require.NoError(t, err)
			if c.layers != "" {
				var model map[string]any
				require.NoError(t, json.Unmarshal(cfg.TextCfg.HFModelConfig, &model))
				model[c.layers] = 1
				cfg.TextCfg.HFModelConfig, err = json.Marshal(model)
				require.NoError(t, err)
			}
			m, err := clip.New(cfg, 1)
			require.NoError(t, err)
			defer m.Close()
			row := []int32{5, 6, 7, 8, 9, 10, 11, 2}
			want, err := m.EncodeText(t.Context(), [][]int32{row}, false)
			require.NoError(t, err)
			got, err := m.EncodeText(t.Context(), [][]int32{append(slices.Clone(row), c.padding, c.padding, c.padding), {5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 2}}, false)
			require.NoError(t, err)
			require.Len(t, got.Data, 2*len(want.Data))
			for i, v := range want.Data {
				assert.InDelta(t, v, got.Data[i], 1e-5)
			}
		})
	}
}
