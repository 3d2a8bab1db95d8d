// Package fuzztest has what fuzz targets share: seeds from real files, and the
// bounds that every parser keeps.
package fuzztest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/clip-wgpu/clip-wgpu/internal/guard"
)

// maxTime is the longest that a parser may take for one input.
const maxTime = 10 * time.Second

// Files returns the contents of the files that the patterns of filepath.Glob
// match, in order. A pattern that matches nothing fails f.
func Files(f *testing.F, patterns ...string) [][]byte {
	f.Helper()
	var contents [][]byte
	for _, pattern := range patterns {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			f.Fatalf("%s: no seeds (%v)", pattern, err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			contents = append(contents, data)
		}
	}
	return contents
}

// Within runs parse, the public function that users call, on one input. It
// fails t when that took too long or when the error is a caught panic.
func Within(t *testing.T, parse func() error) error {
	t.Helper()
	start := time.Now()
	err := parse()
	if took := time.Since(start); took > maxTime {
		t.Fatalf("took %v, at most %v are allowed", took, maxTime)
	}
	var caught *guard.PanicError
	if errors.As(err, &caught) {
		t.Fatal(err)
	}
	return err
}
