package tests

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// writesFiles are the calls that can leave half a file after a power cut.
var writesFiles = regexp.MustCompile(`\bos\.(WriteFile|Rename|Create|OpenFile)\(`)

// mayWriteFiles are the sources that may have such calls, and why.
var mayWriteFiles = map[string]string{
	"internal/atomicfile/atomicfile.go":  "it syncs",
	"clip/hub/download.go":               "it goes on with a part of a file and syncs it when whole",
	"clip/hub/cache.go":                  "it moves a blob that is synced, where the system has no links",
	"gpu/debug.go":                       "it dumps tensors for a look at them",
	"cmd/clip-wgpu/train_folder.go":      "a log grows by lines, and the last may be lost",
	"clip/internal/cliptest/cliptest.go": "it is for tests",
	"internal/dist/main.go":              "it makes all archives anew",
	"search/index/writer.go":             "its lock has no content",
}

// What users keep is written by atomicfile.
func TestFilesAreWrittenInOnePlace(t *testing.T) {
	seen, tree := 0, os.DirFS("..")
	require.NoError(t, fs.WalkDir(tree, ".", func(file string, entry fs.DirEntry, err error) error {
		if err == nil && file == "build" {
			return fs.SkipDir
		}
		if err != nil || entry.IsDir() || path.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
			return err
		}
		source, err := fs.ReadFile(tree, file)
		if writesFiles.Match(source) {
			seen++
			assert.Contains(t, mayWriteFiles, file)
		}
		return err
	}))
	assert.Len(t, mayWriteFiles, seen, "sources that are listed and have no such call, or none any more")
}
