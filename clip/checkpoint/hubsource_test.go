package checkpoint

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/hub"
)

func TestSourcesOnTheHub(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("runs", 0o777))
	t.Setenv("HF_ENDPOINT", "http://mirror.example:8080/hf/")
	const commit = "0123456789abcdef0123456789abcdef01234567"
	for source, want := range map[string]hubModel{
		"hf-hub:org/name":                                                   {id: "org/name"},
		"hf-hub:org/name/":                                                  {id: "org/name"},
		"hf-hub:gpt2":                                                       {id: "gpt2"},
		"hf-hub:https://huggingface.co/org/name":                            {id: "org/name"},
		"https://huggingface.co/org/name":                                   {id: "org/name"},
		"https://huggingface.co/org/name/":                                  {id: "org/name"},
		"HTTPS://HuggingFace.co/org/name?library=open_clip#usage":           {id: "org/name"},
		"http://www.huggingface.co/org/name/tree/main":                      {id: "org/name"},
		"https://hf.co/org/name/tree/v1.0":                                  {id: "org/name@v1.0"},
		"https://hf.co/org/name/tree/" + commit:                             {id: "org/name@" + commit},
		"https://hf.co/org/name/tree/refs%2Fpr%2F1":                         {id: "org/name@refs/pr/1"},
		"https://hf.co/gpt2":                                                {id: "gpt2"},
		"https://hf.co/gpt2/tree/main":                                      {id: "gpt2"},
		"hf.co/org/name":                                                    {id: "org/name"},
		"huggingface.co/org/name/tree/main":                                 {id: "org/name"},
		"https://hf.co/org/name/blob/main/model.safetensors":                {id: "org/name", file: "model.safetensors"},
		"https://hf.co/org/name/resolve/v2/a/open%20clip.bin?download=true": {id: "org/name@v2", file: "a/open clip.bin"},
		"http://mirror.example:8080/hf/org/name/tree/main":                  {id: "org/name"},
		"openai/clip-vit-base-patch32":                                      {id: "openai/clip-vit-base-patch32", bare: true},
		"openai/clip-vit-base-patch32/":                                     {id: "openai/clip-vit-base-patch32", bare: true},
		"org/name@v1.0":                                                     {id: "org/name@v1.0", bare: true},
	} {
		got, ok, err := parseHubSource(source)
		require.NoError(t, err, source)
		assert.True(t, ok, source)
		assert.Equal(t, want, got, source)
	}
	for _, source := range []string{"", "model", "./org/name", "/org/name", "../name", "org/sub/name", "runs/name", "old/epoch_10.pt",
		"old/open_clip_config.json", "vit-b/32", "ViT-B/33", "ViT-B-32:openai", "local-dir:org/name", `org\name`, "https:org"} {
		_, ok, err := parseHubSource(source)
		assert.NoError(t, err, source)
		assert.False(t, ok, source)
	}
	for source, part := range map[string]string{
		"https://example.com/org/name":                   "host",
		"https://hf.co/datasets/org/name":                "not that of a model",
		"https://hf.co/org/name/discussions":             "hf-hub:org/name",
		"https://hf.co/org/name/tree":                    "hf-hub:org/name",
		"https://hf.co/org/name/tree/main/sub":           "hf-hub:org/name",
		"https://hf.co/org/name/blob/v1/README.md":       "hf-hub:org/name@v1",
		"hf-hub:https://mirror.example/hf/org/name/tree": "host",
	} {
		_, _, err := parseHubSource(source)
		require.ErrorIs(t, err, hub.ErrRef, source)
		assert.ErrorContains(t, err, source)
		assert.ErrorContains(t, err, part, source)
	}

	require.NoError(t, os.MkdirAll("hf.co/org/name", 0o777))
	_, ok, err := parseHubSource("hf.co/org/name")
	assert.NoError(t, err)
	assert.False(t, ok, "a folder that is here goes before")
}
