package checkpoint

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/cliptest"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/internal/hubtest"
	"github.com/clip-wgpu/clip-wgpu/weights"
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

	unbuilt := t.TempDir() // a model that cannot be built
	config := `{"embed_dim": 512, "vision_cfg": {"timm_model_name": "levit_128"}, "text_cfg": {"context_length": 76}}`
	require.NoError(t, os.WriteFile(filepath.Join(unbuilt, "open_clip_config.json"), []byte(config), 0o666))
	for source, length := range map[string]int{unbuilt: 76, "ViT-B-32": 77, "RN50:openai": 77, "EVA02-B-16": 77, "coca_ViT-B-32": 76} {
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

	config = string(cliptest.With(t, "text_cfg", `{"hf_model_name": "roberta-base"}`))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "open_clip_config.json"), []byte(config), 0o666))
	_, _, heard, err = LoadTokenizer(t.Context(), dir, Options{})
	require.NoError(t, err)
	assert.Equal(t, []string{tokenizerMissing}, heard)
	files, _, _ := huggingFaceTokenizer(t, "roberta")
	writeFiles(t, dir, files)
	_, _, _, err = LoadTokenizer(t.Context(), dir, Options{})
	assert.ErrorContains(t, err, "vocab.json")
	assert.ErrorContains(t, err, tokenizerMissing)
}

// huggingFaceTokenizer is a recorded tokenizer with the ids of one text.
func huggingFaceTokenizer(t *testing.T, folder string) (files map[string][]byte, text string, ids []int32) {
	t.Helper()
	const home = "../../tests/testdata/oracle/hf_tokenizers"
	packed, err := os.Open(filepath.Join(home, "rows.json.gz"))
	require.NoError(t, err)
	defer packed.Close()
	unzip, err := gzip.NewReader(packed)
	require.NoError(t, err)
	var recorded struct {
		Texts []string
		Cases []struct {
			Folder string
			Kwargs map[string]any
			IDs    [][]int32
		}
	}
	require.NoError(t, json.NewDecoder(unzip).Decode(&recorded))
	for _, c := range recorded.Cases {
		if c.Folder == folder && len(c.Kwargs) == 0 {
			return cliptest.Files(t, filepath.Join(home, folder)), recorded.Texts[0], c.IDs[0]
		}
	}
	t.Fatalf("no tokenizer %s", folder)
	return nil, "", nil
}

func writeFiles(t *testing.T, folder string, files map[string][]byte) {
	t.Helper()
	require.NoError(t, os.MkdirAll(folder, 0o777))
	for name, data := range files {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), data, 0o666))
	}
}

// A tokenizer in a folder of its name goes with the model that is saved. An empty name
// means CLIP's own.
func TestSavedTokenizers(t *testing.T) {
	s := hubtest.New(t, map[string]map[string][]byte{})
	s.Environment(t)
	files, text, ids := huggingFaceTokenizer(t, "roberta")
	all := cliptest.Tensors(t, tinyModel(t).Model.Parameters())
	named := string(cliptest.With(t, "text_cfg", `{"hf_tokenizer_name": "roberta-base", "vocab_size": 90}`))
	dir := cliptest.Folder(t, all, named)
	writeFiles(t, filepath.Join(dir, "roberta-base"), files)
	_, err := Open(t.Context(), dir, Options{})
	assert.ErrorContains(t, err, "vocab_size is 90")
	cliptest.Set(t, all, "token_embedding.weight", []int{2000, 24})
	named = string(cliptest.With(t, "text_cfg", `{"hf_tokenizer_name": "roberta-base", "vocab_size": 2000, "context_length": 8}`))
	dir = cliptest.Folder(t, all, named)
	writeFiles(t, filepath.Join(dir, "roberta-base"), files)
	c, err := Open(t.Context(), dir, Options{})
	require.NoError(t, err)
	require.NotNil(t, c.Tokenizer)
	saved := filepath.Join(t.TempDir(), "saved")
	_, err = c.Save(t.Context(), saved, SaveOptions{DType: weights.F32})
	require.NoError(t, err)
	require.NoError(t, c.Close())
	for name := range files { // config.json too, which tells the tokenizer's class
		assert.FileExists(t, filepath.Join(saved, name))
	}
	again, err := Open(t.Context(), saved, Options{})
	require.NoError(t, err)
	defer again.Close()
	require.NotNil(t, again.Tokenizer)
	rows, err := again.Tokenizer.Unpadded([]string{text}, 77)
	require.NoError(t, err)
	assert.Equal(t, ids, rows[0])

	own := cliptest.Folder(t, cliptest.Tensors(t, tinyModel(t).Model.Parameters()), "")
	writeFiles(t, own, map[string][]byte{"open_clip_config.json": cliptest.With(t, "text_cfg", `{"hf_tokenizer_name": ""}`)})
	tok, _, _, err := LoadTokenizer(t.Context(), own, Options{})
	require.NoError(t, err)
	assert.Equal(t, 49408, tok.VocabSize())
	require.NoError(t, tinyModel(t).Inspect(t.Context()))
}

// The towers of Hugging Face have tokenizers that their configs name: beside the
// config, in a folder of that name beside it, or in the hub's cache.
func TestLoadTokenizerOfHuggingFaceTowers(t *testing.T) {
	for model, c := range map[string]struct {
		name, folder string
		context      int
	}{
		"roberta-ViT-B-32": {"roberta-base", "roberta", 77}, "coca_roberta-ViT-B-32": {"roberta-base", "roberta", 77},
		"xlm-roberta-base-ViT-B-32": {"xlm-roberta-base", "xlm_roberta", 77}, "xlm-roberta-large-ViT-H-14": {"xlm-roberta-large", "xlm_roberta", 77},
		"mt5-base-ViT-B-32": {"google/mt5-base", "mt5", 77}, "nllb-clip-base": {"facebook/nllb-200-distilled-600M", "nllb", 77},
		"gte-modernbert-base-ViT-B-32-256": {"Alibaba-NLP/gte-modernbert-base", "gte_modernbert", 256},
	} {
		t.Run(model, func(t *testing.T) {
			files, text, ids := huggingFaceTokenizer(t, c.folder)
			s := hubtest.New(t, map[string]map[string][]byte{c.name: files})
			s.Environment(t)
			described, _ := models.Config(model) // of a model that need not be built
			encoded, err := json.Marshal(described)
			require.NoError(t, err)
			about := map[string][]byte{"open_clip_config.json": fmt.Appendf(nil, `{"model_cfg": %s}`, encoded)}
			beside, below, alone := t.TempDir(), t.TempDir(), t.TempDir()
			writeFiles(t, beside, about)
			writeFiles(t, beside, files)
			writeFiles(t, below, about)
			writeFiles(t, filepath.Join(below, c.name), files)
			writeFiles(t, alone, about)
			check := func(source string) {
				t.Helper()
				tok, length, _, err := LoadTokenizer(t.Context(), source, Options{})
				require.NoError(t, err, source)
				assert.Equal(t, c.context, length)
				rows, err := tok.Unpadded([]string{text}, length)
				require.NoError(t, err)
				assert.Equal(t, ids, rows[0], source)
			}
			check(beside)
			_, _, _, err = LoadTokenizer(t.Context(), beside, Options{Language: "fra_Latn"})
			if c.folder == "nllb" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "the tokenizer has no languages")
			}
			check(localPrefix + beside)
			check(below)
			_, _, _, err = LoadTokenizer(t.Context(), alone, Options{})
			require.ErrorIs(t, err, config.ErrUnsupported)
			assert.ErrorContains(t, err, c.name)
			check(model) // fills the cache
			t.Setenv("HF_HUB_OFFLINE", "1")
			s.Requests()
			check(model)
			check(alone)
			assert.Empty(t, s.Requests())
			_, _, _, err = LoadTokenizer(t.Context(), localPrefix+alone, Options{}) // upstream looks nowhere else
			require.ErrorIs(t, err, config.ErrUnsupported)
		})
	}
}

func TestLoadTokenizerOfTiktoken(t *testing.T) {
	files, text, ids := huggingFaceTokenizer(t, "tiktoken_r50k")
	folder := func(text string) string {
		dir := t.TempDir()
		writeFiles(t, dir, files)
		writeFiles(t, dir, map[string][]byte{"open_clip_config.json": []byte(`{"model_cfg": {"embed_dim": 8,
			"vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
			"text_cfg": {"context_length": 24, "vocab_size": 804, "width": 64, "heads": 1, "layers": 1, "tokenizer_type": "tiktoken"` + text + `}}}`)})
		return dir
	}
	tok, length, _, err := LoadTokenizer(t.Context(), folder(`, "tiktoken_name": "r50k_base"`), Options{})
	require.NoError(t, err)
	rows, err := tok.Unpadded([]string{text}, length)
	require.NoError(t, err)
	assert.Equal(t, ids, rows[0])
	tok, length, heard, err := LoadTokenizer(t.Context(), folder(`, "tiktoken_name": "r50k_base", "tokenizer_kwargs": {"add_bos": false, "add_eos": false, "clean": "lower", "language": "x"}`), Options{})
	require.NoError(t, err)
	assert.Len(t, heard, 1)
	rows, err = tok.Unpadded([]string{"A  B"}, length)
	require.NoError(t, err)
	assert.Equal(t, tok.Encode("a b"), rows[0])
	for text, part := range map[string]string{
		"":                       "cl100k_base.tiktoken",
		`, "tiktoken_name": "k"`: `tiktoken_name "k" is not supported`,
		`, "tiktoken_name": "r50k_base", "tokenizer_kwargs": {"clean": "no"}`:  "clean",
		`, "tiktoken_name": "r50k_base", "tokenizer_kwargs": {"add_bos": "x"}`: "add_bos",
	} {
		_, _, _, err := LoadTokenizer(t.Context(), folder(text), Options{})
		assert.ErrorContains(t, err, part)
	}
	_, _, _, err = LoadTokenizer(t.Context(), "moderntext-ViT-B-32-256", Options{})
	require.ErrorIs(t, err, config.ErrUnsupported)
	assert.ErrorContains(t, err, "r50k_base.tiktoken")
}
