//go:build unix

package clip

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/clip-wgpu/clip-wgpu/weights"
)

// A pipe would hang, and a device fill the memory of, who reads it.
func TestLoadReadsOrdinaryFilesOnly(t *testing.T) {
	m := newModel(t, `{}`)
	pipe := func(path string) error { return unix.Mkfifo(path, 0o666) }
	device := func(path string) error { return os.Symlink("/dev/zero", path) }
	long := func(path string) error {
		return os.WriteFile(path, []byte(tiny+strings.Repeat(" ", maxConfig)), 0o666)
	}
	for _, name := range []string{"open_clip_config.json", "config.json", "preprocessor_config.json"} {
		for _, c := range []struct {
			create func(path string) error
			want   string
		}{{pipe, "not a regular file"}, {device, "not a regular file"}, {long, "at most 16777216 expected"}} {
			dir := folder(t, tensors(t, m), "")
			path := filepath.Join(dir, name)
			require.NoError(t, c.create(path))
			var opts []Option
			if name == "preprocessor_config.json" {
				require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(tiny), 0o666))
			} else {
				opts = []Option{WithConfigFrom(path)}
			}
			for _, opts := range [][]Option{nil, opts} {
				_, err := Load(t.Context(), dir, opts...)
				assert.ErrorContains(t, err, path+": ")
				assert.ErrorContains(t, err, c.want)
			}
		}
	}
}

// Also the files that are only copied.
func TestConvertReadsOrdinaryFilesOnly(t *testing.T) {
	m := newModel(t, `{}`)
	for _, name := range []string{"tokenizer.json", "vocab.txt", "added_tokens.json", "tokenizer_config.json"} {
		dir := folder(t, tensors(t, m), tiny)
		require.NoError(t, unix.Mkfifo(filepath.Join(dir, name), 0o666))
		_, err := Convert(t.Context(), dir, filepath.Join(t.TempDir(), "out"), weights.F32, false)
		assert.ErrorContains(t, err, filepath.Join(dir, name)+": not a regular file")
	}
}
