package config_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// The configs of published models become those that open_clip has of them.
func TestHuggingFaceConfigs(t *testing.T) {
	for name, text := range map[string]string{
		"ViT-B-32-quickgelu": `{"model_type": "clip", "projection_dim": 512, "text_config": {"eos_token_id": 2}, "vision_config": {}}`,
		"ViT-B-32":           `{"model_type": "clip", "text_config": {"hidden_act": "gelu"}, "vision_config": {"hidden_act": "gelu"}}`,
		"ViT-L-14-quickgelu": `{"model_type": "clip", "projection_dim": 768,
			"text_config": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}, "text_config_dict": null,
			"vision_config_dict": {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14}}`,
		"ViT-B-16-SigLIP":  `{"model_type": "siglip", "text_config": {}, "vision_config": {}}`,
		"ViT-B-16-SigLIP2": `{"model_type": "siglip", "text_config": {"vocab_size": 256000}, "vision_config": {}}`,
		"ViT-SO400M-14-SigLIP-384": `{"model_type": "siglip",
			"text_config": {"hidden_size": 1152, "intermediate_size": 4304, "num_attention_heads": 16, "num_hidden_layers": 27},
			"vision_config": {"hidden_size": 1152, "intermediate_size": 4304, "num_attention_heads": 16, "num_hidden_layers": 27, "patch_size": 14, "image_size": 384}}`,
	} {
		want, err := models.Config(name)
		require.NoError(t, err)
		got, _, err := config.Parse([]byte(text))
		require.NoError(t, err, name)
		a, err := json.Marshal(want)
		require.NoError(t, err)
		b, err := json.Marshal(got)
		require.NoError(t, err)
		assert.JSONEq(t, string(a), string(b), name)
	}
}

func TestHuggingFaceConfigsOfOtherSizes(t *testing.T) {
	c, _, err := config.Parse([]byte(`{"model_type": "clip", "projection_dim": 48,
		"text_config": {"vocab_size": 600, "eos_token_id": 7, "hidden_size": 48, "intermediate_size": 100, "num_attention_heads": 4},
		"vision_config": {"hidden_size": 64, "intermediate_size": 211, "num_attention_heads": 4, "layer_norm_eps": 1e-6}}`))
	require.NoError(t, err)
	assert.Equal(t, "eos", c.TextCfg.PoolType)
	assert.Equal(t, 7, *c.TextCfg.EosID)
	assert.Equal(t, 100, int(float64(c.TextCfg.Width)*c.TextCfg.MLPRatio))
	assert.Equal(t, 211, int(float64(c.VisionCfg.Width)*c.VisionCfg.MLPRatio))
	assert.Equal(t, 16, c.VisionCfg.HeadWidth)
	assert.Equal(t, 1e-6, *c.VisionCfg.NormKwargs.Eps)

	c, _, err = config.Parse([]byte(`{"model_type": "siglip", "text_config": {"hidden_size": 64, "num_attention_heads": 4},
		"vision_config": {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 2, "patch_size": 8, "image_size": 32}}`))
	require.NoError(t, err)
	assert.JSONEq(t, `{"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 4, "mlp_ratio": 2}`, string(c.VisionCfg.TimmModelKwargs))

	for text, says := range map[string]string{
		`{"model_type": "blip"}`: `"blip"`,
		`{"model_type": "clip", "text_config": {"hidden_act": "relu"}}`:                 "text_config.hidden_act",
		`{"model_type": "clip", "text_config": {"hidden_act": "gelu"}}`:                 "vision_config",
		`{"model_type": "clip", "text_config": {"eos_token_id": 49408}}`:                "text_config.eos_token_id",
		`{"model_type": "clip", "vision_config": {"num_channels": 4}}`:                  "num_channels",
		`{"model_type": "clip", "vision_config": {"hidden_size": 0}}`:                   "vision_config.hidden_size",
		`{"model_type": "clip", "vision_config": {"hidden_size": -8}}`:                  "vision_config.hidden_size",
		`{"model_type": "clip", "vision_config": {"num_attention_heads": 5}}`:           "vision_config.num_attention_heads",
		`{"model_type": "clip", "vision_config": {"num_hidden_layers": 1000000000000}}`: "layers",
		`{"model_type": "clip", "vision_config": {"num_hidden_layers": "12"}}`:          "vision_config",
		`{"model_type": "clip", "vision_config": []}`:                                   "vision_config",
		`{"model_type": "clip", "vision_config": {"patch_size": 0}}`:                    "patch_size",
		`{"model_type": 7}`: "model_type",
		`{"model_type": "siglip", "vision_config": {"vision_use_head": false}}`:                 "vision_use_head",
		`{"model_type": "siglip", "vision_config": {"hidden_act": "quick_gelu"}}`:               "hidden_act",
		`{"model_type": "siglip", "text_config": {"hidden_size": 96}, "vision_config": {}}`:     "projection_size",
		`{"model_type": "siglip", "text_config": {"projection_size": 96}, "vision_config": {}}`: "projection_size",
		`{"model_type": "siglip", "vision_config": {"layer_norm_eps": 1e-5}}`:                   "layer_norm_eps",
	} {
		_, _, err := models.Parse([]byte(text))
		require.Error(t, err, text)
		assert.ErrorContains(t, err, says)
		assert.NotContains(t, err.Error(), "\n")
	}
}

// OpenAI's shapes tell the model, ResNets included.
func TestConfigFromShapes(t *testing.T) {
	for _, name := range []string{"ViT-B-32-quickgelu", "ViT-L-14-336-quickgelu", "RN50-quickgelu", "RN50x4-quickgelu"} {
		want, err := models.Config(name)
		require.NoError(t, err)
		src := weights.Map{}
		for n, shape := range openAIShapes(want) {
			src[n] = weights.Stored{Name: n, Shape: shape}
		}
		got, err := config.FromOpenAI(src)
		require.NoError(t, err)
		assert.Equal(t, want, got, name)
	}
	_, err := config.FromOpenAI(weights.Map{"text_projection": weights.Stored{Shape: []int{3}}})
	require.ErrorContains(t, err, "text_projection")
}

// openAIShapes are those that OpenAI's archives of a config have, and that tell it.
func openAIShapes(c config.Config) map[string][]int {
	v, x := c.VisionCfg, c.TextCfg
	m := map[string][]int{
		"text_projection": {x.Width, c.EmbedDim}, "positional_embedding": {x.ContextLength, x.Width},
		"token_embedding.weight": {x.VocabSize, x.Width}, "ln_final.weight": {x.Width},
	}
	blocks := func(prefix string, n int) {
		for i := range n {
			m[fmt.Sprint(prefix, i, ".ln_1.weight")] = []int{x.Width}
		}
	}
	blocks("transformer.resblocks.", x.Layers)
	if len(v.Layers) == 1 {
		grid := v.ImageSize[0] / v.PatchSize[0]
		blocks("visual.transformer.resblocks.", v.Layers[0])
		m["visual.proj"], m["visual.conv1.weight"] = []int{v.Width, c.EmbedDim}, []int{v.Width, 3, v.PatchSize[0], v.PatchSize[1]}
		m["visual.positional_embedding"] = []int{grid*grid + 1, v.Width}
		return m
	}
	for i, n := range v.Layers {
		blocks("visual.layer"+fmt.Sprint(i+1)+".", n)
	}
	grid := v.ImageSize[0] / 32
	m["visual.layer1.0.conv1.weight"] = []int{v.Width, v.Width, 1, 1}
	m["visual.attnpool.positional_embedding"] = []int{grid*grid + 1, v.Width * 32}
	return m
}

func TestPreprocessingOfHuggingFace(t *testing.T) {
	c, err := preprocess.FromHuggingFace([]byte(`{"size": 336, "crop_size": 336, "resample": 3, "image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1], "feature_extractor_type": "CLIPFeatureExtractor"}`))
	require.NoError(t, err)
	assert.Equal(t, preprocess.Config{Size: [2]int{336, 336}, Mode: "RGB", Mean: preprocess.Channels{0.1, 0.2, 0.3}, Std: preprocess.Channels{1, 1, 1}, Interpolation: "bicubic", ResizeMode: "shortest"}, c)
	c, err = preprocess.FromHuggingFace([]byte(`{"size": {"height": 224, "width": 192}, "resample": 2, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "do_convert_rgb": null}`))
	require.NoError(t, err)
	assert.Equal(t, "squash", c.ResizeMode)
	assert.Equal(t, "bilinear", c.Interpolation)
	assert.Equal(t, [2]int{224, 192}, c.Size)
	for data, says := range map[string]string{
		`[]`: "invalid", `{"size": "big"}`: "size", `{"size": {"longest_edge": 5}}`: "size", `{"size": {"shortest_edge": -1}}`: "size",
		`{"resample": 1}`: "resample 1", `{"do_normalize": false}`: "do_normalize", `{"rescale_factor": 1}`: "rescale_factor",
		`{"size": {"shortest_edge": 256}, "crop_size": 224}`: "crop_size", `{"size": 224, "do_center_crop": false}`: "do_center_crop",
		`{"image_std": [0, 1, 1]}`: "std", `{"image_mean": [1, 2]}`: "mean",
	} {
		_, err := preprocess.FromHuggingFace([]byte(data))
		require.ErrorIs(t, err, preprocess.ErrInvalidConfig, data)
		assert.ErrorContains(t, err, says)
	}
}
