package checkpoint

import (
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/internal/hubtest"
)

func TestPlainPathsDoNotAskTheHub(t *testing.T) {
	s := hubtest.New(t, nil)
	s.Environment(t)
	m, err := Open(t.Context(), Embedded, Options{})
	require.NoError(t, err)
	require.NoError(t, m.Close())
	_, err = Open(t.Context(), "ViT-B-32", Options{})
	require.ErrorIs(t, err, fs.ErrNotExist)
	for source, names := range map[string][]string{
		"no-model":                           {"no-model", "no such file"},
		"./a:b":                              {"./a:b", "no such file"},
		localPrefix + "no-folder":            {"no such folder no-folder"},
		localPrefix + "save.go":              {"save.go", "want a folder"},
		"ViT-B-33:openai":                    {"ViT-B-33:openai", "ViT-B-32,"},
		"ViT-B-33":                           {"ViT-B-33", "not exist", "ViT-B-32,"},
		"ViT-B-32:openay":                    {"ViT-B-32:openay", "openai"},
		"ViT-M-32":                           {"ViT-M-32", "no weights"},
		"vit-b/32":                           {"vit-b/32", "ViT-B-32:", ":openai"},
		"hf-hub:a/b/c":                       {`"a/b/c"`, "org/name"},
		"CLAP-HTSAT-tiny-Roberta-base:laion": {"CLAP-HTSAT-tiny-Roberta-base", "not supported"},
	} {
		_, err := Open(t.Context(), source, Options{})
		require.Error(t, err, source)
		assert.NotContains(t, err.Error(), "\n")
		for _, name := range names {
			assert.ErrorContains(t, err, name, source)
		}
	}
	assert.Empty(t, s.DrainRequests())
}

// A tag brings the config of its model, its own activation and preprocessing.
func TestTagsSayWhatTheirFilesDoNot(t *testing.T) {
	repo := map[string][]byte{"open_clip_config.json": []byte("{}"), "open_clip_model.safetensors": []byte("weights")}
	s := hubtest.New(t, map[string]map[string][]byte{"timm/vit_base_patch32_clip_224.openai": repo, "UCSC-VLAA/ViT-L-14-CLIPA-datacomp1B": repo})
	cache := s.Environment(t)
	var o Options
	from, err := o.find(t.Context(), "ViT-B-32:openai")
	require.NoError(t, err)
	assert.True(t, o.Config.QuickGELU)
	assert.Equal(t, preprocess.DefaultConfig(), *from.preprocess)
	assert.Equal(t, "ViT-B-32:openai", from.name)
	assert.Equal(t, filepath.Join(cache, "models--timm--vit_base_patch32_clip_224.openai", "snapshots", hubtest.Commit, "open_clip_model.safetensors"), from.path)
	assert.Nil(t, from.tokenizer)

	// The config's tokenizer has a repository of its own.
	from, err = new(Options).find(t.Context(), "ViT-L-14-CLIPA:datacomp1b")
	require.NoError(t, err)
	assert.Equal(t, "squash", from.preprocess.ResizeMode)
	require.Len(t, from.warnings, 1)
	assert.Contains(t, from.warnings[0], "hf-hub:bert-base-uncased")
	s.Repos["bert-base-uncased"] = map[string][]byte{"vocab.txt": []byte("a\n"), "config.json": []byte("{}")}
	from, err = new(Options).find(t.Context(), "ViT-L-14-CLIPA:datacomp1b")
	require.NoError(t, err)
	assert.Empty(t, from.warnings)
	data, err := from.tokenizer.Open("vocab.txt")
	require.NoError(t, err)
	require.NoError(t, data.Close())
	path, err := Fetch(t.Context(), "ViT-L-14-CLIPA:datacomp1b", Options{})
	require.NoError(t, err)
	assert.FileExists(t, path)
}

func TestConfigAndPreprocessingOfATagWin(t *testing.T) {
	plain, err := openFiles(Embedded, &Options{})
	require.NoError(t, err)
	require.NoError(t, plain.file.Close())
	cfg, pp := plain.config, models.Pretrained{Mean: preprocess.Channels{1, 2, 3}, Std: preprocess.Channels{1, 1, 1}, Interpolation: "bilinear", ResizeMode: "squash"}.Preprocess()
	cfg.QuickGELU = true
	c, err := openFiles(Embedded, &Options{Config: &cfg})
	require.NoError(t, err)
	require.NoError(t, c.comesFrom(origin{preprocess: &pp}))
	require.NoError(t, c.file.Close())
	assert.True(t, c.config.QuickGELU)
	pp.Size = [2]int(cfg.VisionCfg.ImageSize)
	assert.Equal(t, pp, c.transform.Config())
}

// No weights are downloaded for a model that cannot be built.
func TestUnsupportedModelsOnTheHub(t *testing.T) {
	focalNet := `{"embed_dim": 512, "vision_cfg": {"image_size": 224, "timm_model_name": "focalnet_tiny_srf"}, "text_cfg": {}}`
	s := hubtest.New(t, map[string]map[string][]byte{"org/focalnet": {
		"open_clip_config.json":       []byte(`{"model_cfg": ` + focalNet + `}`),
		"open_clip_model.safetensors": []byte("weights"),
	}})
	s.Environment(t)
	_, err := Open(t.Context(), "hf-hub:org/focalnet", Options{})
	require.ErrorIs(t, err, config.ErrUnsupported)
	assert.ErrorContains(t, err, "hf-hub:org/focalnet")
	for _, r := range s.Requests() {
		assert.NotContains(t, r, "safetensors")
	}
}
