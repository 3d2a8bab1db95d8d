package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFoldersAreSearchedInOrder(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"b.png", "a/z.JPG", "a/b.webp", "notes.txt", "a/deep/x.tiff", "a.gif"} {
		path := filepath.Join(folder, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
		require.NoError(t, os.WriteFile(path, nil, 0o666))
	}
	require.NoError(t, os.Symlink(folder, filepath.Join(folder, "a", "loop")))
	require.NoError(t, os.Symlink(folder, filepath.Join(folder, "loop.png")))
	require.NoError(t, os.Symlink(filepath.Join(folder, "b.png"), filepath.Join(folder, "c.png")))
	want := []string{"a/b.webp", "a/deep/x.tiff", "a/z.JPG", "a.gif", "b.png", "c.png"}
	for i, name := range want {
		want[i] = filepath.Join(folder, filepath.FromSlash(name))
	}
	got, err := listImages(t.Context(), []string{folder}, nil, true)
	require.NoError(t, err)
	assert.Equal(t, want, got)

	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(folder, link))
	got, err = listImages(t.Context(), []string{link}, nil, true)
	require.NoError(t, err)
	assert.Len(t, got, len(want), "a link given as argument is followed")

	_, err = listImages(t.Context(), []string{t.TempDir()}, nil, true)
	assert.ErrorContains(t, err, "no images")
}

func TestDecodeAheadKeepsTheOrder(t *testing.T) {
	cfg := preprocess.DefaultConfig()
	cfg.Size = preprocess.Size{8, 8}
	transform, err := preprocess.New(cfg)
	require.NoError(t, err)
	paths := []string{example("pizza"), "missing.png", example("rose"), example("guitar"), "labels.txt", example("rocket")}
	for _, ahead := range []int{1, 2, 100} {
		var got []string
		for p := range decodeAhead(t.Context(), transform, paths, ahead) {
			got = append(got, p.path)
			assert.Equal(t, filepath.Ext(p.path) == ".png" && p.path != "missing.png", p.err == nil, p.path)
			assert.True(t, p.err != nil || len(p.pixels) == 3*8*8)
		}
		assert.Equal(t, paths, got)
	}
	for range decodeAhead(t.Context(), transform, paths, 1) {
		break // must not leave the others waiting: the race detector and -timeout would tell
	}
}

func TestTextFilesMustBeFiles(t *testing.T) {
	_, err := readLinesOf(t.Context(), t.TempDir(), nil)
	assert.ErrorContains(t, err, "not a regular file")
	_, err = readLines(bytes.NewReader(make([]byte, maxLine+1)))
	assert.ErrorContains(t, err, "line 1")
}

func TestConsoleIsSilentOffTerminals(t *testing.T) {
	var b bytes.Buffer
	c := newConsole(&b, false)
	c.expectResult()
	c.update("1 of 2")
	assert.Empty(t, b.String())
	c.note("a\nb")
	assert.Equal(t, "clip-wgpu: a; b\n", b.String())

	b.Reset()
	c = &console{w: &b, terminal: true}
	c.update("1 of 2")
	c.update("too soon to show")
	c.problem("bad")
	assert.Equal(t, "1 of 2\r\x1b[Kclip-wgpu: bad\n", b.String())

	b.Reset()
	c = &console{w: &b, terminal: true, quiet: true}
	c.update("1 of 2")
	c.note("note")
	assert.Empty(t, b.String())
}

func TestSlowStartIsExplainedOnTerminals(t *testing.T) {
	var b bytes.Buffer
	c := &console{w: &b, terminal: true}
	c.expectResult()
	time.Sleep(patience + 500*time.Millisecond)
	c.settled()
	c.clear() // takes the lock that the note was written under
	assert.Contains(t, b.String(), "compiles")
}
