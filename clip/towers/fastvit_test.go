package towers_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
)

func TestFastViTConfigs(t *testing.T) {
	for _, c := range []badConfig{
		{`{}`, `{}`, ""},
		{`{"image_size": [1, 7]}`, `{"repmixer_kernel_size": 5, "down_patch_size": 5, "se_downsamples": [true, true, false, false]}`, ""},
		{`{"timm_proj": "linear", "timm_pool": ""}`, `{"embed_dims": [4, 4, 8, 32], "lkc_use_act": false}`, ""},
		{`{"timm_model_name": "fastvit_t8"}`, `{"token_mixers": ["repmixer", "repmixer", "repmixer", "repmixer"]}`, ""},

		{`{"timm_model_name": "fastvit_mci9"}`, `{}`, `timm_model_name "fastvit_mci9" is not supported`},
		{`{"timm_proj": "none"}`, `{}`, "embed_dim (4)"},
		{`{"timm_pool": ""}`, `{}`, `global_pool "" is not supported`},
		{`{"timm_drop_path": -1}`, `{}`, "vision_cfg.timm_drop_path"},
		{`{}`, `{"layers": [1, 1, 1]}`, "timm_model_kwargs.layers has 3 stages"},
		{`{}`, `{"layers": [1, 1, 1, 1, 1], "embed_dims": [4, 8, 8, 32, 32], "mlp_ratios": [1, 1, 1, 1, 1], "token_mixers": ["attention"], "downsamples": [], "se_downsamples": []}`, "timm_model_kwargs.layers has 5 stages"},
		{`{}`, `{"layers": [1, 0, 1, 1]}`, "timm_model_kwargs.layers is 0"},
		{`{}`, `{"embed_dims": [4, 8, 8, 0]}`, "timm_model_kwargs.embed_dims is 0"},
		{`{}`, `{"embed_dims": [4, 8, 12, 32]}`, "timm_model_kwargs.embed_dims (12)"},
		{`{}`, `{"embed_dims": [4, 8, 16, 16]}`, "width of a head (32)"},
		{`{}`, `{"mlp_ratios": [4, 4, 4, 0]}`, "timm_model_kwargs.mlp_ratios"},
		{`{}`, `{"token_mixers": ["repmixer", "pool", "repmixer", "attention"]}`, "timm_model_kwargs.token_mixers"},
		{`{}`, `{"cls_ratio": 1.5}`, "timm_model_kwargs.cls_ratio"},
		{`{}`, `{"repmixer_kernel_size": 4}`, "repmixer_kernel_size 4"},
		{`{}`, `{"drop_rate": 1}`, "timm_model_kwargs.drop_rate"},
		{`{}`, `{"inference_mode": true}`, "timm_model_kwargs.inference_mode of fastvit_mci0 is not supported"},
		{`{}`, `{"pos_embs": [true, true, true, true]}`, "timm_model_kwargs.pos_embs of fastvit_mci0 is not supported"},
		{`{}`, `{"in_chans": 4}`, "in_chans"},
	} {
		c.check(t, `{"image_size": 32, "timm_model_name": "fastvit_mci0", "timm_pool": "avg", "timm_proj": null}`, `{"layers": [1, 1, 1, 1], "embed_dims": [4, 8, 8, 32]}`)
	}
}

// Apple's checkpoint of MobileCLIP-S and what open_clip makes of it are one model.
func TestFastViTOfApple(t *testing.T) {
	vision := `{"image_size": 32, "timm_model_name": "fastvit_mci0", "timm_pool": "avg", "timm_proj": null}`
	data := timmConfig(t, vision, `{"layers": [1, 1, 1, 1], "embed_dims": [4, 4, 8, 32], "mlp_ratios": [1, 1, 1, 1]}`)
	c, _, err := models.Parse(data)
	require.NoError(t, err)
	c.CustomText, c.TextCfg.NoCausalMask = true, true
	var values []map[string][]float32
	for _, name := range []string{"mobileclip_s_apple", "mobileclip_s"} {
		m, err := checkpoint.Open(t.Context(), filepath.Join("../../tests/testdata/containers", name+".safetensors"), checkpoint.Options{Config: &c})
		require.NoError(t, err)
		values = append(values, mobileCLIPValues(t, m.Model))
		require.NoError(t, m.Close())
	}
	assert.Equal(t, values[1], values[0])
	assert.Equal(t, []float32{7}, values[0]["visual.trunk.stages.3.blocks.0.norm.num_batches_tracked"])
}
