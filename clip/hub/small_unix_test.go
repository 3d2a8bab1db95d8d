//go:build unix

package hub

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What stands in place of the cache's small files is not waited for, nor read
// without end, and a download replaces it.
func TestSmallFilesOfTheCacheAreBounded(t *testing.T) {
	_, h := open(t)
	h.requireModel(t)
	path := h.refPath(Ref{repo, "main"})
	sparse := func() error { return os.WriteFile(path, nil, 0o600) }
	for name, create := range map[string]func() error{
		"pipe":   func() error { return syscall.Mkfifo(path, 0o600) },
		"device": func() error { return os.Symlink("/dev/zero", path) },
		"sparse": func() error { return errors.Join(sparse(), os.Truncate(path, 1<<40)) },
	} {
		require.NoError(t, os.Remove(path))
		require.NoError(t, create(), name)
		assert.Empty(t, h.cachedCommit(Ref{repo, "main"}), name)
		h.requireModel(t)
		assert.NotEmpty(t, h.cachedCommit(Ref{repo, "main"}), name)
	}
}

func TestTokensAreReadFromSmallFiles(t *testing.T) {
	dir := t.TempDir()
	pipe, sparse := filepath.Join(dir, "pipe"), filepath.Join(dir, "sparse")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	require.NoError(t, os.WriteFile(sparse, nil, 0o600))
	require.NoError(t, os.Truncate(sparse, 1<<40))
	for path, says := range map[string]string{pipe: "not a regular file", "/dev/zero": "not a regular file", dir: "not a regular file", sparse: "at most 65536 expected"} {
		t.Setenv("HF_TOKEN_PATH", path)
		t.Setenv("HF_TOKEN", "")
		_, err := New(Options{CacheDir: dir})
		require.ErrorContains(t, err, path+": ")
		assert.ErrorContains(t, err, says)
	}
	t.Setenv("HF_TOKEN_PATH", os.DevNull)
	h, err := New(Options{CacheDir: dir})
	require.NoError(t, err)
	assert.Empty(t, h.Token)
}

// An index is read by package weights, with its bounds.
func TestIndexesAreSmallFiles(t *testing.T) {
	dir := t.TempDir()
	pipe, sparse, none := filepath.Join(dir, "a.index.json"), filepath.Join(dir, "b.index.json"), filepath.Join(dir, "c.index.json")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	require.NoError(t, os.WriteFile(sparse, nil, 0o600))
	require.NoError(t, os.Truncate(sparse, 1<<40))
	require.NoError(t, os.WriteFile(none, []byte(`{"weight_map": {}}`), 0o600))
	for path, says := range map[string]string{pipe: "named pipe", sparse: "at most 100000000 expected", none: "index of no weights"} {
		_, err := shardsOf(path)
		require.ErrorIs(t, err, ErrDamaged)
		require.ErrorContains(t, err, path+": ")
		assert.ErrorContains(t, err, says)
	}
}
