package checkpoint

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/cliptest"
	"github.com/clip-wgpu/clip-wgpu/internal/hubtest"
)

func TestLoadTokenizerNeedsNoWeights(t *testing.T) {
	model, err := Open(t.Context(), Embedded, Options{})
	require.NoError(t, err)
	defer model.Close()
	texts := []string{"a red apple", "Guitar!"}
	want, err := model.Tokenizer.Tokenize(texts, model.Model.Config.TextCfg.ContextLength)
	require.NoError(t, err)

	files := cliptest.Files(t, "../emoji-clip")
	delete(files, "open_clip_model.safetensors")
	s := hubtest.New(t, map[string]map[string][]byte{"org/emoji": files})
	s.Environment(t)
	folder := t.TempDir()
	for name, data := range files {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), data, 0o666))
	}
	for _, source := range []string{"", Embedded, folder, localPrefix + folder, "hf-hub:org/emoji", "org/emoji", s.URL + "/org/emoji/tree/main"} {
		tok, length, _, err := LoadTokenizer(t.Context(), source, Options{})
		require.NoError(t, err, source)
		assert.Equal(t, 16, length)
		rows, err := tok.Tokenize(texts, length)
		require.NoError(t, err)
		assert.Equal(t, want, rows, source)
	}

	coca := t.TempDir() // a model that cannot be built
	cocaConfig := `{"embed_dim": 512, "multimodal_cfg": {"context_length": 76}, "vision_cfg": {}, "text_cfg": {"context_length": 76}}`
	require.NoError(t, os.WriteFile(filepath.Join(coca, "open_clip_config.json"), []byte(cocaConfig), 0o666))
	for source, length := range map[string]int{coca: 76, "ViT-B-32": 77, "RN50:openai": 77, "EVA02-B-16": 77, "coca_ViT-B-32": 76} {
		tok, n, _, err := LoadTokenizer(t.Context(), source, Options{})
		require.NoError(t, err, source)
		assert.Equal(t, length, n, source)
		assert.Equal(t, 49408, tok.VocabSize())
	}
}

func TestLoadTokenizerThatAConfigNames(t *testing.T) {
	s := hubtest.New(t, map[string]map[string][]byte{
		"timm/ViT-B-16-SigLIP": {"tokenizer.json": []byte("no JSON")}, // reading it shows that it came
		"org/own":              {"open_clip_config.json": []byte(`{"model_cfg": {"embed_dim": 1, "vision_cfg": {}, "text_cfg": {"hf_tokenizer_name": "org/none"}}}`)},
	})
	s.Environment(t)
	for _, source := range []string{"ViT-B-16-SigLIP", "ViT-B-16-SigLIP:webli"} {
		_, _, _, err := LoadTokenizer(t.Context(), source, Options{})
		assert.ErrorContains(t, err, "tokenizer.json", source)
	}
	_, _, _, err := LoadTokenizer(t.Context(), "hf-hub:org/own", Options{})
	assert.ErrorContains(t, err, "tokenizer of hf-hub:org/own")
	assert.ErrorContains(t, err, "org/none")
	for _, r := range s.Requests() {
		assert.False(t, strings.HasSuffix(r, ".safetensors") || strings.HasSuffix(r, ".bin"), "no weights are asked for: %s", r)
	}
	for source, part := range map[string]string{"no-model": "near it are", t.TempDir(): "", "hf-hub:org/none": "404", "ViT-B-32:openay": "openai", "EVA02-B-16:openai": "no such pretrained tag", "CLAP-HTSAT-tiny": "not supported"} {
		_, _, _, err := LoadTokenizer(t.Context(), source, Options{})
		require.Error(t, err, source)
		assert.ErrorContains(t, err, part)
	}
}

// What is not there is not there in the same words for a tokenizer and for a model.
func TestLoadTokenizerOfNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("org", 0o777))
	for source, part := range map[string]string{
		"org/none": "on the hub that is hf-hub:org/none", "photos/model.pt": "open photos/model.pt: ", "model.pt": "open model.pt: ",
		"ViT-B-33": "near it are ViT-B-32",
	} {
		_, _, _, err := LoadTokenizer(t.Context(), source, Options{})
		require.ErrorIs(t, err, fs.ErrNotExist)
		assert.ErrorContains(t, err, part)
		_, want := Open(t.Context(), source, Options{})
		assert.Equal(t, want, err)
	}
	_, _, _, err := LoadTokenizer(t.Context(), "local-dir:none", Options{})
	require.ErrorIs(t, err, fs.ErrNotExist)
	assert.NotContains(t, err.Error(), "model name")
}

// What embed warns of, tokenize warns of.
func TestLoadTokenizerWarns(t *testing.T) {
	for _, source := range []string{localPrefix + "/nonexistent", localPrefix + "ViT-B-32:openai"} {
		_, _, _, err := LoadTokenizer(t.Context(), source, Options{})
		require.ErrorIs(t, err, fs.ErrNotExist)
		assert.ErrorContains(t, err, "no such folder "+source[len(localPrefix):])
	}
	config := string(cliptest.With(t, "text_cfg", `{"tokenizer_kwargs": {"reduction_mask": "simple"}}`))
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "open_clip_config.json"), []byte(config), 0o666))
	_, _, heard, err := LoadTokenizer(t.Context(), dir, Options{})
	require.NoError(t, err)
	require.Len(t, heard, 1)
	assert.Contains(t, heard[0], "reduction_mask is ignored")
}
