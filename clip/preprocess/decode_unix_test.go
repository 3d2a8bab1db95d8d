//go:build unix

package preprocess

import (
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Opening a FIFO would wait for a writer that never comes.
func TestDecodeFileRefusesFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo.png")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	_, err := DecodeFile(path)
	require.ErrorIs(t, err, fs.ErrInvalid)
	assert.Contains(t, err.Error(), path)
}
