package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// found lists the images without errors that a search finds.
func found(t *testing.T, s imageSearch, args ...string) []string {
	t.Helper()
	inputs, err := s.list(t.Context(), args, nil)
	require.NoError(t, err)
	var paths []string
	for _, in := range inputs {
		if in.err == nil {
			paths = append(paths, in.id)
		}
	}
	return paths
}

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
	assert.Equal(t, want, found(t, imageSearch{mustExist: true}, folder))

	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(folder, link))
	assert.Len(t, found(t, imageSearch{mustExist: true}, link), len(want), "a link given as argument is followed")

	s := imageSearch{mustExist: true}
	_, err := s.list(t.Context(), []string{t.TempDir()}, nil)
	assert.ErrorContains(t, err, "no images")
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
	c.cancelStartNote()
	c.clear() // takes the lock that the note was written under
	assert.Contains(t, b.String(), "compiles")
}
