package atomicfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func write(t *testing.T, path, text string, replace bool) *File {
	t.Helper()
	f, err := Create(path, replace)
	require.NoError(t, err)
	_, err = f.WriteString(text)
	require.NoError(t, err)
	return f
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

func alone(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing lies beside it")
}

func TestCommit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	f := write(t, path, "one", false)
	assert.NoFileExists(t, path)
	require.NoError(t, f.Commit())
	f.Discard()
	assert.Equal(t, "one", read(t, path))
	alone(t, path)

	_, err := Create(path, false)
	assertError(t, err, path, fs.ErrExist)
	write(t, path, "two", true).Discard()
	assert.Equal(t, "one", read(t, path))
	require.NoError(t, write(t, path, "three", true).Commit())
	assert.Equal(t, "three", read(t, path))
	alone(t, path)
}

// What has come to the path since Create is not replaced.
func TestCommitChecksAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	f := write(t, path, "late", false)
	require.NoError(t, os.WriteFile(path, []byte("first"), 0o600))
	assertError(t, f.Commit(), path, fs.ErrExist)
	assert.Equal(t, "first", read(t, path))
	alone(t, path)
}

func TestCreateRefuses(t *testing.T) {
	folder := t.TempDir()
	link := filepath.Join(folder, "link")
	require.NoError(t, os.Symlink(os.DevNull, link))
	for path, want := range map[string]error{
		folder:                             ErrNotRegular,
		link:                               ErrNotRegular,
		os.DevNull:                         ErrNotRegular,
		filepath.Join(folder, "none", "a"): fs.ErrNotExist,
	} {
		_, err := Create(path, true)
		assertError(t, err, path, want)
	}
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	require.NoError(t, Write(path, []byte("one"), false))
	assertError(t, Write(path, []byte("two"), false), path, fs.ErrExist)
	assert.Equal(t, "one", read(t, path))
	require.NoError(t, Write(path, []byte("three"), true))
	assert.Equal(t, "three", read(t, path))
	alone(t, path)
}

// A rename that fails loses nothing.
func TestRename(t *testing.T) {
	folder := t.TempDir()
	from, to := filepath.Join(folder, "from"), filepath.Join(folder, "to")
	require.NoError(t, os.MkdirAll(filepath.Join(to, "full"), 0o777))
	require.NoError(t, os.WriteFile(from, []byte("new"), 0o666))
	require.Error(t, Rename(from, to))
	assert.Equal(t, "new", read(t, from))
	assert.DirExists(t, filepath.Join(to, "full"))
	require.NoError(t, os.RemoveAll(to))
	require.NoError(t, Rename(from, to))
	assert.Equal(t, "new", read(t, to))
	alone(t, to)
}

func TestPutFolder(t *testing.T) {
	parent := t.TempDir()
	temp, path := filepath.Join(parent, "temp"), filepath.Join(parent, "path")
	for _, text := range []string{"one", "two"} {
		require.NoError(t, os.Mkdir(temp, 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(temp, text), nil, 0o666))
		require.NoError(t, PutFolder(temp, path))
		alone(t, path)
		alone(t, filepath.Join(path, text))
		assert.FileExists(t, filepath.Join(path, text))
	}
	require.ErrorIs(t, PutFolder(temp, path), fs.ErrNotExist) // there is no temp
	alone(t, path)
	assert.FileExists(t, filepath.Join(path, "two"), "it is back")
}

func assertError(t *testing.T, err error, path string, want error) {
	t.Helper()
	var file *fs.PathError
	require.ErrorAs(t, err, &file)
	assert.Equal(t, path, file.Path)
	assert.ErrorIs(t, err, want)
	assert.NotContains(t, err.Error(), ".tmp")
}
