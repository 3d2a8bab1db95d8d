//go:build unix

package smallfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	require.NoError(t, os.Symlink("/dev/zero", filepath.Join(dir, "device")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "small"), []byte("1234"), 0o600))
	require.NoError(t, os.Symlink("small", filepath.Join(dir, "link")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sparse"), nil, 0o600))
	require.NoError(t, os.Truncate(filepath.Join(dir, "sparse"), 1<<30))
	for name, says := range map[string]string{
		"pipe": "not a regular file", "device": "not a regular file", "folder": "not a regular file",
		"sparse": "1073741824 bytes, at most 4 expected", "small": "", "link": "",
	} {
		for _, read := range []func() ([]byte, error){
			func() ([]byte, error) { return Read(filepath.Join(dir, name), 4) },
			func() ([]byte, error) { return ReadFS(os.DirFS(dir), name, 4) },
		} {
			data, err := read()
			if says == "" {
				require.NoError(t, err, name)
				assert.Equal(t, "1234", string(data))
				continue
			}
			assert.Equal(t, Unfit(says), err, name)
		}
	}
	_, err := Read(filepath.Join(dir, "none"), 4)
	require.ErrorIs(t, err, fs.ErrNotExist)
	if _, err = os.Stat("/proc/self/status"); err == nil {
		_, err = Read("/proc/self/status", 4) // whose size is 0
		assert.Equal(t, Unfit("5 bytes, at most 4 expected"), err)
	}
}
