package checkpoint

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// bitsOf are the tensors of a source: their shapes, and their values' bits.
func bitsOf(t *testing.T, source string) map[string][]int64 {
	t.Helper()
	f, err := weights.Open(source)
	require.NoError(t, err)
	defer f.Close()
	all := map[string][]int64{}
	for _, x := range f.Tensors() {
		bits := make([]int64, x.Len())
		if x.DType.IsFloat() {
			data := make([]float32, x.Len())
			require.NoError(t, x.ReadF32(data, 0), x.Name)
			for i, v := range data {
				bits[i] = int64(math.Float32bits(v))
			}
		} else {
			require.NoError(t, x.ReadI64(bits, 0), x.Name)
		}
		for _, n := range x.Shape {
			bits = append(bits, int64(n))
		}
		all[x.Name] = bits
	}
	return all
}

// A model of each family that is converted, and the result once more, has open_clip's
// tensors bit for bit.
func TestConvertKeepsTensorsOfFamilies(t *testing.T) {
	for _, f := range towers.Families() {
		if f.Recording == "" {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			dir := filepath.Join("../../tests/testdata/oracle", f.Recording)
			data, err := os.ReadFile(filepath.Join(dir, "config.json"))
			require.NoError(t, err)
			c, _, err := models.Parse(data)
			require.NoError(t, err)
			source := filepath.Join(dir, "model.safetensors")
			out := t.TempDir()
			once, twice := filepath.Join(out, "once"), filepath.Join(out, "twice")
			_, err = Convert(t.Context(), source, once, SaveOptions{DType: weights.F32}, Options{Config: &c})
			require.NoError(t, err)
			_, err = Convert(t.Context(), once, twice, SaveOptions{DType: weights.F32}, Options{})
			require.NoError(t, err)
			want := bitsOf(t, source)
			assert.Equal(t, want, bitsOf(t, once))
			assert.Equal(t, want, bitsOf(t, twice))
		})
	}
}
