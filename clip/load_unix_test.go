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

	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/cliptest"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// A pipe would hang, and a device fill the memory of, who reads it.
func TestLoadReadsOrdinaryFilesOnly(t *testing.T) {
	m := newModel(t, `{}`)
	pipe := func(path string) error { return unix.Mkfifo(path, 0o666) }
	device := func(path string) error { return os.Symlink("/dev/zero", path) }
	long := func(path string) error {
		return os.WriteFile(path, []byte(cliptest.Tiny+strings.Repeat(" ", 16<<20)), 0o666)
	}
	for _, name := range []string{"open_clip_config.json", "config.json", "preprocessor_config.json"} {
		for _, c := range []struct {
			create func(path string) error
			want   string
		}{{pipe, "not a regular file"}, {device, "not a regular file"}, {long, "at most 16777216 expected"}} {
			dir := cliptest.Folder(t, cliptest.Tensors(t, m.Parameters()), "")
			path := filepath.Join(dir, name)
			require.NoError(t, c.create(path))
			var opts []Option
			if name == "preprocessor_config.json" {
				require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(cliptest.Tiny), 0o666))
			} else {
				opts = []Option{With(checkpoint.Options{ConfigFrom: path})}
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
		dir := cliptest.Folder(t, cliptest.Tensors(t, m.Parameters()), cliptest.Tiny)
		require.NoError(t, unix.Mkfifo(filepath.Join(dir, name), 0o666))
		_, err := checkpoint.Convert(t.Context(), dir, filepath.Join(t.TempDir(), "out"), checkpoint.SaveOptions{DType: weights.F32}, checkpoint.Options{})
		assert.ErrorContains(t, err, filepath.Join(dir, name)+": not a regular file")
	}
}
