//go:build heic

package walk

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the tag reads is found, and the rest is still counted.
func TestPicturesHasHEIC(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"a.HEIC", "b.avif", "c.jxl", "d.hif"} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), nil, 0o600))
	}
	var found []string
	rest, err := Pictures(context.Background(), folder, Options{}, func(path string, _ fs.FileInfo, err error) {
		require.NoError(t, err)
		found = append(found, filepath.Base(path))
	})
	require.NoError(t, err)
	assert.Equal(t, []string{"a.HEIC", "b.avif", "d.hif"}, found)
	assert.Equal(t, map[string]int{"JPEG XL": 1}, rest.Others)
}
