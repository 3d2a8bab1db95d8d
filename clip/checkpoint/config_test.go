package checkpoint

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/cliptest"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/torchtest"
)

// A bare file under a model's name takes what its published weights agree on,
// and says so, and that the name has another activation, too.
func TestConfigByName(t *testing.T) {
	file := filepath.Join(t.TempDir(), "w.pt")
	weights := torchtest.Dict{{Key: "logit_scale", Value: torchtest.F32(nil, []float32{1})}}
	require.NoError(t, os.WriteFile(file, torchtest.Save(weights), 0o666))
	find := func(config string) *files {
		c, err := openFiles(file, &Options{ConfigFrom: config})
		require.NoError(t, err)
		t.Cleanup(func() { c.file.Close() })
		return c
	}
	c := find("vit-b-32")
	assert.False(t, c.config.QuickGELU)
	require.Len(t, c.warnings, 1)
	assert.Contains(t, c.warnings[0], "ViT-B-32-quickgelu")
	assert.Contains(t, c.assumed, "bicubic")
	require.NoError(t, c.comesFrom(origin{preprocess: &preprocess.Config{Mode: "RGB", Std: preprocess.Channels{1, 1, 1}, Interpolation: "bilinear", ResizeMode: "squash"}}))
	assert.Empty(t, c.assumed, "a tag says it")
	assert.Equal(t, "bilinear", c.transform.Config().Interpolation)

	c = find("ViT-B-32-quickgelu")
	assert.True(t, c.config.QuickGELU)
	assert.Empty(t, c.warnings)

	for name, mean := range map[string]float64{"ViT-B-16-SigLIP": 0.5, "ViT-B-32": preprocess.OpenAIDatasetMean[0]} {
		entry, err := models.Find(name)
		require.NoError(t, err)
		require.NotNil(t, entry.Preprocess(), name)
		assert.Equal(t, mean, entry.Preprocess().Mean[0], name)
	}
	differ := models.Entry{Pretrained: map[string]models.Pretrained{"a": {ResizeMode: "squash"}, "b": {}}}
	assert.Nil(t, differ.Preprocess())
}

// What open_clip drops is dropped with a warning, what it refuses is refused.
func TestLoadTreatsUnknownKeysAsOpenCLIP(t *testing.T) {
	all := cliptest.Tensors(t, tinyModel(t).Model.Parameters())
	text := func(change string) string { return string(cliptest.With(t, "text_cfg", change)) }
	for _, c := range []struct{ config, warning string }{
		{`{"model_cfg": ` + cliptest.Tiny + `, "preprocess_cfg": {"sharpen": 1, "crop_pct": 0.9, "two\nlines": 0}}`, `preprocess_cfg: ignored, as by open_clip: crop_pct, sharpen, "two\nlines"`},
		{`{"model_cfg": ` + cliptest.Tiny + `, "preprocess_cfg": null}`, ""},
		{`{"model_cfg": ` + cliptest.Tiny + `, "preprocess_cfg": {}, "license": "mit", "tags": []}`, "open_clip_config.json: ignored, as by open_clip: license, tags"},
		{`{"output_dict": true, ` + cliptest.Tiny[1:], ""},
		{text(`{"tokenizer_kwargs": {"reduction_mask": "syntax", "clean": "canonicalize"}}`), "text_cfg.tokenizer_kwargs.reduction_mask is ignored: texts that are too long are cut at their ends"},
		{text(`{"tokenizer_kwargs": {"reduction_mask": ""}}`), ""},
		{text(`{"tokenizer_kwargs": {"additional_special_tokens": []}}`), ""},
		{text(`{"tokenizer_kwargs": {"additional_special_tokens": null}}`), ""},
		{text(`{"hf_tokenizer_name": "x", "tokenizer_kwargs": {"strip_sep_token": false, "reduction_mask": "simple", "verbose": 1}}`), "text_cfg.tokenizer_kwargs: ignored, as by open_clip: reduction_mask, verbose"},
	} {
		got, err := Open(t.Context(), cliptest.Folder(t, all, "", "open_clip_config.json", c.config), Options{})
		require.NoError(t, err, c.config)
		if c.warning == "" {
			assert.Empty(t, got.Warnings, c.config)
		} else {
			assert.Equal(t, []string{c.warning}, got.Warnings)
		}
		require.NoError(t, got.Close())
	}
	for config, want := range map[string]string{
		text(`{"tokenizer_kwargs": {"additional_special_tokens": ["<a>"]}}`):             "text_cfg.tokenizer_kwargs.additional_special_tokens is not supported",
		text(`{"tokenizer_kwargs": {"bpe_path": "x"}}`):                                  "text_cfg.tokenizer_kwargs.bpe_path is not supported",
		text(`{"tokenizer_kwargs": {"verbose": 1}}`):                                     `"verbose"`,
		text(`{"tokenizer_kwargs": {"reduction_mask": "first"}}`):                        "text_cfg.tokenizer_kwargs.reduction_mask",
		text(`{"hf_tokenizer_name": "x", "tokenizer_kwargs": {"padding_side": "left"}}`): "text_cfg.tokenizer_kwargs.padding_side is not supported",
		text(`{"crop_pct": 1}`):                                   `"crop_pct"`,
		string(cliptest.With(t, "vision_cfg", `{"crop_pct": 1}`)): `"crop_pct"`,
		string(cliptest.With(t, "", `{"cast_dtype": "fp16"}`)):    `"cast_dtype"`,
	} {
		_, err := Open(t.Context(), cliptest.Folder(t, all, "", "open_clip_config.json", config), Options{})
		require.ErrorContains(t, err, want)
		assert.ErrorContains(t, err, "open_clip_config.json")
	}
}

// tinyModel is the tiny config with random weights.
func tinyModel(t *testing.T) *Checkpoint {
	t.Helper()
	cfg, _, err := models.Parse([]byte(cliptest.Tiny))
	require.NoError(t, err)
	c, err := New(cfg, 1, Options{})
	require.NoError(t, err)
	return c
}

// Random weights are those that New gives a model of that config. Nothing is left of its
// own, and all else stays.
func TestRandomWeights(t *testing.T) {
	open := func(o Options) *Checkpoint {
		c, err := Open(t.Context(), Embedded, o)
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	values := func(p *graph.Param) []float32 {
		v := make([]float32, p.Shape.Elems())
		require.NoError(t, p.Source.ReadF32(v, 0))
		return v
	}
	seed := uint64(5)
	own, random := open(Options{}), open(Options{RandomSeed: &seed})
	fresh, err := New(own.Model.Config, seed, Options{})
	require.NoError(t, err)
	assert.Equal(t, "emoji-clip with random weights, seed 5", random.Name)
	assert.Equal(t, own.Model.Config, random.Model.Config)
	assert.Equal(t, own.Transform.Config(), random.Transform.Config())
	want, err := own.Tokenizer.Tokenize([]string{"a red rose"}, 16)
	require.NoError(t, err)
	got, err := random.Tokenizer.Tokenize([]string{"a red rose"}, 16)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	trained, made := maps.Collect(own.Model.Parameters()), maps.Collect(fresh.Model.Parameters())
	for name, p := range random.Model.Parameters() {
		v := values(p)
		assert.NotEqual(t, values(trained[name]), v, name)
		assert.Equal(t, values(made[name]), v, name)
	}
	assert.Len(t, made, len(trained))
	require.NoError(t, random.Inspect(t.Context()))
	assert.Empty(t, random.NotFinite)
}
