package towers

import (
	"encoding/json"
	"math"
	"path"
	"strings"
	"testing"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/cliptest"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/timm"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What open_clip or timm would fail at, and what is not there yet, by its name.
func TestTimmConfigs(t *testing.T) {
	const plain, map_, pe = "vit_tiny_patch16_224", "vit_base_patch16_siglip_224", "vit_pe_core_base_patch16_224"
	for _, c := range []struct{ name, vision, kwargs, says string }{
		{plain, `{}`, `{}`, ""},
		{plain, `{}`, `{"embed_dim": null, "init_values": null, "drop_path_rate": 0.1, "dynamic_img_size": true}`, ""},
		{plain, `{"timm_pool": "token", "timm_proj": null}`, `{"act_layer": "silu", "norm_layer": "layernorm"}`, ""},
		{plain, `{"timm_pool": null, "timm_proj": ""}`, `{"reg_tokens": 3, "final_norm": false, "proj_bias": false}`, ""},
		{map_, `{"timm_pool": "map", "timm_proj": "mlp"}`, `{"patch_size": [8, 16]}`, ""},
		{pe, `{"timm_pool": "map", "timm_proj": ""}`, `{"attn_pool_num_heads": 3, "num_reg_tokens": 2}`, ""},
		{pe, `{"timm_pool": "token"}`, `{"use_rot_pos_emb": false}`, ""},

		{"vit_tiny_patch16", `{}`, `{}`, `timm_model_name "vit_tiny_patch16" is not supported`},
		{"vit_base_mci_300", `{}`, `{}`, `timm_model_name "vit_base_mci_300" is not supported`},
		{plain, `{"timm_model_kwargs": [1]}`, `{}`, "vision_cfg.timm_model_kwargs is \"[1]\", want a JSON object"},
		{plain, `{}`, `{"qk_norm": true}`, "timm_model_kwargs.qk_norm of vit_tiny_patch16_224 is not supported"},
		{plain, `{}`, `{"num_reg_tokens": 4}`, "timm_model_kwargs.num_reg_tokens"},
		{pe, `{}`, `{"reg_tokens": 4}`, "timm_model_kwargs.reg_tokens"},
		{pe, `{}`, `{"rope_type": "mixed"}`, "rope_type"},
		{pe, `{}`, `{"attn_type": "eva"}`, "attn_type"},
		{pe, `{}`, `{"init_values": 0.1}`, "init_values"},
		{pe, `{}`, `{"embed_dim": 28}`, "head width divisible by 4"},
		{pe, `{}`, `{"attn_pool_num_heads": 5}`, "attn_pool_num_heads"},
		{plain, `{}`, `{"depth": "2"}`, `vision_cfg.timm_model_kwargs.depth is "\"2\"", want a whole number`},
		{plain, `{}`, `{"depth": 0}`, "timm_model_kwargs.depth is 0"},
		{plain, `{}`, `{"num_heads": 5}`, "num_heads"},
		{plain, `{}`, `{"patch_size": 64}`, "patch_size"},
		{plain, `{}`, `{"in_chans": 1}`, "in_chans"},
		{plain, `{}`, `{"mlp_ratio": 0}`, "mlp_ratio"},
		{plain, `{}`, `{"reg_tokens": -1}`, "reg_tokens"},
		{plain, `{}`, `{"drop_rate": 1}`, "timm_model_kwargs.drop_rate"},
		{plain, `{"timm_drop": 1}`, `{}`, "vision_cfg.timm_drop is 1"},
		{pe, `{"timm_drop_path": -0.1}`, `{}`, "vision_cfg.timm_drop_path is -0.1"},
		{map_, `{"timm_drop_path": 1.5}`, `{"drop_path_rate": 0}`, "vision_cfg.timm_drop_path is 1.5"},
		{plain, `{}`, `{"act_layer": "mish"}`, `act_layer "mish"`},
		{plain, `{}`, `{"norm_layer": "rmsnorm"}`, `norm_layer "rmsnorm"`},
		{plain, `{}`, `{"dynamic_img_size": true, "patch_size": 7}`, "img_size"},
		{plain, `{}`, `{"img_size": 64}`, "vision_cfg.image_size"},
		{plain, `{}`, `{"class_token": false}`, "class token"},
		{map_, `{"timm_pool": "token"}`, `{}`, "class token"},
		{plain, `{"timm_pool": "map"}`, `{}`, "attention pooling"},
		{plain, `{"timm_pool": "max"}`, `{}`, `"max" is not supported`},
		{plain, `{"timm_pool": "rot_attn"}`, `{}`, "convolutional"},
		{plain, `{"timm_proj": "conv"}`, `{}`, `timm_proj is "conv"`},
		{plain, `{"timm_proj": "none"}`, `{"embed_dim": 32}`, "timm_proj none wants embed_dim"},
		{plain, `{"timm_proj": ""}`, `{"global_pool": "avg"}`, "global_pool"},
	} {
		cfg, _, err := config.Parse(cliptest.TimmTiny(t, c.name, c.vision, c.kwargs))
		if err == nil {
			err = Check(&cfg)
		}
		if c.says == "" {
			require.NoError(t, err, "%+v", c)
			continue
		}
		require.ErrorContains(t, err, c.says, "%+v", c)
		assert.NotContains(t, err.Error(), "\n")
	}
}

// Every model of the table is one that can be built, and a saved config is the
// model's again.
func TestTimmModels(t *testing.T) {
	require.Len(t, timm.Models, 145)
	for name, args := range timm.Models {
		pool := ""
		v := config.DefaultVisionConfig()
		v.TimmModelName, v.TimmPool = &name, &pool
		if size, ok := args["img_size"]; ok {
			require.NoError(t, json.Unmarshal(size, &v.ImageSize), name)
		}
		c := parse(t, []byte(cliptest.Tiny))
		c.VisionCfg = v
		_, err := Build(c)
		require.NoError(t, err, name)
		data, err := json.Marshal(c)
		require.NoError(t, err)
		assert.Equal(t, c, parse(t, data))
	}
	for _, members := range []string{`{"timm_pool": null, "timm_proj": null}`, `{"timm_pool": "", "timm_proj": ""}`} {
		c := parse(t, cliptest.TimmTiny(t, "vit_tiny_patch16_224", members, `{}`))
		data, err := json.Marshal(c)
		require.NoError(t, err)
		assert.Equal(t, c, parse(t, data))
	}
}

// The distributions of timm's init_weights_vit_timm and of Eva's init_weights, and
// torch's for what open_clip adds.
func TestTimmInitialisation(t *testing.T) {
	kaiming := func(fanIn float64) rule { return uniform(1 / math.Sqrt(fanIn)) }
	const width = 128.
	truncated := rule{0.8796 / math.Sqrt(width), 2 / math.Sqrt(width), 2.37} // of a normal cut off at ±2
	kwargs := `{"embed_dim": 128, "num_heads": 4, "depth": 3, "img_size": 64, "init_values": 0.3}`
	const all = `{"image_size": 64, "timm_pool": "map", "timm_proj": null}`
	for _, c := range []struct {
		name, vision, kwargs string
		rules                []struct {
			pattern string
			want    rule
		}
	}{
		{"vit_base_patch16_siglip_224", all, strings.Replace(kwargs, "{", `{"class_token": true, "reg_tokens": 4, `, 1), []struct {
			pattern string
			want    rule
		}{
			{"visual.trunk.cls_token", normal(1e-6)}, {"visual.trunk.reg_token", normal(1e-6)}, {"visual.trunk.pos_embed", normal(0.02)},
			{"visual.trunk.patch_embed.proj.*", kaiming(3 * 8 * 8)}, {"visual.trunk.attn_pool.latent", truncated},
			{"visual.trunk.blocks.*.ls[12].gamma", constant(0.3)}, {"visual.trunk.*norm*.weight", constant(1)},
			{"visual.trunk.*.bias", constant(0)}, {"visual.trunk.*.weight", normal(0.02)},
		}},
		{"vit_pe_core_base_patch16_224", all, strings.Replace(kwargs, `, "init_values": 0.3`, "", 1), []struct {
			pattern string
			want    rule
		}{
			{"visual.trunk.cls_token", normal(0.02)}, {"visual.trunk.pos_embed", normal(0.02)}, {"visual.trunk.attn_pool.latent", truncated},
			{"visual.trunk.patch_embed.proj.*", kaiming(3 * 8 * 8)}, {"visual.trunk.*norm*.weight", constant(1)}, {"visual.trunk.*.bias", constant(0)},
			{"visual.trunk.head.weight", normal(0.02 * 0.001)},
			{"visual.trunk.blocks.0.attn.proj.weight", normal(0.02 / math.Sqrt(2))}, {"visual.trunk.blocks.2.mlp.fc2.weight", normal(0.02 / math.Sqrt(6))},
			{"visual.trunk.blocks.1.*.[pf][rc]*[jo2].weight", normal(0.02 / 2)}, {"visual.trunk.blocks.[02].*.[pf][rc]*[jo2].weight", rule{bound: -1}},
			{"visual.trunk.*.weight", normal(0.02)},
		}},
		{"vit_tiny_patch16_224", `{"image_size": 64, "timm_proj": "mlp", "timm_proj_bias": true}`, kwargs, []struct {
			pattern string
			want    rule
		}{
			{"visual.head.mlp.fc1.*", kaiming(width)}, {"visual.head.mlp.fc2.*", kaiming(40)}, {"visual.trunk.*", rule{bound: -1}},
		}},
	} {
		for name, x := range values(t, parse(t, cliptest.TimmTiny(t, c.name, c.vision, c.kwargs)), 7) {
			if !strings.HasPrefix(name, "visual.") {
				continue
			}
			found := false
			for _, r := range c.rules {
				if ok, err := path.Match(r.pattern, name); ok && err == nil {
					found = true
					if r.want.bound >= 0 {
						r.want.check(t, name, x)
					}
					break
				}
			}
			assert.True(t, found, "no rule for %s", name)
		}
	}
}

// What no_weight_decay of timm's towers and of open_clip's models names.
func TestEmbeddingsDoNotDecay(t *testing.T) {
	m, err := Build(parse(t, cliptest.TimmTiny(t, "vit_small_patch14_reg4_dinov2", `{}`, `{"class_token": true, "no_embed_class": false}`)))
	require.NoError(t, err)
	var kept []string
	for name, p := range m.Parameters() {
		if p.NoDecay {
			kept = append(kept, name)
		}
	}
	assert.ElementsMatch(t, []string{"visual.trunk.pos_embed", "visual.trunk.cls_token", "visual.trunk.reg_token", "positional_embedding"}, kept)
}
