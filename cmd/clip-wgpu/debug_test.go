package main

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/internal/debug"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

func TestDebugSwitchIsReadFirst(t *testing.T) {
	for value, name := range map[string]string{"tracing=1": `unknown "tracing=1"`, "check=all": `check has no value "all"`} {
		t.Setenv(debug.Variable, value)
		for _, args := range [][]string{{"version"}, {"classify", "nothing"}, {}} {
			program(t, args...).requireFailure(t, exitUsage, "CLIPWGPU: "+name, "trace=1, check=nan, check=ops, dump=SCOPE, plan=off, tune=off, kernels=gpu, wgsl=DIR")
		}
	}
}

// A kernel that is edited and wrong is found in a tower, by the scope that it spoils first.
func TestDebugSwitchFindsAWrongKernel(t *testing.T) {
	text, err := os.ReadFile("../../shaders/layernorm.wgsl")
	require.NoError(t, err)
	dir := t.TempDir()
	classify := []string{"classify", example("pizza"), "--labels", "pizza,cat"}
	t.Setenv(debug.Variable, "check=ops")
	right := program(t, classify...)
	assert.Equal(t, exitOK, right.code, right.stderr)
	wrong := strings.Replace(string(text), "- center) * scale", "- center) * scale * 1.01", 1)
	require.NotEqual(t, string(text), wrong)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "layernorm.wgsl"), []byte(wrong), 0o666))
	t.Setenv(debug.Variable, "check=ops,wgsl="+dir)
	program(t, classify...).requireFailure(t, exitFailure, "resblocks.0.ln_1.layernorm", "of output 0", "by the op's reference")
}

// A NaN among the weights is found where it first shows.
func TestDebugSwitchFindsANaN(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "model")
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("../../clip", checkpoint.Embedded))))
	path := filepath.Join(dir, "open_clip_model.safetensors")
	f, err := weights.Open(path)
	require.NoError(t, err)
	spoiled, ok := f.Tensor("visual.transformer.resblocks.1.mlp.c_fc.weight")
	require.True(t, ok)
	values := make([]float32, spoiled.Len())
	require.NoError(t, spoiled.ReadF32(values, 0))
	values[3*spoiled.Shape[1]] = float32(math.NaN())
	replaced, err := weights.FromF32(spoiled.Name, spoiled.Shape, values)
	require.NoError(t, err)
	var records []weights.Record
	for _, x := range f.Tensors() {
		if x.Name == spoiled.Name {
			x = replaced
		}
		records = append(records, x.As(x.DType))
	}
	require.NoError(t, weights.Save(path+".new", records, weights.SaveOptions{}))
	require.NoError(t, f.Close())
	require.NoError(t, os.Rename(path+".new", path))
	t.Setenv(debug.Variable, "check=nan")
	program(t, "--model", dir, "--quiet", "classify", example("pizza"), "--labels", "pizza,cat").requireFailure(t, exitFailure,
		"visual.transformer.resblocks.1.mlp", "wrote NaN to element 3 of output 0")
}

// dumped makes the embedded model's image tower dump a layer. It returns the values in the
// last file, and that file's name without the number of the step.
func dumped(t *testing.T, picture, pairs, layer string) (name string, values []float32) {
	t.Helper()
	t.Chdir(t.TempDir())
	t.Setenv(debug.Variable, pairs+"dump="+layer)
	program(t, "classify", picture, "--labels", "pizza,cat").requireDone(t)
	files, err := filepath.Glob(filepath.Join(debug.DumpFolder, "*", "*-*.npy"))
	require.NoError(t, err)
	require.NotEmpty(t, files, layer)
	file := files[len(files)-1]
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	values = make([]float32, (len(data)-128)/4)
	_, err = binary.Decode(data[128:], binary.LittleEndian, values)
	require.NoError(t, err)
	_, name, _ = strings.Cut(filepath.Base(file), "-")
	return name, values
}

// A layer whose work a fused op does is dumped with those that it was fused with, as
// what the last of them made.
func TestDumpOfFusedLayers(t *testing.T) {
	picture, err := filepath.Abs(example("pizza"))
	require.NoError(t, err)
	const block = "visual.transformer.resblocks.0"
	for layer, want := range map[string]string{
		"visual.conv1":           "visual.conv1+visual.linear.npy",
		block + ".attn.out_proj": block + ".attn.out_proj+" + block + ".linear.npy",
		block + ".mlp.c_fc":      block + ".mlp.c_fc+" + block + ".mlp.gelu.linear.npy",
		block + ".mlp.gelu":      block + ".mlp.c_fc+" + block + ".mlp.gelu.linear.npy",
		block + ".mlp.c_proj":    block + ".mlp.c_proj+" + block + ".linear.npy",
	} {
		name, _ := dumped(t, picture, "", layer)
		assert.Equal(t, want, name)
	}
	_, fused := dumped(t, picture, "", block+".mlp.c_fc")
	name, unfused := dumped(t, picture, "plan=off,", block+".mlp.gelu")
	assert.Equal(t, block+".mlp.gelu.map.npy", name)
	assert.InDeltaSlice(t, unfused, fused, 1e-5)
}
