//go:build unix

package train

import (
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Where no more can be written, as on a full disk, the last file stays alone.
func TestSaveOnAFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	trainer := newTrainer(t, open(t))
	steps(t, trainer, 1)
	require.NoError(t, trainer.Save(t.Context(), path))
	before := contents(t, path)
	steps(t, trainer, 1)

	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	less := limit
	less.Cur = uint64(len(before)) - 1 // all other files, such as the test's own log, are shorter
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &less))
	err := trainer.Save(t.Context(), path)
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))

	require.ErrorIs(t, err, syscall.EFBIG)
	assert.Equal(t, before, contents(t, path))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, entries, 1)
	require.NoError(t, trainer.Save(t.Context(), path))
	assert.NotEqual(t, before, contents(t, path))
}
