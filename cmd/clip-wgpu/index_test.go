package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/clip-wgpu/clip-wgpu/search/index"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// examplePictures is a new folder with some of the examples.
func examplePictures(t *testing.T, names ...string) string {
	t.Helper()
	folder := t.TempDir()
	for _, name := range names {
		data, err := os.ReadFile(example(name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, name+".png"), data, 0o666))
	}
	return folder
}

// lastIndexed is the JSON line of an index command.
func lastIndexed(t *testing.T, o outcome) indexed {
	t.Helper()
	lines := decodeLines[indexed](t, o.stdout)
	require.Len(t, lines, 1)
	lines[0].Seconds = 0
	return lines[0]
}

func TestIndex(t *testing.T) {
	t.Setenv(modelVariable, "")
	path := filepath.Join(t.TempDir(), "x.db")
	folder := examplePictures(t, "pizza", "rose")
	o := program(t, "index", folder, "--index", path, "--model", "emoji-clip", "--json")
	o.requireDone(t)
	want := indexed{Index: rawText(path), Model: "emoji-clip", Pictures: 2, Found: 2, Encoded: 2}
	assert.Equal(t, want, lastIndexed(t, o))
	assert.FileExists(t, path+".thumbnails")

	// Later the index knows its model and folders.
	require.NoError(t, os.WriteFile(filepath.Join(folder, "bad.png"), []byte("bad"), 0o666))
	require.NoError(t, os.Rename(filepath.Join(folder, "rose.png"), filepath.Join(folder, "a rose.png")))
	o = program(t, "index", "--index", path, "--json")
	assert.Equal(t, exitSkipped, o.code)
	assert.Contains(t, o.stderr, filepath.Join(folder, "bad.png"))
	want.Found, want.Encoded, want.Known, want.Removed, want.Failed = 3, 0, 1, 1, 1
	assert.Equal(t, want, lastIndexed(t, o))
	o = program(t, "index", "--index", path)
	require.Equal(t, exitOK, o.code)
	assert.Contains(t, o.stdout, "2 pictures in "+path)
	assert.Contains(t, o.stderr, "could not be read before")

	program(t, "index", "--index", path, "--model", "ViT-B-32:openai").requireFailure(t, exitFailure, path, "emoji-clip", "ViT-B-32:openai")
	program(t, "index", "--index", path, "--weights", "f16").requireFailure(t, exitFailure, path, "f32", "f16")

	require.NoError(t, os.RemoveAll(folder))
	program(t, "index", "--index", path).requireFailure(t, exitFailure, folder)
	o = program(t, "index", "--forget", folder, "--index", path)
	o.requireDone(t)
	assert.Contains(t, o.stdout, "3 files dropped")
	program(t, "index", "--index", path).requireFailure(t, exitUsage, path)
}

// The weights say which model an index is of, not where they lie.
func TestIndexOfAMovedModel(t *testing.T) {
	path, model := filepath.Join(t.TempDir(), "x.db"), filepath.Join(t.TempDir(), "model")
	folder := examplePictures(t, "pizza")
	program(t, "index", folder, "--index", path, "--model", "emoji-clip").requireDone(t)
	program(t, "convert", "emoji-clip", "-o", model).requireDone(t)
	program(t, "search", "pizza", "--index", path, "--model", model).requireDone(t)
	for _, args := range [][]string{{"--model", model}, nil} {
		o := program(t, append([]string{"index", "--index", path, "--json"}, args...)...)
		o.requireDone(t)
		assert.Equal(t, indexed{Index: rawText(path), Model: rawText(model), Pictures: 1, Found: 1}, lastIndexed(t, o))
	}
	other := filepath.Join(t.TempDir(), "other")
	program(t, "convert", "emoji-clip", "-o", other, "--dtype", "bf16").requireDone(t)
	for _, args := range [][]string{{"index"}, {"search", "pizza"}} {
		program(t, append(args, "--index", path, "--model", other)...).requireFailure(t, exitFailure, path, model, "other weights")
	}
}

func TestIndexOfAnotherModel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	folder := examplePictures(t, "pizza")
	x, err := index.Create(path, index.Options{Model: "emoji-clip", Identity: `{"weights":"f32"}`, Dim: 64})
	require.NoError(t, err)
	require.NoError(t, x.Close())
	program(t, "index", folder, "--index", path).requireFailure(t, exitFailure, path, "emoji-clip")
}

func TestIndexTakesNoEmbeddedModelUnasked(t *testing.T) {
	t.Setenv(modelVariable, "")
	path := filepath.Join(t.TempDir(), "x.db")
	folder := examplePictures(t, "pizza")
	program(t, "index", folder, "--index", path).requireFailure(t, exitUsage, recommendedModel, "MB", "license", modelVariable)
	assert.NoFileExists(t, path)
	t.Setenv(modelVariable, "emoji-clip")
	o := program(t, "index", folder, "--index", path, "--no-thumbnails")
	o.requireDone(t)
	assert.NoFileExists(t, path+".thumbnails")
}

func TestIndexUsage(t *testing.T) {
	t.Setenv(modelVariable, "emoji-clip")
	path := filepath.Join(t.TempDir(), "x.db")
	folder := examplePictures(t, "pizza")
	for _, c := range []struct {
		code int
		args []string
		want string
	}{
		{exitUsage, nil, "no folder"},
		{exitUsage, []string{"--forget"}, "--forget"},
		{exitUsage, []string{"--forget", ""}, "empty"},
		{exitUsage, []string{folder, "--forget", "--watch"}, "--watch"},
		{exitUsage, []string{folder, "--no-thumbnails", "--thumbnails", "1G"}, "--thumbnails"},
		{exitUsage, []string{folder, "--exclude-dir", "a/b"}, "a/b"},
		{exitUsage, []string{folder, "--thumbnails", "many"}, "many"},
		{exitFailure, []string{filepath.Join(folder, "none")}, "none"},
		{exitFailure, []string{filepath.Join(folder, "pizza.png")}, "is no folder"},
		{exitFailure, []string{folder, "--index", example("pizza")}, "is no index"},
		{exitFailure, []string{folder, "--index", filepath.Join(example("pizza"), "x.db")}, "x.db"},
	} {
		o := program(t, append([]string{"index", "--index", path}, c.args...)...)
		o.requireFailure(t, c.code, c.want)
		assert.NoFileExists(t, path)
	}
}
