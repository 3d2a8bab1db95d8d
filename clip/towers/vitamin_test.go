package towers_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

const (
	viTaminVision = `{"image_size": 33, "timm_model_name": "vitamin_small_224", "timm_pool": "", "timm_proj": "linear"}`
	viTaminKwargs = `{"img_size": 33, "embed_dim": 8, "depth": 1, "num_heads": 2, "embed_cfg": {"embed_dim": [4, 4, 8], "depths": [1, 1], "stem_width": 4}}`
)

func TestViTaminConfigs(t *testing.T) {
	for _, c := range []badConfig{
		{`{}`, `{}`, ""},
		{`{"image_size": 1}`, `{"img_size": 1}`, ""},
		{`{"image_size": 20}`, `{"pos_embed": "none"}`, ""}, // img_size decides nothing then
		{`{}`, `{"class_token": true, "global_pool": "token", "reg_tokens": 1}`, ""},

		{`{"timm_model_name": "vitamin_giant_224"}`, `{}`, `timm_model_name "vitamin_giant_224" is not supported`},
		{`{"image_size": 32}`, `{}`, "timm_model_kwargs.img_size changes that"},
		{`{}`, `{"embed_dim": 12}`, "embed_dim (12) for the third"},
		{`{}`, `{"embed_cfg": {"embed_dim": [4, 8], "depths": [1, 1]}}`, "timm_model_kwargs.embed_cfg.embed_dim and depths"},
		{`{}`, `{"embed_cfg": {"embed_dim": [4, 0, 8], "depths": [1, 1]}}`, "timm_model_kwargs.embed_cfg.embed_dim is 0"},
		{`{}`, `{"embed_cfg": {"embed_dim": [4, 4, 8], "depths": [1, 0]}}`, "timm_model_kwargs.embed_cfg.depths is 0"},
		{`{}`, `{"embed_cfg": {"embed_dim": [4, 4, 8], "depths": [1, 1], "stem_width": 0}}`, "timm_model_kwargs.embed_cfg.stem_width"},
		{`{}`, `{"embed_cfg": {"head_type": "1d"}}`, "head_type"},
		{`{}`, `{"embed_cfg": 3}`, "timm_model_kwargs.embed_cfg"},
		{`{}`, `{"patch_size": 2}`, "timm_model_kwargs.patch_size is [2 2], want 1"},
		{`{}`, `{"pos_embed": "sincos"}`, "timm_model_kwargs.pos_embed"},
		{`{}`, `{"pos_embed": "none", "class_token": true}`, "pos_embed none beside class_token"},
		{`{}`, `{"mlp_layer": "mlp"}`, "timm_model_kwargs.mlp_layer of vitamin_small_224 is not supported"},
		{`{"timm_pool": "max"}`, `{}`, `"max" is not supported`},
	} {
		c.check(t, viTaminVision, viTaminKwargs)
	}
}

// An image whose last patches are cut off has positions for them, and force_image_size
// changes their number.
func TestViTaminGrid(t *testing.T) {
	c, _, err := models.Parse(timmConfig(t, viTaminVision, viTaminKwargs))
	require.NoError(t, err)
	for size, positions := range map[config.Size]int{{33, 33}: 9, {48, 16}: 3, {49, 17}: 8} {
		towers.Resize(&c, size)
		m, err := towers.Build(c)
		require.NoError(t, err)
		for name, p := range m.Parameters() {
			if name == "visual.trunk.pos_embed" {
				assert.Equal(t, graph.Shape{1, positions, 8}, p.Shape)
			}
		}
		image, _, err := m.Programs(1, nil)
		require.NoError(t, err, "%v", size)
		assert.Equal(t, graph.Shape{1, 4}, image.Outputs[0].Shape)
	}
}
