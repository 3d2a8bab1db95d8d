package towers_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/models"
)

// timmConfig is the config of a small model whose vision_cfg is a model of timm's,
// with members of vision_cfg and of timm_model_kwargs replaced.
func timmConfig(t *testing.T, vision, kwargs string, members ...string) []byte {
	t.Helper()
	v, all := map[string]any{}, map[string]any{}
	require.NoError(t, json.Unmarshal([]byte(vision), &v))
	require.NoError(t, json.Unmarshal([]byte(kwargs), &all))
	v["timm_model_kwargs"] = all
	for _, m := range members {
		require.NoError(t, json.Unmarshal([]byte(m), &v))
	}
	data, err := json.Marshal(map[string]any{
		"embed_dim": 4, "vision_cfg": v,
		"text_cfg": map[string]any{"context_length": 3, "vocab_size": 10, "width": 8, "heads": 2, "layers": 1},
	})
	require.NoError(t, err)
	return data
}

// badConfig is a change of a config and what the error says of it: nothing where the config
// stays right.
type badConfig struct{ vision, kwargs, says string }

func (c badConfig) check(t *testing.T, vision, kwargs string) {
	t.Helper()
	all := map[string]any{}
	require.NoError(t, json.Unmarshal([]byte(kwargs), &all))
	require.NoError(t, json.Unmarshal([]byte(c.kwargs), &all))
	merged, err := json.Marshal(all)
	require.NoError(t, err)
	_, _, err = models.Parse(timmConfig(t, vision, string(merged), c.vision))
	if c.says == "" {
		require.NoError(t, err, "%+v", c)
		return
	}
	require.ErrorContains(t, err, c.says, "%+v", c)
	assert.NotContains(t, err.Error(), "\n")
}

func TestConvNeXtConfigs(t *testing.T) {
	for _, c := range []badConfig{
		{`{}`, `{}`, ""},
		{`{"image_size": [33, 64]}`, `{"conv_mlp": true, "conv_bias": false, "norm_eps": 1e-5, "kernel_sizes": 5, "head_hidden_size": 8}`, ""},
		{`{"timm_proj": null, "timm_pool": "avg"}`, `{"head_hidden_size": 12}`, ""},
		{`{"timm_proj": "", "timm_pool": "avg"}`, `{"act_layer": "gelu_tanh", "patch_size": 3}`, ""},
		{`{"timm_proj": "none", "timm_pool": "avg"}`, `{"dims": [8, 8, 8, 4]}`, ""},

		{`{"timm_model_name": "convnextv2_tiny"}`, `{}`, `timm_model_name "convnextv2_tiny" is not supported`},
		{`{"timm_proj": "two"}`, `{}`, "vision_cfg.timm_proj"},
		{`{"timm_proj": "none", "timm_pool": "avg"}`, `{}`, "embed_dim (4)"},
		{`{"timm_proj": ""}`, `{}`, `global_pool "" is not supported`},
		{`{"timm_pool": "max"}`, `{}`, `"max" is not supported`},
		{`{"timm_drop_path": 1}`, `{}`, "vision_cfg.timm_drop_path"},
		{`{"image_size": [64, 31]}`, `{}`, "vision_cfg.image_size is 31"},
		{`{"patch_dropout": 0.5}`, `{}`, "patch_drop_rate of convnext_tiny is not supported"},
		{`{}`, `{"depths": [1, 1, 1]}`, "timm_model_kwargs.depths and dims"},
		{`{}`, `{"depths": [1, 1, 0, 1]}`, "timm_model_kwargs.depths is 0"},
		{`{}`, `{"dims": [8, 8, 8, -1]}`, "timm_model_kwargs.dims is -1"},
		{`{}`, `{"dims": 8}`, "timm_model_kwargs.dims"},
		{`{}`, `{"kernel_sizes": 4}`, "kernel_sizes 4"},
		{`{}`, `{"patch_size": 2}`, "patch_size 2"},
		{`{}`, `{"patch_size": 8}`, "patch_size is 8"},
		{`{}`, `{"head_hidden_size": 12}`, "head_hidden_size (12) equal to the last of dims (8)"},
		{`{}`, `{"use_grn": true}`, "timm_model_kwargs.use_grn of convnext_tiny is not supported"},
		{`{}`, `{"act_layer": "relu6"}`, `act_layer "relu6" is not supported`},
		{`{}`, `{"norm_eps": -1}`, "timm_model_kwargs.norm_eps is -1"},
		{`{}`, `{"drop_rate": 2}`, "timm_model_kwargs.drop_rate"},
		{`{}`, `{"in_chans": 1}`, "in_chans"},
	} {
		c.check(t, `{"image_size": 32, "timm_model_name": "convnext_tiny", "timm_pool": "", "timm_proj": "linear"}`, `{"depths": [1, 1, 1, 1], "dims": [4, 4, 8, 8]}`)
	}
}
