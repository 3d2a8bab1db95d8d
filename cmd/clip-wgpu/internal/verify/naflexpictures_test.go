package verify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/internal/debug"
)

// A GPU's kernels and fused ops are as right on sequences with padding as a driver's.
func TestKernelsOfGPUsOnSequences(t *testing.T) {
	t.Setenv(debug.Variable, "kernels=gpu")
	v := newVerifier(t, gpu.Options{DefaultLimits: true, Check: true})
	rows, err := v.Run(t.Context(), filepath.Join(testdata, "oracle", "naflex_map_swiglu_modern"))
	require.NoError(t, err)
	require.NotEmpty(t, rows)
	assert.Empty(t, failed(rows))
}

// The recording's pictures have its sizes, patches and batches; other ones are found.
func TestNaFlexPicturesAreCompared(t *testing.T) {
	rows, err := newVerifier(t, gpu.Options{}).Run(t.Context(), filepath.Join(testdata, "oracle", "naflex_preprocess"))
	require.NoError(t, err)
	assert.Len(t, rows, 1+2*18+7)
	assert.Empty(t, failed(rows))
	for change, want := range map[[2]string][]string{
		{"[50, 16, 16, 4, 64, 16 ]", "[50, 16, 16, 4, 80, 16 ]"}:           {"sizes"},
		{"[50, 16, 16, 4, 64, 16 ]", `[50, 16, 16, 4, "image too large"]`}: {"sizes"},
		{`"mean": [0.5, 0.5, 0.5 ]`, `"mean": [0.4, 0.5, 0.5 ]`}:           {"0.patches"},
		{`"grid_hw": [3, 4 ]`, `"grid_hw": [4, 3 ]`}:                       {"0.0_64x48.png size"},
		{`"file": "0_64x48.png"`, `"file": "5_50x51.png"`}:                 {"0.5_50x51.png size", "0.patches", "0.patch_coord"},
		{`"interpolation": "bicubic"`, `"interpolation": "bilinear"`}:      {"0.0_64x48.png", "0.1_33x77.png", "0.2_9x90.png", "0.3_120x40.png", "0.4_7x7.png", "0.5_50x51.png", "0.patches"},
	} {
		dir := copyCase(t, "naflex_preprocess")
		path := filepath.Join(dir, "meta.json")
		meta, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Contains(t, string(meta), change[0])
		require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(meta), change[0], change[1], 1)), 0o666))
		rows, err := newVerifier(t, gpu.Options{}).Run(t.Context(), dir)
		require.NoError(t, err)
		assert.ElementsMatch(t, want, failed(rows), "%s", change[1])
	}
}
