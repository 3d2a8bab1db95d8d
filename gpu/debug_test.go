package gpu

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/debug"
)

// debugged runs, with CLIPWGPU set, y = x + p in scope a, z = y + p in scope b and
// assigns z to a state in scope c.
func debugged(t *testing.T, value string, p []float32) (z []float32, err error) {
	t.Helper()
	t.Setenv(debug.Variable, value)
	g := graph.New()
	param := &graph.Param{State: graph.State{Name: "p", Spec: graph.Spec{Shape: graph.Shape{2, 2}}}, Source: floats(p)}
	kept := &graph.State{Name: "kept", Spec: graph.Spec{Shape: graph.Shape{2, 2}}}
	x := g.Input("x", graph.Shape{2, 2}, graph.F32)
	add := func(scope string, x graph.Tensor) graph.Tensor {
		defer g.Scope(scope)()
		return g.Add(x, g.Param(param))
	}
	y := add("tower.a", x)
	out := add("tower.b", y)
	end := g.Scope("other.c")
	g.Assign(kept, out)
	end()
	prog := build(t, g, out)
	d := open(t, Options{Check: true})
	w := d.NewStore()
	t.Cleanup(func() { require.NoError(t, w.Close()) })
	s, err := d.Load(prog, w)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	z = make([]float32, 4)
	err = s.Run(t.Context(), IO{Inputs: inputs("x", []float32{1, 2, 3, 4}), Outputs: [][]float32{z}})
	if err == nil {
		values := make([]float32, 4)
		require.NoError(t, w.Read(t.Context(), kept, values))
		assert.Equal(t, bytesOf(z), bytesOf(values))
	}
	return z, err
}

// floats is a Source in memory.
type floats []float32

func (f floats) ReadF32(dst []float32, offset int) error {
	copy(dst, f[offset:])
	return nil
}

var ones = []float32{1, 1, 1, 1}

func TestDebugChangesNoResult(t *testing.T) {
	traces = &bytes.Buffer{}
	t.Cleanup(func() { traces = os.Stderr })
	t.Chdir(t.TempDir())
	for _, value := range []string{"", "trace=1", "check=nan", "check=ops", "dump=tower", "plan=off", "tune=off", "wgsl=.", "check=ops,trace=1,plan=off,dump=x"} {
		z, err := debugged(t, value, ones)
		require.NoError(t, err, value)
		assert.Equal(t, []float32{3, 4, 5, 6}, z, value)
	}
}

func TestCheckNaNNamesTheScope(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1)} {
		_, err := debugged(t, "check=nan", []float32{0, 0, float32(bad), 0})
		require.Error(t, err)
		assert.ErrorContains(t, err, "step 0")
		assert.ErrorContains(t, err, "tower.a.add: wrote ")
		assert.ErrorContains(t, err, "element 2 of output 0, f32[2×2]")
	}
	_, err := debugged(t, "", []float32{0, 0, float32(math.NaN()), 0})
	require.NoError(t, err)
	big := float32(2e38) // overflows in the second addition
	_, err = debugged(t, "check=nan", []float32{0, big, 0, 0})
	assert.ErrorContains(t, err, "tower.b.add: wrote +Inf to element 1")
}

// wrongKernel is a folder in which a kernel computes something else.
func wrongKernel(t *testing.T, name, old, new string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "shaders", name+".wgsl"))
	require.NoError(t, err)
	require.Contains(t, string(text), old)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name+".wgsl"), []byte(strings.Replace(string(text), old, new, 1)), 0o666))
	return dir
}

func TestCheckOpsFindsAWrongKernel(t *testing.T) {
	dir := wrongKernel(t, "copy", "  y[i] = x[i];", "  y[i] = select(x[i], 0x40e00000u, i == 3u);")
	_, err := debugged(t, "check=ops,wgsl="+dir, ones)
	require.Error(t, err)
	assert.ErrorContains(t, err, "other.c.assign: element 3 of output 0, f32[2×2], is 7 on the device and 6 by the op's reference")
	_, err = debugged(t, "check=ops", ones)
	require.NoError(t, err, "a kernel of wgsl=DIR is not kept for others")
	// What an op gets is what its reference gets: a NaN that came in is not the op's fault.
	_, err = debugged(t, "check=ops", []float32{0, float32(math.NaN()), 0, 0})
	require.NoError(t, err)
}

func TestWGSLRefuses(t *testing.T) {
	dir := wrongKernel(t, "copy", "fn main", "fn main(")
	_, err := debugged(t, "wgsl="+dir, ones)
	assert.ErrorContains(t, err, "copy")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kopy.wgsl"), nil, 0o666))
	t.Setenv(debug.Variable, "wgsl="+dir)
	_, err = Open(Options{})
	assert.ErrorContains(t, err, "kopy.wgsl: the program has no kernel of this name")
}

func TestOpenRefusesWhatCLIPWGPUDoesNotHave(t *testing.T) {
	t.Setenv(debug.Variable, "chekc=nan")
	_, err := Open(Options{})
	assert.ErrorContains(t, err, `CLIPWGPU: unknown "chekc=nan"; there are trace=1,`)
}

func TestDumpWritesNumPyFiles(t *testing.T) {
	traces = &bytes.Buffer{}
	t.Cleanup(func() { traces = os.Stderr })
	t.Chdir(t.TempDir())
	for _, scope := range []string{"tower.b", "other", "none"} {
		_, err := debugged(t, "dump="+scope, ones)
		require.NoError(t, err)
	}
	files, err := filepath.Glob("clip-wgpu-dump/*/*")
	require.NoError(t, err)
	require.Equal(t, []string{filepath.FromSlash("clip-wgpu-dump/0001/0001-tower.b.add.npy"), filepath.FromSlash("clip-wgpu-dump/0002/0002-other.c.assign.npy")}, files)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Len(t, data, 128+16)
		assert.Contains(t, string(data[:128]), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2, ), }")
		values := make([]float32, 4)
		_, err = binary.Decode(data[128:], binary.LittleEndian, values)
		require.NoError(t, err)
		assert.Equal(t, []float32{3, 4, 5, 6}, values)
	}
	require.NoError(t, os.RemoveAll("clip-wgpu-dump"))
	require.NoError(t, os.WriteFile("clip-wgpu-dump", nil, 0o666))
	_, err = debugged(t, "dump=tower", ones)
	assert.ErrorContains(t, err, "clip-wgpu-dump")
}

func TestTraceTellsLoadsAndSubmissions(t *testing.T) {
	var lines bytes.Buffer
	traces = &lines
	t.Cleanup(func() { traces = os.Stderr })
	_, err := debugged(t, "trace=1", ones)
	require.NoError(t, err)
	text := lines.String()
	assert.Contains(t, text, "clip-wgpu: load of x f32[2×2]: 3 steps, ")
	assert.Contains(t, text, "clip-wgpu: run of x f32[2×2]: steps 1 to 1 of 3, tower.b to tower.b, ")
	assert.Equal(t, 4, strings.Count(text, "\n"))
}

// TestPlanOff: every activation has memory of its own. (tests has fused ops.)
func TestPlanOff(t *testing.T) {
	sizes := map[string]int64{}
	for _, value := range []string{"", "plan=off"} {
		t.Setenv(debug.Variable, value)
		g := graph.New()
		assert.Equal(t, value != "", g.Unfused)
		x := g.Input("x", graph.Shape{64}, graph.F32)
		for range 9 {
			x = g.Add(x, x)
		}
		p := build(t, g, x)
		sizes[value] = p.ArenaBytes()
	}
	assert.Equal(t, map[string]int64{"": 2 * 256, "plan=off": 9 * 256}, sizes)
}

func TestTuneOff(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	d := open(t, Options{})
	tuning := d.NewTuning()
	tuning.Add("class", "kernel", 1)
	_, err := tuning.Save()
	require.NoError(t, err)
	require.NotNil(t, d.LoadTuning())
	t.Setenv(debug.Variable, "tune=off")
	assert.Nil(t, open(t, Options{}).LoadTuning())
}
