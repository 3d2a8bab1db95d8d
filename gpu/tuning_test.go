package gpu

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/debug"
)

// TestTuningIsKept for the device, a class of problems at a time: what one model
// was tuned for stays when another is tuned.
func TestTuningIsKept(t *testing.T) {
	emptyCache(t)
	d := open(t, Options{})
	assert.Nil(t, d.LoadTuning(), "nothing was measured")
	save := func(class, candidate string, seconds float64) {
		times := d.NewTuning()
		times.Add(class, candidate, seconds)
		_, err := times.Save()
		require.NoError(t, err)
	}
	save("a", "old", 1)
	save("b", "slow", 4)
	save("b", "quick", 2)
	assert.Equal(t, map[string]map[string]float64{"a": {"old": 1}, "b": {"quick": 2}}, d.LoadTuning().Seconds)

	other := d.NewTuning()
	other.Key = "another driver"
	other.Add("c", "any", 1)
	_, err := other.Save()
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "b"}, d.LoadTuning().Classes())
	assert.Equal(t, "quick", d.LoadTuning().Choose("b", []string{"slow", "quick"}))
	assert.Empty(t, d.LoadTuning().Choose("c", []string{"any"}), "measured on another driver")
}

// emptyCache gives the test a cache folder of its own.
func emptyCache(t *testing.T) {
	for _, folder := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} { // of Linux, macOS and Windows
		t.Setenv(folder, t.TempDir())
	}
}

// One batch's times serve the batches next to it.
func TestChooseOfNeighbours(t *testing.T) {
	times := &Tuning{Seconds: map[string]map[string]float64{
		"linear f32 64×768×3072":            {"small": 1, "large": 2},
		"linear f32 512×768×3072":           {"small": 2, "large": 1},
		"linear f32 1024×768×3072":          {"small": 2, "other": 1},
		"attention 8 of 50×50 head 64":      {"small": 1, "large": 2},
		"layernorm 16384×99999999999999999": {"small": 1},
	}}
	for class, want := range map[string]string{
		"linear f32 64×768×3072":        "small",
		"linear f32 32×768×3072":        "small",
		"linear f32 16×768×3072":        "small",
		"linear f32 8×768×3072":         "",      // eight times too far
		"linear f32 128×768×3072":       "small", // the half before four times
		"linear f32 256×768×3072":       "large",
		"linear f32 2048×768×3072":      "small", // what was fastest is no candidate here
		"linear f32 8192×768×3072":      "",
		"linear f16 64×768×3072":        "",
		"linear f32 64×768×768":         "",
		"attention 16 of 50×50 head 64": "small",
		"attention 8 of 77×77 head 64":  "",
		"layernorm 1":                   "",
		"no size":                       "",
		"too long 99999999999999999999": "",
	} {
		assert.Equal(t, want, times.Choose(class, []string{"large", "small"}), class)
	}
}

// What is kept and cannot be used is as nothing kept, and is replaced.
func TestHostileTunings(t *testing.T) {
	emptyCache(t)
	d := open(t, Options{})
	good := d.NewTuning()
	good.Add("a", "quick", 1)
	path, err := good.Save()
	require.NoError(t, err)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	key, err := json.Marshal(good.Key)
	require.NoError(t, err)
	unknown := map[string]string{
		"empty": "", "cut": string(whole[:len(whole)/2]), "no JSON": "\x00\xff", "a list": "[]", "null": "null",
		"another version": `{"key": "other", "seconds": {"a": {"quick": 1}}}`,
		"texts":           `{"key": ` + string(key) + `, "seconds": {"a": {"quick": "1"}}}`,
		"too large":       `{"key": ` + string(key) + `, "seconds": {"a": {"quick": 1e999}}}`,
	}
	for name, text := range unknown {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
		assert.Nil(t, d.LoadTuning(), name)
	}
	for name, seconds := range map[string]string{
		"nothing": "null", "no times": `{"a": null}`, "no time": `{"a": {"quick": 0}}`, "less": `{"a": {"quick": -1}}`, "others": `{"a": {"": 1, "x": 1}, "": {}}`,
	} {
		require.NoError(t, os.WriteFile(path, []byte(`{"key": `+string(key)+`, "seconds": `+seconds+`}`), 0o666))
		kept := d.LoadTuning()
		require.NotNil(t, kept, name)
		assert.Empty(t, kept.Choose("a", []string{"quick"}), name)
		kept.Add("a", "quick", 1)
	}
	_, err = good.Save()
	require.NoError(t, err)
	assert.Equal(t, "quick", d.LoadTuning().Choose("a", []string{"quick"}))

	require.NoError(t, os.Remove(path))
	require.NoError(t, os.MkdirAll(filepath.Join(path, "folder"), 0o777))
	assert.Nil(t, d.LoadTuning(), "a folder")
	_, err = good.Save()
	assert.ErrorContains(t, err, filepath.Base(path))
}

// What is measured of a GPU's kernels on a software driver is kept apart.
func TestTuningOfForcedKernels(t *testing.T) {
	plain := open(t, Options{}).NewTuning()
	t.Setenv(debug.Variable, "kernels=gpu")
	assert.NotEqual(t, plain.Key, open(t, Options{}).NewTuning().Key)
}
