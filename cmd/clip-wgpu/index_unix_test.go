//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/clip-wgpu/clip-wgpu/search/index"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// waitForPictures returns the index once it has n pictures or more.
func waitForPictures(t *testing.T, path string, n int) *index.Index {
	t.Helper()
	var x *index.Index
	require.Eventually(t, func() bool {
		if x == nil {
			x, _ = index.Open(path)
		}
		if x == nil {
			return false
		}
		have, err := x.Len(t.Context())
		return err == nil && have >= n
	}, time.Minute, 10*time.Millisecond)
	t.Cleanup(func() { x.Close() })
	return x
}

func TestInterruptedIndexGoesOn(t *testing.T) {
	const n = 300
	folder, path := t.TempDir(), filepath.Join(t.TempDir(), "x.db")
	data, err := os.ReadFile(example("pizza"))
	require.NoError(t, err)
	for i := range n { // decoders take no notice of what follows a picture
		require.NoError(t, os.WriteFile(filepath.Join(folder, fmt.Sprint(i, ".png")), fmt.Append(data, i), 0o666))
	}
	cmd, stderr := process(t, "index", folder, "--index", path, "--model", "emoji-clip", "--batch", "4")
	require.NoError(t, cmd.Start())
	waitForPictures(t, path, 8)
	program(t, "index", folder, "--index", path).requireFailure(t, exitFailure, path, "in use")
	start := time.Now()
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.Error(t, cmd.Wait())
	assert.Less(t, time.Since(start), 2*time.Second)
	assert.Equal(t, exitInterrupted, cmd.ProcessState.ExitCode(), stderr)
	assert.Contains(t, stderr.String(), "encoded, which are in "+path)

	o := program(t, "index", "--index", path, "--json")
	o.requireDone(t)
	r := lastIndexed(t, o)
	assert.Equal(t, n, r.Pictures)
	assert.LessOrEqual(t, r.Encoded, n-8)
	assert.Equal(t, n, r.Found)
}

func TestWatch(t *testing.T) {
	folder, path := examplePictures(t, "pizza"), filepath.Join(t.TempDir(), "x.db")
	cmd, stderr := process(t, "index", folder, "--index", path, "--model", "emoji-clip", "--watch")
	require.NoError(t, cmd.Start())
	x := waitForPictures(t, path, 1)
	data, err := os.ReadFile(example("rose"))
	require.NoError(t, err)
	below := filepath.Join(folder, "new", "folder")
	require.NoError(t, os.MkdirAll(below, 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(below, "rose.png"), data, 0o666))
	waitForPictures(t, path, 2)
	require.NoError(t, os.RemoveAll(filepath.Join(folder, "new")))
	require.Eventually(t, func() bool {
		n, err := x.Len(t.Context())
		return err == nil && n == 1
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.Error(t, cmd.Wait())
	assert.Equal(t, exitInterrupted, cmd.ProcessState.ExitCode(), stderr)
}

// Where no index can be made that is told before the model is loaded.
func TestIndexIsCheckedFirst(t *testing.T) {
	folder, path := examplePictures(t, "pizza"), "/proc/none/x.db" // nobody makes folders there
	o := program(t, "index", folder, "--index", path, "--model", filepath.Join(folder, "no model"))
	o.requireFailure(t, exitFailure, filepath.Dir(path))
}
