package tests

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// movesFiles are the calls that can leave half a file after a power cut.
var movesFiles = regexp.MustCompile(`\bos\.(WriteFile|Rename)\(`)

// mayMoveFiles are the files that may do so, and why.
var mayMoveFiles = map[string]string{
	"internal/atomicfile/atomicfile.go":  "it syncs",
	"clip/hub/cache.go":                  "it moves a blob that is synced, where the system has no links",
	"gpu/debug.go":                       "it dumps tensors for a look at them",
	"clip/internal/cliptest/cliptest.go": "it is for tests",
}

// What users keep is written by atomicfile.
func TestFilesAreWrittenInOnePlace(t *testing.T) {
	seen := 0
	require.NoError(t, filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		if movesFiles.Match(source) {
			seen++
			name, _ := filepath.Rel("..", path)
			assert.Contains(t, mayMoveFiles, filepath.ToSlash(name))
		}
		return err
	}))
	assert.Len(t, mayMoveFiles, seen)
}
