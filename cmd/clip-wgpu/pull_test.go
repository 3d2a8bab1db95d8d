package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/internal/hubtest"
)

func emojiHub(t *testing.T) (*hubtest.Server, string) {
	t.Helper()
	files := map[string][]byte{}
	for _, name := range []string{"open_clip_config.json", "open_clip_model.safetensors", "vocab.json", "merges.txt"} {
		data, err := os.ReadFile(filepath.Join("../../clip/emoji-clip", name))
		require.NoError(t, err)
		files[name] = data
	}
	s := hubtest.New(t, map[string]map[string][]byte{"org/emoji": files})
	return s, s.Environment(t)
}

func TestPull(t *testing.T) {
	s, cache := emojiHub(t)
	folder := filepath.Join(cache, "models--org--emoji", "snapshots", hubtest.Commit)
	o := program(t, "pull", "hf-hub:org/emoji")
	o.requireDone(t)
	assert.Equal(t, folder+"\n", o.stdout)
	o = program(t, "pull", "hf-hub:org/emoji", "--json")
	o.requireDone(t)
	type row struct{ Model, Folder, Path string }
	assert.Equal(t, []row{{"hf-hub:org/emoji", folder, filepath.Join(folder, "open_clip_model.safetensors")}}, decodeLines[row](t, o.stdout))
	s.DrainRequests()

	t.Setenv("HF_HUB_OFFLINE", "1")
	program(t, "pull", "hf-hub:org/emoji").requireDone(t)
	program(t, "pull", "hf-hub:org/none").requireFailure(t, exitFailure, "hf-hub:org/none", cache, "HF_HUB_OFFLINE")
	assert.Empty(t, s.DrainRequests())
}

func TestPullRefusals(t *testing.T) {
	s, _ := emojiHub(t)
	program(t, "pull").requireFailure(t, exitUsage, "one MODEL")
	program(t, "pull", checkpoint.Embedded).requireFailure(t, exitFailure, "nothing to download")
	program(t, "pull", "no-model").requireFailure(t, exitFailure, "no-model")
	program(t, "pull", "ViT-B-32:openay").requireFailure(t, exitFailure, "ViT-B-32:openay", "openai")
	program(t, "pull", "hf-hub:org/none").requireFailure(t, exitFailure, "hf-hub:org/none", "404")
	s.Fault = func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(http.StatusUnauthorized); return true }
	program(t, "classify", example("pizza"), "--labels", "a", "--model", "hf-hub:org/emoji").
		requireFailure(t, exitFailure, "hf-hub:org/emoji", "401", "HF_TOKEN")
}

func TestClassifyWithAModelOfTheHub(t *testing.T) {
	_, cache := emojiHub(t)
	args := []string{"classify", example("pizza"), "--labels", "pizza,guitar", "--json"}
	want := program(t, args...)
	want.requireDone(t)
	for _, model := range []string{"hf-hub:org/emoji", filepath.Join(cache, "models--org--emoji", "snapshots", hubtest.Commit)} {
		o := program(t, append(args, "--model", model)...)
		o.requireDone(t)
		assert.Equal(t, strings.Replace(want.stdout, `"`+checkpoint.Embedded+`"`, `"`+model+`"`, 1), o.stdout)
	}
}

func TestModelsByTheirAddress(t *testing.T) {
	s, cache := emojiHub(t)
	folder := filepath.Join(cache, "models--org--emoji", "snapshots", hubtest.Commit)
	page := s.URL + "/org/emoji"
	for _, model := range []string{"org/emoji", "org/emoji/", page, page + "/", page + "/tree/main", page + "/blob/main/open_clip_model.safetensors", "hf-hub:" + page} {
		o := program(t, "pull", model)
		o.requireDone(t)
		assert.Equal(t, folder+"\n", o.stdout, model)
		o = program(t, "classify", example("pizza"), "--labels", "pizza,rose", "--model", model)
		o.requireDone(t)
		assert.Contains(t, o.stdout, "100.0 % pizza")
	}
	program(t, "tokenize", "hi", "--model", page).requireDone(t)
	program(t, "program", "org/emoji").requireDone(t)

	program(t, "pull", "org/none").requireFailure(t, exitFailure, "org/none", "hf-hub:org/none", "404", "does not exist here")
	program(t, "pull", "https://example.com/org/emoji").requireFailure(t, exitFailure, "example.com", "huggingface.co")
	program(t, "pull", page+"/blob/main/README.md").requireFailure(t, exitFailure, "README.md", "hf-hub:org/emoji")

	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("org", 0o777))
	s.DrainRequests()
	program(t, "pull", "org/emoji").requireFailure(t, exitFailure, "org/emoji: file does not exist", "hf-hub:org/emoji")
	assert.Empty(t, s.DrainRequests(), "a folder that is here goes before")
}
