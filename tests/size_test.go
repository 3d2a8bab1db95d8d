package tests

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	maxFileLines     = 400
	maxFunctionLines = 60
)

// TestSizes holds the limits on Go files and their functions, tests included. Functions
// count from func to their closing brace, with all that is between.
func TestSizes(t *testing.T) {
	functions := 0
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "testdata" || path == filepath.Join("..", "build") || strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".."):
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, source, parser.ParseComments)
		if err != nil || ast.IsGenerated(file) {
			return err
		}
		assert.LessOrEqual(t, bytes.Count(source, []byte("\n")), maxFileLines, "lines of %s", path)
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				functions++
				lines := files.Position(f.End()).Line - files.Position(f.Pos()).Line + 1
				assert.LessOrEqual(t, lines, maxFunctionLines, "lines of %s in %s", f.Name.Name, path)
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.NotZero(t, functions)
}
