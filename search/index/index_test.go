package index

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var options = Options{Model: "a model", Identity: `{"weights":"f32"}`, Dim: 4}

// newIndex makes an empty index.
func newIndex(t *testing.T) *Index {
	t.Helper()
	x, err := Create(filepath.Join(t.TempDir(), "new folder", "in?d%ex#.db"), options)
	require.NoError(t, err)
	t.Cleanup(func() { x.Close() })
	return x
}

func TestCreate(t *testing.T) {
	x := newIndex(t)
	n, err := x.Len(t.Context())
	require.NoError(t, err)
	assert.Zero(t, n)
	version, err := x.Version(t.Context())
	require.NoError(t, err)
	assert.Zero(t, version)
	assert.Equal(t, options, x.Options())
	require.NoError(t, x.Close())

	_, err = Create(x.Path(), options)
	require.ErrorIs(t, err, fs.ErrExist)
	again, err := Open(x.Path())
	require.NoError(t, err)
	assert.Equal(t, options, again.Options())
	require.NoError(t, again.Close())
	files, err := os.ReadDir(filepath.Dir(x.Path()))
	require.NoError(t, err)
	assert.Len(t, files, 1)
}
