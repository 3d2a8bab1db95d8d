package checkpoint

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/hub"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/internal/hubtest"
)

// folderFiles are the files of a folder, as a repository.
func folderFiles(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	for _, e := range entries {
		if data, err := os.ReadFile(filepath.Join(folder, e.Name())); err == nil {
			files[e.Name()] = data
		}
	}
	return files
}

func TestLoadFromTheHub(t *testing.T) {
	s := hubtest.New(t, map[string]map[string][]byte{"org/emoji": folderFiles(t, Embedded)})
	s.Environment(t)
	want, err := Load(t.Context(), Embedded, WithDevice(device(t)))
	require.NoError(t, err)
	defer want.Close()
	texts := []string{"a red apple", "guitar"}
	features, err := want.EncodeTexts(t.Context(), texts)
	require.NoError(t, err)
	downloaded := map[string]int64{}
	progress := WithProgress(func(file string, done, total int64) { downloaded[file] = done })
	for _, source := range []string{"hf-hub:org/emoji", "hf-hub:org/emoji@main", localPrefix + Embedded} {
		m, err := Load(t.Context(), source, WithDevice(device(t)), progress)
		require.NoError(t, err, source)
		if strings.HasPrefix(source, hub.Prefix) {
			assert.Equal(t, source, m.Name())
		}
		assert.Empty(t, m.Warnings())
		assert.Equal(t, want.Preprocess().Config(), m.Preprocess().Config())
		got, err := m.EncodeTexts(t.Context(), texts)
		require.NoError(t, err)
		assert.Equal(t, features, got, source)
		require.NoError(t, m.Close())
	}
	assert.Equal(t, int64(len(s.Repos["org/emoji"]["open_clip_model.safetensors"])), downloaded["open_clip_model.safetensors"])
}

func TestPlainPathsDoNotAskTheHub(t *testing.T) {
	s := hubtest.New(t, nil)
	s.Environment(t)
	m, err := Load(t.Context(), Embedded, WithDevice(device(t)))
	require.NoError(t, err)
	require.NoError(t, m.Close())
	_, err = Load(t.Context(), "ViT-B-32")
	require.ErrorIs(t, err, fs.ErrNotExist)
	for source, names := range map[string][]string{
		"no-model":                      {"no-model", "no such file"},
		"./a:b":                         {"./a:b", "no such file"},
		localPrefix + "no-folder":       {"no such folder no-folder"},
		localPrefix + "load.go":         {"load.go", "want a folder"},
		"ViT-B-33:openai":               {"ViT-B-33:openai", "ViT-B-32,"},
		"ViT-B-33":                      {"ViT-B-33", "not exist", "ViT-B-32,"},
		"ViT-B-32:openay":               {"ViT-B-32:openay", "openai"},
		"ViT-M-32":                      {"ViT-M-32", "no weights"},
		"vit-b/32":                      {"vit-b/32", "ViT-B-32:", ":openai"},
		"hf-hub:a/b/c":                  {`"a/b/c"`, "org/name"},
		"EVA02-B-16:merged2b_s8b_b131k": {"EVA02-B-16", "not supported"},
	} {
		_, err := Load(t.Context(), source)
		require.Error(t, err, source)
		assert.NotContains(t, err.Error(), "\n")
		for _, name := range names {
			assert.ErrorContains(t, err, name, source)
		}
	}
	assert.Empty(t, s.Take())
}

// A tag brings the config of its model, its own activation and preprocessing.
func TestTagsSayWhatTheirFilesDoNot(t *testing.T) {
	repo := map[string][]byte{"open_clip_config.json": []byte("{}"), "open_clip_model.safetensors": []byte("weights")}
	s := hubtest.New(t, map[string]map[string][]byte{"timm/vit_base_patch32_clip_224.openai": repo, "UCSC-VLAA/ViT-L-14-CLIPA-datacomp1B": repo})
	cache := s.Environment(t)
	o := newOptions(nil)
	from, err := o.find(t.Context(), "ViT-B-32:openai")
	require.NoError(t, err)
	assert.True(t, o.config.QuickGELU)
	assert.Equal(t, preprocess.DefaultConfig(), *from.preprocess)
	assert.Equal(t, "ViT-B-32:openai", from.name)
	assert.Equal(t, filepath.Join(cache, "models--timm--vit_base_patch32_clip_224.openai", "snapshots", hubtest.Commit, "open_clip_model.safetensors"), from.path)
	assert.Nil(t, from.tokenizer)

	// The config's tokenizer has a repository of its own.
	from, err = newOptions(nil).find(t.Context(), "ViT-L-14-CLIPA:datacomp1b")
	require.NoError(t, err)
	assert.Equal(t, "squash", from.preprocess.ResizeMode)
	require.Len(t, from.warnings, 1)
	assert.Contains(t, from.warnings[0], "hf-hub:bert-base-uncased")
	s.Repos["bert-base-uncased"] = map[string][]byte{"vocab.txt": []byte("a\n"), "config.json": []byte("{}")}
	from, err = newOptions(nil).find(t.Context(), "ViT-L-14-CLIPA:datacomp1b")
	require.NoError(t, err)
	assert.Empty(t, from.warnings)
	data, err := from.tokenizer.Open("vocab.txt")
	require.NoError(t, err)
	require.NoError(t, data.Close())
	path, err := Fetch(t.Context(), "ViT-L-14-CLIPA:datacomp1b")
	require.NoError(t, err)
	assert.FileExists(t, path)
}

func TestConfigAndPreprocessingOfATagWin(t *testing.T) {
	plain, err := openCheckpoint(Embedded, newOptions(nil))
	require.NoError(t, err)
	require.NoError(t, plain.file.Close())
	config, pp := plain.config, Pretrained{Mean: preprocess.Channels{1, 2, 3}, Std: preprocess.Channels{1, 1, 1}, Interpolation: "bilinear", ResizeMode: "squash"}.preprocess()
	config.QuickGELU = true
	c, err := openCheckpoint(Embedded, newOptions([]Option{WithConfig(config)}))
	require.NoError(t, err)
	require.NoError(t, c.comesFrom(origin{preprocess: &pp}))
	require.NoError(t, c.file.Close())
	assert.True(t, c.config.QuickGELU)
	pp.Size = preprocess.Size(config.VisionCfg.ImageSize)
	assert.Equal(t, pp, c.transform.Config())
}

// No weights are downloaded for a model that cannot be built.
func TestUnsupportedModelsOnTheHub(t *testing.T) {
	_, entry, err := findModel("EVA02-B-16")
	require.NoError(t, err)
	s := hubtest.New(t, map[string]map[string][]byte{"org/eva": {
		"open_clip_config.json":       []byte(`{"model_cfg": ` + string(entry.Config) + `}`),
		"open_clip_model.safetensors": []byte("weights"),
	}})
	s.Environment(t)
	_, err = Load(t.Context(), "hf-hub:org/eva")
	require.ErrorIs(t, err, ErrUnsupported)
	assert.ErrorContains(t, err, "hf-hub:org/eva")
	for _, r := range s.Requests() {
		assert.NotContains(t, r, "safetensors")
	}
}
