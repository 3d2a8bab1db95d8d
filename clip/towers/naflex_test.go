package towers

import (
	"math"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/cliptest"
)

// naflexConfig is a recording's config with members of vision_cfg added, which come last
// and count.
func naflexConfig(t *testing.T, recording, vision, kwargs string) (config.Config, error) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(oracle, recording, "config.json"))
	require.NoError(t, err)
	text := string(data)
	if kwargs != "" {
		text = strings.Replace(text, `"depth": 2`, `"depth": 2, `+kwargs, 1)
	}
	if vision != "" {
		text = strings.Replace(text, `"timm_model_pretrained": false`, `"timm_model_pretrained": false, `+vision, 1)
	}
	c, _, err := config.Parse([]byte(text))
	if err == nil {
		err = Check(&c)
	}
	return c, err
}

// What timm or open_clip would fail at, and what is not there, by its key.
func TestNaFlexConfigs(t *testing.T) {
	const gap, swiglu = "naflex_gap", "naflex_map_swiglu_modern"
	for _, c := range []struct{ recording, vision, kwargs, says string }{
		{gap, `"timm_proj": "mlp"`, `"fc_norm": false, "final_norm": false`, ""},
		{gap, `"timm_proj": ""`, `"act_layer": "silu", "qkv_bias": false, "pos_embed_grid_size": [3, 7], "mlp_ratio": null`, ""},
		{swiglu, ``, `"attn_pool_num_heads": 3`, ""},
		{gap, ``, `"rope_type": "axial"`, "timm_model_kwargs.rope_type of naflexvit_base_patch16_gap is not supported"},
		{gap, ``, `"qk_norm": true`, "qk_norm"},
		{gap, ``, `"class_token": true`, "timm_model_kwargs.class_token"},
		{gap, ``, `"patch_drop_rate": 0.5`, "timm_model_kwargs.patch_drop_rate"},
		{gap, `"patch_dropout": 0.5`, ``, "timm_model_kwargs.patch_drop_rate"},
		{gap, ``, `"pos_embed_interp_mode": "nearest"`, "pos_embed_interp_mode"},
		{gap, ``, `"pos_embed_grid_size": [0, 4]`, "pos_embed_grid_size is 0"},
		{gap, ``, `"pos_embed_grid_size": [60000, 60000]`, "pos_embed_grid_size"},
		{gap, ``, `"reg_tokens": -1`, "reg_tokens is -1"},
		{gap, ``, `"act_layer": "mish"`, `act_layer "mish"`},
		{gap, `"timm_pool": "map"`, ``, "attention pooling"},
		{gap, `"timm_pool": "token"`, ``, "class token"},
		{gap, `"timm_pool": "max"`, ``, `"max" is not supported`},
		{gap, `"timm_proj": "none"`, ``, "timm_proj none wants embed_dim (20)"},
		{gap, `"timm_proj": "conv"`, ``, `timm_proj is "conv"`},
		{gap, `"timm_drop": 1`, ``, "vision_cfg.timm_drop is 1"},
		{swiglu, ``, `"attn_pool_num_heads": 5`, "attn_pool_num_heads"},
		{gap, ``, `"attn_pool_mlp_ratio": -4.0`, "attn_pool_mlp_ratio is -4"},
	} {
		_, err := naflexConfig(t, c.recording, c.vision, c.kwargs)
		if c.says == "" {
			require.NoError(t, err, "%+v", c)
			continue
		}
		require.ErrorContains(t, err, c.says, "%+v", c)
		assert.NotContains(t, err.Error(), "\n")
	}
	c, err := naflexConfig(t, gap, "", "")
	require.NoError(t, err)
	for says, v := range map[string]config.VisionConfig{
		"image_size (26) is not divisible by timm's patch_size (4)": {ImageSize: config.Size{24, 26}},
		"image_seq_len is 0": {ImageSize: config.Size{24, 24}, ImageSeqLen: new(int)},
	} {
		bad := c
		bad.VisionCfg.ImageSize, bad.VisionCfg.ImageSeqLen = v.ImageSize, v.ImageSeqLen
		require.ErrorIs(t, Check(&bad), config.ErrConfig)
		require.ErrorContains(t, Check(&bad), says)
	}
	_, most, ok := Sequence(&c)
	assert.True(t, ok)
	assert.Equal(t, 18, most)
	c.VisionCfg.ImageSeqLen = nil
	patch, most, _ := Sequence(&c)
	assert.Equal(t, 1024, most)
	assert.Equal(t, config.Size{4, 4}, patch)
	other := parse(t, []byte(cliptest.Tiny))
	_, _, ok = Sequence(&other)
	assert.False(t, ok)
	other.VisionCfg.ImageSeqLen = &most
	require.ErrorContains(t, Check(&other), "image_seq_len with the image tower of a ViT is not supported")
}

// The distributions of NaFlexVit's init_weights, with fix_init, and of GluMlp.
func TestNaFlexInitialisation(t *testing.T) {
	const width = 128.
	truncated := rule{0.8796 / math.Sqrt(width), 2 / math.Sqrt(width), 2.37}
	kwargs := `"embed_dim": 128, "num_heads": 4, "init_values": 0.3, "reg_tokens": 4`
	for recording, rules := range map[string][]struct {
		pattern string
		want    rule
	}{
		"naflex_gap": {{"visual.trunk.blocks.*.mlp.fc1.weight", normal(0.02)}, {"visual.trunk.blocks.*.ls[12].gamma", constant(0.3)}},
		"naflex_map_swiglu_modern": {
			{"visual.trunk.blocks.*.gamma_[12]", constant(0.3)}, {"visual.trunk.attn_pool.latent", truncated}, {"visual.trunk.blocks.*.[qv]_bias", constant(0)},
			{"visual.trunk.attn_pool.*.weight", rule{bound: -1}}, // some are norms
		},
	} {
		c, err := naflexConfig(t, recording, `"timm_proj": ""`, kwargs)
		require.NoError(t, err)
		for _, more := range []struct {
			pattern string
			want    rule
		}{
			{"visual.trunk.embeds.reg_token", normal(1e-6)}, {"visual.trunk.embeds.*", rule{bound: -1}},
			{"visual.trunk.blocks.0.*.[pf][rc]*[jo2].weight", normal(0.02 / math.Sqrt(2))}, {"visual.trunk.blocks.1.*.[pf][rc]*[jo2].weight", normal(0.02 / 2)},
			{"visual.trunk.*norm*.weight", constant(1)}, {"visual.trunk.*.mlp.fc1.*", rule{bound: -1}},
			{"visual.trunk.*.bias", constant(0)}, {"visual.trunk.*.weight", normal(0.02)},
		} {
			rules = append(rules, more)
		}
		for name, x := range values(t, c, 7) {
			if !strings.HasPrefix(name, "visual.") {
				continue
			}
			found := false
			for _, r := range rules {
				if ok, err := path.Match(r.pattern, name); ok && err == nil {
					if found = true; r.want.bound >= 0 {
						r.want.check(t, name, x)
					}
					break
				}
			}
			assert.True(t, found, "no rule for %s", name)
			if half := len(x) / 2; recording != "naflex_gap" && strings.Contains(name, "blocks.0.mlp.fc1") {
				if strings.HasSuffix(name, "bias") {
					constant(0).check(t, name, x[:half])
					constant(1).check(t, name, x[half:])
				} else {
					normal(0.02).check(t, name, x[:half])
					normal(1e-6).check(t, name, x[half:])
				}
			}
		}
	}
}

// What pictures of any size may not consist of.
func TestNaFlexImages(t *testing.T) {
	c, err := naflexConfig(t, "naflex_gap", "", "")
	require.NoError(t, err)
	m, err := Build(c)
	require.NoError(t, err)
	array := func(shape ...int) Array {
		x := Array{Shape: shape, Data: make([]float32, 1)}
		for _, n := range shape {
			x.Data = append(x.Data, make([]float32, max(0, len(x.Data)*(n-1)))...)
		}
		return x
	}
	sequences := func(change func(in map[string]Array)) map[string]Array {
		in := map[string]Array{Patches: array(2, 3, 48), PatchCoord: array(2, 3, 2), PatchValid: array(2, 3)}
		in[PatchValid].Data[0], in[PatchValid].Data[3] = 1, 1
		change(in)
		return in
	}
	b, err := m.Visual.Images(sequences(func(map[string]Array) {}))
	require.NoError(t, err)
	assert.Equal(t, 2, b.Items)
	assert.Equal(t, 3, b.Length)
	b, err = m.Visual.Images(map[string]Array{Image: array(3, 3, 8, 20)})
	require.NoError(t, err)
	assert.Equal(t, config.Size{2, 5}, b.Grid)
	for says, in := range map[string]map[string]Array{
		`is given ["patches"], want ["image"] or ["patches" "patch_coord" "patch_valid"]`: {Patches: array(1, 3, 48)},
		"images of shape [1 3 8 10]":                      {Image: array(1, 3, 8, 10)},
		"images of shape [1 8 8]":                         {Image: array(1, 8, 8)},
		"patches of shape [2 3 47], want [n length 48]":   sequences(func(in map[string]Array) { in[Patches] = array(2, 3, 47) }),
		"patches of shape [2 0 48]":                       sequences(func(in map[string]Array) { in[Patches] = array(2, 0, 48) }),
		"patch_coord of shape [2 3 3], want [2 3 2]":      sequences(func(in map[string]Array) { in[PatchCoord] = array(2, 3, 3) }),
		"patch_valid of shape [2 4], want [2 3]":          sequences(func(in map[string]Array) { in[PatchValid] = array(2, 4) }),
		"picture 1: patch_coord has -1":                   sequences(func(in map[string]Array) { in[PatchCoord].Data[6] = -1 }),
		"picture 0: patch_coord has 0.5":                  sequences(func(in map[string]Array) { in[PatchCoord].Data[0] = 0.5 }),
		"picture 0: patch_coord has NaN":                  sequences(func(in map[string]Array) { in[PatchCoord].Data[0] = float32(math.NaN()) }),
		"picture 0: patch_coord has 1e+09":                sequences(func(in map[string]Array) { in[PatchCoord].Data[1] = 1e9 }),
		"picture 1: patch_valid has 2":                    sequences(func(in map[string]Array) { in[PatchValid].Data[4] = 2 }),
		"picture 1: no patch is valid":                    sequences(func(in map[string]Array) { in[PatchValid].Data[3] = 0 }),
		"patches of shape [2 3 48] with 5 elements, want": sequences(func(in map[string]Array) { in[Patches] = Array{[]int{2, 3, 48}, make([]float32, 5)} }),
	} {
		_, err := m.Visual.Images(in)
		require.ErrorIs(t, err, check.ErrInput, says)
		assert.ErrorContains(t, err, says)
	}
}
