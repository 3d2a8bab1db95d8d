package towers_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
)

const relPosConfig, relPosKwargs = `{"image_size": 32, "timm_model_name": "vit_relpos_medium_patch16_cls_224", "timm_pool": "", "timm_proj": "linear"}`,
	`{"img_size": 32, "patch_size": 8, "embed_dim": 8, "depth": 1, "num_heads": 2, "rel_pos_dim": 5}`

func TestRelPosConfigs(t *testing.T) {
	for _, c := range []badConfig{
		{`{}`, `{}`, ""},
		{`{"image_size": [32, 24], "timm_pool": "avg", "timm_proj": ""}`, `{"img_size": [32, 24], "fc_norm": true, "class_token": false}`, ""},
		{`{"timm_model_name": "vit_relpos_base_patch16_clsgap_224"}`, `{"qkv_bias": true, "init_values": 0, "rel_pos_dim": 0}`, ""},

		{`{"timm_model_name": "vit_relpos_small_patch16_rpn_224"}`, `{}`, `timm_model_name "vit_relpos_small_patch16_rpn_224" is not supported`},
		{`{}`, `{"rel_pos_type": "bias"}`, `rel_pos_type "bias" is not supported`},
		{`{}`, `{"rel_pos_dim": -1}`, "rel_pos_dim is -1"},
		{`{}`, `{"shared_rel_pos": true}`, "timm_model_kwargs.shared_rel_pos of vit_relpos_medium_patch16_cls_224 is not supported"},
		{`{}`, `{"no_embed_class": true}`, "timm_model_kwargs.no_embed_class"},
		{`{"patch_dropout": 0.5}`, `{}`, "patch_drop_rate of vit_relpos_medium_patch16_cls_224 are not supported"},
		{`{"timm_pool": "map", "timm_proj": ""}`, `{}`, "attention pooling"},
		{`{"timm_pool": "token"}`, `{"class_token": false}`, "class token"},
		{`{}`, `{"num_heads": 3}`, "num_heads"},
		{`{"image_size": 64}`, `{}`, "timm_model_kwargs.img_size changes that"},
		{`{"image_size": 8192}`, `{"img_size": 8192, "patch_size": 1}`, "the biases between the patches"},
	} {
		c.check(t, relPosConfig, relPosKwargs)
	}
}

// The class starts with torch's distributions, but for the class token.
func TestRelPosInitialisation(t *testing.T) {
	c, _, err := models.Parse(timmConfig(t, relPosConfig, relPosKwargs, `{"timm_proj": "", "timm_pool": "token"}`))
	require.NoError(t, err)
	m, err := checkpoint.New(c, 3, checkpoint.Options{})
	require.NoError(t, err)
	defer m.Close()
	fanIn := map[string]int{
		"attn.qkv.weight": 8, "attn.proj.weight": 8, "attn.proj.bias": 8, "mlp.fc1.weight": 8, "mlp.fc2.bias": 32,
		"attn.rel_pos.mlp.fc1.weight": 2, "attn.rel_pos.mlp.fc1.bias": 2, "attn.rel_pos.mlp.fc2.weight": 5,
	}
	for name, x := range mobileCLIPValues(t, m.Model) {
		block, inBlock := strings.CutPrefix(name, "visual.trunk.blocks.0.")
		if n, ok := fanIn[block]; inBlock && ok {
			bound, largest := 1/math.Sqrt(float64(n)), 0.0
			for _, v := range x {
				largest = max(largest, math.Abs(float64(v)))
			}
			assert.LessOrEqual(t, largest, bound, name)
			assert.Greater(t, largest, bound/2, name)
			delete(fanIn, block)
		}
		if strings.HasSuffix(name, "ls1.gamma") || strings.HasSuffix(name, "cls_token") {
			assert.Less(t, math.Abs(float64(x[0])), 1e-5, name)
		}
	}
	assert.Empty(t, fanIn)
}
