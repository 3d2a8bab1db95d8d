package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// bigModel writes a model of zeros, nearly all in an embedding of
// vocab tokens of 256 bytes.
func bigModel(t *testing.T, vocab string) string {
	t.Helper()
	folder := t.TempDir()
	config := strings.Replace(smallConfig, "3014", vocab, 1)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "open_clip_config.json"), []byte(config), 0o666))
	c, _, err := models.Parse([]byte(config))
	require.NoError(t, err)
	shapes, err := models.Shapes(c)
	require.NoError(t, err)
	var records []weights.Record
	zeros := func(dst []float32, _ int) error { clear(dst); return nil }
	for _, s := range shapes {
		records = append(records, weights.Record{Name: s.Name, DType: weights.F32, Shape: s.Shape, ReadF32: zeros})
	}
	require.NoError(t, weights.Save(filepath.Join(folder, "open_clip_model.safetensors"), records, weights.SaveOptions{}))
	return folder
}

// peakMemory is what a convert process occupied at most, in bytes.
func peakMemory(t *testing.T, source, dtype string) int64 {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "out")
	cmd, stderr := process(t, "convert", source, "-o", folder, "--dtype", dtype)
	require.NoError(t, cmd.Run(), stderr)
	require.FileExists(t, filepath.Join(folder, "open_clip_model.safetensors"))
	return cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
}

func TestConvertMemoryDoesNotGrowWithTheFile(t *testing.T) {
	big := bigModel(t, "1200000") // 307 MB
	small := peakMemory(t, bigModel(t, "12000"), "f16")
	for _, dtype := range []string{"f16", "f32"} {
		assert.Less(t, peakMemory(t, big, dtype)-small, int64(60<<20), dtype)
	}
}

func TestConvertStopsAtAnInterrupt(t *testing.T) {
	parent := t.TempDir()
	cmd, stderr := process(t, "convert", bigModel(t, "1200000"), "-o", filepath.Join(parent, "out"))
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool {
		found, _ := filepath.Glob(filepath.Join(parent, "*.tmp", "*.tmp"))
		return len(found) > 0
	}, time.Minute, time.Millisecond)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.Error(t, cmd.Wait())
	assert.Equal(t, exitInterrupted, cmd.ProcessState.ExitCode(), stderr)
	assert.Equal(t, 1, bytes.Count(stderr.Bytes(), []byte("\n")))
	assert.Empty(t, listing(t, parent))
}
