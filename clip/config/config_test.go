package config_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/cliptest"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/internal/fuzztest"
)

func TestConfigDefaultsAreOpenCLIPs(t *testing.T) {
	c, _, err := models.Parse([]byte(`{"embed_dim": 512, "vision_cfg": {}, "text_cfg": {}}`))
	require.NoError(t, err)
	assert.Equal(t, config.DefaultVisionConfig(), c.VisionCfg)
	assert.Equal(t, config.DefaultTextConfig(), c.TextCfg)
	assert.Equal(t, 12, c.VisionCfg.Layers[0])
	assert.Equal(t, config.Size{224, 224}, c.VisionCfg.ImageSize)
}

func TestConfigSurvivesARoundTrip(t *testing.T) {
	c, _, err := models.Parse(cliptest.With(t, "vision_cfg", `{"image_size": [16, 24], "attentional_pool": "parallel", "width": 20, "head_width": 10, "attn_pooler_heads": 4,
		"norm_kwargs": {"eps": 0.5}, "act_kwargs": {"approximate": "tanh"}, "qk_norm": true, "ls_init_value": 0.1}`))
	require.NoError(t, err)
	data, err := json.Marshal(c)
	require.NoError(t, err)
	again, _, err := models.Parse(data)
	require.NoError(t, err)
	assert.Equal(t, c, again)
}

// configError is a change of a section of a config that makes it wrong, and what the error says.
type configError struct{ section, change, want string }

func requireConfigErrors(t *testing.T, changes []configError) {
	for _, c := range changes {
		_, _, err := models.Parse(cliptest.With(t, c.section, c.change))
		if assert.ErrorIs(t, err, config.ErrConfig, c.change) {
			assert.ErrorContains(t, err, c.want)
			assert.NotContains(t, err.Error(), "\n")
		}
	}
}

func TestConfigErrorsNameTheKey(t *testing.T) {
	requireConfigErrors(t, []configError{
		{"", `{"embed_dim": 0}`, "embed_dim"},
		{"vision_cfg", `{"width": 25}`, "vision_cfg.width (25) is not divisible"},
		{"vision_cfg", `{"width": 1000000000000}`, "vision_cfg.width"},
		{"vision_cfg", `{"width": -24}`, "vision_cfg.width"},
		{"vision_cfg", `{"patch_size": 0}`, "vision_cfg.patch_size"},
		{"vision_cfg", `{"patch_size": 17}`, "vision_cfg.patch_size"},
		{"vision_cfg", `{"image_size": 8192, "patch_size": 1, "width": 65536, "head_width": 64}`, "vision_cfg.image_size has 67108864 positions"},
		{"vision_cfg", `{"head_width": 0}`, "vision_cfg.head_width"},
		{"vision_cfg", `{"mlp_ratio": 0}`, "vision_cfg.mlp_ratio"},
		{"vision_cfg", `{"mlp_ratio": 1e300}`, "vision_cfg.mlp_ratio"},
		{"vision_cfg", `{"pool_type": "max"}`, "vision_cfg.pool_type"},
		{"vision_cfg", `{"pos_embed_type": "rope"}`, "vision_cfg.pos_embed_type"},
		{"vision_cfg", `{"pos_embed_type": "sin_cos_2d", "image_size": [16, 24]}`, "square grid"},
		{"vision_cfg", `{"attentional_pool": "serial"}`, "attentional_pool"},
		{"vision_cfg", `{"attentional_pool": true}`, "vision_cfg.attn_pooler_heads (8)"},
		{"vision_cfg", `{"patch_dropout": 1}`, "vision_cfg.patch_dropout"},
		{"vision_cfg", `{"qk_norm": true, "scaled_cosine_attn": true}`, "qk_norm and scaled_cosine_attn"},
		{"vision_cfg", `{"act_kwargs": {"approximate": "erf"}}`, "act_kwargs.approximate"},
		{"vision_cfg", `{"layers": [1, 1, 1]}`, "list of four"},
		{"vision_cfg", `{"layers": [1, 1, 0, 1], "image_size": 64}`, "vision_cfg.layers is 0"},
		{"vision_cfg", `{"layers": [1, 1, 1, 1], "image_size": 16}`, "vision_cfg.image_size is 16"},
		{"vision_cfg", `{"layers": [1, 1, 1, 1], "image_size": 63}`, "vision_cfg.image_size is 63"},
		{"vision_cfg", `{"layers": [1, 1, 1, 1], "image_size": [32, 64]}`, "want a square"},
		{"vision_cfg", `{"layers": [1, 1, 1, 1], "image_size": 64, "width": 1}`, "vision_cfg.width is 1"},
		{"vision_cfg", `{"layers": [1, 1, 1, 1], "image_size": 64, "head_width": 0}`, "vision_cfg.head_width is 0"},
		{"vision_cfg", `{"layers": [1, 1, 1, 1], "image_size": 64, "head_width": 50}`, "32 · vision_cfg.width (768)"},
		{"text_cfg", `{"heads": 5}`, "text_cfg.width (24) is not divisible by text_cfg.heads (5)"},
		{"text_cfg", `{"pool_type": "eos"}`, "eos_id"},
		{"text_cfg", `{"pool_type": "mean"}`, "text_cfg.pool_type"},
		{"text_cfg", `{"embed_cls": true}`, "custom_text"},
		{"text_cfg", `{"proj_type": "none"}`, "proj_type none"},
		{"text_cfg", `{"vocab_size": 0}`, "text_cfg.vocab_size"},
		{"text_cfg", `{"context_length": -1}`, "text_cfg.context_length"},
	})
	for _, missing := range []string{"embed_dim", "vision_cfg", "text_cfg"} {
		var c map[string]any
		require.NoError(t, json.Unmarshal([]byte(cliptest.Tiny), &c))
		delete(c, missing)
		data, err := json.Marshal(c)
		require.NoError(t, err)
		_, _, err = models.Parse(data)
		assert.ErrorContains(t, err, missing)
	}
}

// Unknown keys, and values that are not of their key's type.
func TestConfigTypeErrorsNameTheKey(t *testing.T) {
	requireConfigErrors(t, []configError{
		{"", `{"surprise": 1}`, `unknown key "surprise"`},
		{"", `{"Embed_Dim": 1}`, `unknown key "Embed_Dim"`},
		{"vision_cfg", `{"Width": 24}`, `unknown key "Width"`},
		{"vision_cfg", `{"width": "24"}`, `vision_cfg.width is "\"24\"", want a whole number`},
		{"vision_cfg", `{"layers": 12.5}`, `vision_cfg.layers is "12.5", want`},
		{"vision_cfg", `{"image_size": [1, 2, 3]}`, `vision_cfg.image_size is "[1,2,3]", want`},
		{"vision_cfg", `{"patch_size": 1e30}`, "vision_cfg.patch_size"},
		{"vision_cfg", `{"width": null}`, `vision_cfg.width is "null", want a whole number`},
		{"vision_cfg", `{"norm_kwargs": {"elementwise_affine": false}}`, `vision_cfg: norm_kwargs: unknown key "elementwise_affine"`},
		{"vision_cfg", `{"norm_kwargs": {"eps": "x"}}`, "vision_cfg.norm_kwargs.eps is"},
		{"vision_cfg", `{"patch_size": null}`, "vision_cfg.patch_size is 0"},
		{"vision_cfg", `{"image_size": null}`, "vision_cfg.image_size is 0"},
		{"vision_cfg", `{"layers": null}`, "vision_cfg.layers"},
		{"vision_cfg", `{"pool_type": null}`, `vision_cfg.pool_type is "null", want a string`},
		{"vision_cfg", `{"pos_embed_type": null}`, `vision_cfg.pos_embed_type is "null", want a string`},
		{"vision_cfg", `{"act_kwargs": {"approximate": null}}`, `vision_cfg.act_kwargs.approximate is "null", want a string`},
		{"text_cfg", `{"norm_kwargs": {"eps": null}}`, `text_cfg.norm_kwargs.eps is "null", want a number`},
		{"text_cfg", `{"pool_type": null}`, `text_cfg.pool_type is "null", want a string`},
		{"text_cfg", `{"tokenizer_kwargs": {"clean": null}}`, `text_cfg.tokenizer_kwargs.clean is "null", want a string`},
		{"", `{"init_logit_scale": null}`, `init_logit_scale is "null", want a number`},
		{"vision_cfg", `{"norm_kwargs": 3}`, "vision_cfg.norm_kwargs is \"3\", want a JSON object"},
		{"", `{"vision_cfg": null}`, "vision_cfg is"},
		{"", `{"text_cfg": [1]}`, "text_cfg is \"[1]\", want a JSON object"},
		{"", `{"quick_gelu": 1}`, "quick_gelu is \"1\", want true or false"},
	})
}

// What the default block leaves unread need not fit together.
func TestDefaultBlockHasNoOptions(t *testing.T) {
	of := func(members string) []models.NamedShape {
		c, _, err := models.Parse(cliptest.With(t, "vision_cfg", members))
		require.NoError(t, err)
		list, err := models.Shapes(c)
		require.NoError(t, err)
		return list
	}
	options := `"qk_norm": true, "scaled_cosine_attn": true, "scale_attn": true`
	assert.Equal(t, of(`{}`), of(`{"block_type": "default", `+options+`}`))
}

func TestVariableTextIsCustomText(t *testing.T) {
	for text, custom := range map[string]bool{`{"variable_text": true}`: true, `{"variable_text": false}`: false} {
		c, _, err := models.Parse(cliptest.With(t, "text_cfg", text))
		require.NoError(t, err)
		assert.Equal(t, custom, c.CustomText)
	}
}

func TestUnsupportedFamiliesAreNamed(t *testing.T) {
	for _, c := range []struct{ section, change, want string }{
		{"vision_cfg", `{"timm_model_name": "convnextv2_base"}`, "convnextv2_base"},
		{"text_cfg", `{"hf_model_name": "google/t5-base"}`, "google/t5-base"},
	} {
		_, _, err := models.Parse(cliptest.With(t, c.section, c.change))
		assert.ErrorIs(t, err, config.ErrUnsupported, c.change)
		assert.ErrorContains(t, err, c.want)
	}
}

// FuzzParseConfig reads what a folder may say of a model: open_clip's configs,
// Hugging Face's, and a preprocess_cfg within.
func FuzzParseConfig(f *testing.F) {
	for _, data := range fuzztest.Files(f, "../emoji-clip/open_clip_config.json", "../../tests/testdata/oracle/*/config.json") {
		f.Add(data)
	}
	for _, data := range []string{
		`{"model_cfg": ` + cliptest.Tiny + `, "preprocess_cfg": {"size": [2, 3], "mean": [0.5, 0.5, 0.5], "std": 1, "crop_pct": 0.9}}`, strings.Repeat("[", 1000),
		`{"model_type": "clip", "projection_dim": 48, "text_config": {"hidden_size": 64, "intermediate_size": 100, "num_attention_heads": 4, "eos_token_id": 2}, "vision_config": {"hidden_act": "quick_gelu"}}`,
		`{"model_type": "siglip", "text_config": {"vocab_size": 256000}, "vision_config": {"image_size": 384, "patch_size": 14}}`,
	} {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := fuzztest.Within(t, func() error {
			c, pp, err := models.Parse(data)
			if err == nil {
				err = models.Check(&c)
			}
			if err == nil && pp != nil {
				var cfg preprocess.Config
				if err := json.Unmarshal(pp, &cfg); err != nil && !errors.Is(err, preprocess.ErrInvalidConfig) {
					return err
				}
			}
			return err
		})
		if err != nil && !errors.Is(err, config.ErrConfig) && !errors.Is(err, config.ErrUnsupported) {
			t.Fatalf("untyped error %v", err)
		}
	})
}
