//go:build unix

package weights

import (
	"os"
	"path/filepath"
	"testing"

	"io/fs"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A pipe without a writer would hang whoever opens it.
func TestOpenPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, unix.Mkfifo(path, 0o666))
	_, err := Open(path)
	requireFileError(t, err, path, ErrNotWeights, "named pipe")
	_, err = Open("/dev/null")
	requireFileError(t, err, "/dev/null", ErrNotWeights, "device")
}

func TestOpenWithoutPermission(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	path := filepath.Join(t.TempDir(), "m.safetensors")
	require.NoError(t, os.WriteFile(path, withHeader(oneTensor, 8), 0))
	_, err := Open(path)
	requireFileError(t, err, path, fs.ErrPermission)
}

// Reading a mapped page that the file no longer has raises SIGBUS.
func TestReadOfAShortenedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	save(t, path, f32(t, "a", make([]float32, 1<<16)...))
	f := open(t, path)
	require.NoError(t, os.Truncate(path, 4096))
	tensor, _ := f.Tensor("a")
	_, _, err := tensor.FirstBeyond(1)
	requireFileError(t, err, path, ErrTruncated)
}

func TestSaveFollowsTheUmask(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	old := unix.Umask(0o027)
	defer unix.Umask(old)
	save(t, path, f32(t, "a", 1))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o640), info.Mode())
}

func TestSaveRefusesDevices(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, unix.Mkfifo(path, 0o666))
	requireFileError(t, Save(path, nil, SaveOptions{}), path, ErrNotWeights, "named pipe")
}
