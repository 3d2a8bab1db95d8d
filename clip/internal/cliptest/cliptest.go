// Package cliptest has the small configurations that tests of several packages start from.
package cliptest

import (
	"encoding/json"
	"iter"
	"os"
	"path/filepath"
	"testing"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/weights"
	"github.com/stretchr/testify/require"
)

// Tiny is the config of a model that runs at once.
const Tiny = `{"embed_dim": 20, "vision_cfg": {"image_size": 16, "layers": 1, "width": 24, "head_width": 12, "patch_size": 8},
	"text_cfg": {"context_length": 8, "vocab_size": 90, "width": 24, "heads": 2, "layers": 1}}`

// With is Tiny with the members of a section, or of its top level, replaced.
func With(t testing.TB, section string, members string) []byte {
	t.Helper()
	var c map[string]any
	require.NoError(t, json.Unmarshal([]byte(Tiny), &c))
	var change map[string]any
	require.NoError(t, json.Unmarshal([]byte(members), &change))
	target := c
	if section != "" {
		target = c[section].(map[string]any)
	}
	for k, v := range change {
		target[k] = v
	}
	data, err := json.Marshal(c)
	require.NoError(t, err)
	return data
}

// Tensors are parameters as a checkpoint holds them.
func Tensors(t testing.TB, params iter.Seq2[string, *graph.Param]) weights.Map {
	t.Helper()
	all := weights.Map{}
	for name, p := range params {
		data := make([]float32, p.Shape.Elems())
		require.NoError(t, p.Source.ReadF32(data, 0))
		x, err := weights.FromF32(name, p.Shape, data)
		require.NoError(t, err)
		all[name] = x
	}
	return all
}

// Set puts a tensor of zeros, or of the given data, into m.
func Set(t testing.TB, m weights.Map, name string, shape []int, data ...float32) {
	t.Helper()
	n := 1
	for _, d := range shape {
		n *= d
	}
	x, err := weights.FromF32(name, shape, append(data, make([]float32, n-len(data))...))
	require.NoError(t, err)
	m[name] = x
}

// Folder writes a model folder: the tensors, a config where it is not empty, and
// more files, given as names and contents in turn.
func Folder(t testing.TB, m weights.Map, config string, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	var records []weights.Record
	for _, x := range m {
		dtype := weights.F32
		if !x.DType.IsFloat() {
			dtype = weights.I64
		}
		records = append(records, x.As(dtype))
	}
	require.NoError(t, weights.Save(filepath.Join(dir, "open_clip_model.safetensors"), records, weights.SaveOptions{}))
	if config != "" {
		files = append(files, "open_clip_config.json", config)
	}
	for i := 0; i < len(files); i += 2 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o644))
	}
	return dir
}

// Files are the files of a folder, as a repository.
func Files(t testing.TB, folder string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	for _, e := range entries {
		if data, err := os.ReadFile(filepath.Join(folder, e.Name())); err == nil {
			files[e.Name()] = data
		}
	}
	return files
}

// TimmTiny is a model over timm's tower of a name, with members of vision_cfg and
// of timm_model_kwargs replaced.
func TimmTiny(t testing.TB, name, vision, kwargs string) []byte {
	t.Helper()
	all := map[string]any{"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
	require.NoError(t, json.Unmarshal([]byte(kwargs), &all))
	v := map[string]any{"image_size": 32, "timm_model_name": name, "timm_model_kwargs": all}
	require.NoError(t, json.Unmarshal([]byte(vision), &v))
	data, err := json.Marshal(v)
	require.NoError(t, err)
	var c map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(Tiny), &c))
	c["vision_cfg"] = data
	data, err = json.Marshal(c)
	require.NoError(t, err)
	return data
}
