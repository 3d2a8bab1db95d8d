package checkpoint

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/cliptest"
	"github.com/clip-wgpu/clip-wgpu/internal/torchtest"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// doubles is a folder with the tiny model in float64, one element replaced.
func doubles(t *testing.T, name string, element int, value float64) string {
	t.Helper()
	var dict torchtest.Dict
	all := cliptest.Tensors(t, tinyModel(t).Model.Parameters())
	for _, key := range all.Names() {
		x := all[key]
		data := make([]float32, x.Len())
		require.NoError(t, x.ReadF32(data, 0))
		var raw []byte
		for i, v := range data {
			exact := float64(v)
			if key == name && i == element {
				exact = value
			}
			raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(exact))
		}
		dict = append(dict, torchtest.Pair{Key: key, Value: torchtest.Tensor{Storage: "DoubleStorage", Shape: x.Shape, Data: raw, Numel: len(data)}})
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model.pt"), torchtest.Save(dict), 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "open_clip_config.json"), []byte(cliptest.Tiny), 0o666))
	return dir
}

// A float64 that float32 cannot hold is not called infinite, and is not converted.
func TestDoublesBeyondFloat32(t *testing.T) {
	const name = "visual.ln_post.weight"
	for _, value := range []float64{1e300, -1e300, 3.5e38} {
		dir := doubles(t, name, 2, value)
		got, err := Open(t.Context(), dir, Options{})
		require.NoError(t, err)
		require.NoError(t, got.Inspect(t.Context()))
		require.NoError(t, got.Close())
		require.Len(t, got.Warnings, 1)
		says := func(text string) bool {
			return text == "computed as Inf, as float32 cannot hold it: tensor "+name+" (element 2 is "+fmt.Sprint(value)+")"
		}
		assert.True(t, slices.ContainsFunc(got.Warnings, says), got.Warnings)
		for _, dtype := range []weights.DType{weights.F32, weights.F16, weights.BF16} {
			out := filepath.Join(t.TempDir(), "out")
			_, err := Convert(t.Context(), dir, out, SaveOptions{DType: dtype}, Options{})
			require.ErrorIs(t, err, check.ErrInput)
			assert.EqualError(t, err, dir+": tensor "+name+": invalid input: element 2 is "+fmt.Sprint(value)+", which "+dtype.String()+" cannot hold")
			assert.NoFileExists(t, out)
		}
	}
	dir := doubles(t, name, 2, math.Inf(1))
	warnings, err := Convert(t.Context(), dir, filepath.Join(t.TempDir(), "out"), SaveOptions{DType: weights.F32}, Options{})
	require.NoError(t, err)
	assert.Contains(t, warnings, "Inf in tensor "+name+" (element 2)")
}

// The advice is a type that can hold the value.
func TestConvertAdvisesTypes(t *testing.T) {
	for _, c := range []struct {
		dtype  weights.DType
		value  float64
		advice string
	}{
		{weights.F16, 70000, "70000, which F16 cannot hold; convert to bf16 or f32"},
		{weights.F16, -0x1.fffp127, "which F16 cannot hold; convert to f32"},
		{weights.BF16, 0x1.fffp127, "which BF16 cannot hold; convert to f32"},
	} {
		dir := doubles(t, "text_projection", 1, c.value)
		_, err := Convert(t.Context(), dir, filepath.Join(t.TempDir(), "out"), SaveOptions{DType: c.dtype}, Options{})
		require.ErrorContains(t, err, dir+": tensor text_projection: ")
		assert.ErrorContains(t, err, c.advice)
		assert.NotContains(t, err.Error(), ".tmp")
	}
}

// Errors of writing name the folder that was asked for, and no other.
func TestConvertNamesTheOutput(t *testing.T) {
	parent := t.TempDir()
	file := filepath.Join(parent, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o666))
	require.NoError(t, os.Mkdir(filepath.Join(parent, "full"), 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(parent, "full", "notes"), nil, 0o666))
	for _, c := range []struct {
		out     string
		replace bool
		says    string
	}{
		{filepath.Join(parent, "no", "m"), false, "there is no folder " + filepath.Join(parent, "no")},
		{filepath.Join(file, "m"), false, ""},
		{file, false, fs.ErrExist.Error()},
		{file, true, "not a folder"},
		{filepath.Join(parent, "full"), true, `"notes"`},
		{filepath.Join(parent, string(slices.Repeat([]byte("x"), 250))), false, "too long"},
	} {
		_, err := Convert(t.Context(), Embedded, c.out, SaveOptions{DType: weights.F32, Replace: c.replace}, Options{})
		require.ErrorContains(t, err, "output "+c.out+": ")
		assert.ErrorContains(t, err, c.says)
		assert.NotContains(t, err.Error(), ".tmp")
	}
}
