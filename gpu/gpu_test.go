package gpu

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"math"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/rajveermalviya/go-webgpu/wgpu"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// depth makes software drivers take what GPUs take: with 2, runs overlap.
var depth = flag.Int("depth", 0, "submissions in flight, instead of what the adapter's type says")

// open opens a device with the limits that every GPU has.
func open(t *testing.T, o Options) *Device {
	t.Helper()
	o.DefaultLimits = true
	o.depth = cmp.Or(o.depth, *depth)
	d, err := Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func build(t *testing.T, g *graph.Graph, outs ...graph.Tensor) *graph.Program {
	t.Helper()
	p, err := g.Build(outs...)
	require.NoError(t, err)
	return p
}

// load loads p with a store of its own where w is nil.
func load(t *testing.T, d *Device, p *graph.Program, w *Store) *Session {
	t.Helper()
	if w == nil {
		w = d.NewStore()
		t.Cleanup(func() { require.NoError(t, w.Close()) })
	}
	s, err := d.Load(p, w)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func inputs(name string, data any) map[string]any { return map[string]any{name: data} }

func count(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i % 4096)
	}
	return x
}

// plus is x + v over n elements.
func plus(t *testing.T, n int, v float64) *graph.Program {
	g := graph.New()
	x := g.Input("x", graph.Shape{n}, graph.F32)
	return build(t, g, g.Add(x, g.Fill(v, n)))
}

// handmade is a program of one kernel that writes one f32 output of n elements.
func handmade(k *shaders.Kernel, n int, groups uint32, params ...uint32) *graph.Program {
	spec := graph.Spec{Shape: graph.Shape{n}}
	out := graph.Slot{Space: graph.SpaceArena, Bytes: spec.Bytes()}
	return &graph.Program{
		Steps:   []graph.Step{{Scope: "test", Op: "op", Kernel: k, Params: params, Slots: []graph.Slot{out}, Groups: [2]uint32{groups, 1}}},
		Arena:   []int64{spec.Bytes()},
		Outputs: []graph.Binding{{Spec: spec, Slots: []graph.Slot{out}}},
	}
}

func kernel(name, source string) *shaders.Kernel {
	return &shaders.Kernel{
		Name:      name,
		WGSL:      source,
		Bindings:  []shaders.Binding{{Name: "y", Access: shaders.ReadWrite, Elem: "f32"}},
		Workgroup: [3]uint32{64, 1, 1},
	}
}

// source gives element i the value i mod 4096 plus an offset.
type source float32

func (s source) ReadF32(dst []float32, offset int) error {
	for i := range dst {
		dst[i] = float32((offset+i)%4096) + float32(s)
	}
	return nil
}

type badSource struct{ error }

func (s badSource) ReadF32([]float32, int) error { return s.error }

func param(name string, src graph.Source, shape ...int) *graph.Param {
	return &graph.Param{State: graph.State{Name: name, Spec: graph.Spec{Shape: shape}}, Source: src}
}

func TestRun(t *testing.T) {
	d := open(t, Options{Check: true})
	s := load(t, d, plus(t, 100, 2), nil)
	out := make([]float32, 100)
	require.NoError(t, s.Run(t.Context(), IO{Inputs: inputs("x", count(100)), Outputs: [][]float32{out}}))
	for i, v := range count(100) {
		require.Equal(t, v+2, out[i])
	}
	require.NoError(t, s.Run(t.Context(), IO{Inputs: inputs("x", out)}), "without reading back")
	require.NoError(t, s.Run(t.Context(), IO{Inputs: inputs("x", out), Outputs: [][]float32{nil}}))
}

// TestSeveralOutputs reads back tensors of odd lengths, one of them longer than a batch.
func TestSeveralOutputs(t *testing.T) {
	d := open(t, Options{})
	sizes := []int{1, 3, stagingBytes/4 + 5, 7, 1}
	g := graph.New()
	var outs []graph.Tensor
	var got [][]float32
	for i, n := range sizes {
		outs = append(outs, g.Fill(float64(i+1), n))
		got = append(got, make([]float32, n))
	}
	s := load(t, d, build(t, g, outs...), nil)
	for range 2 { // a step at a time, then together
		require.NoError(t, s.Run(t.Context(), IO{Outputs: got}))
		for i, x := range got {
			require.Equal(t, float32(i+1), slices.Min(x))
			require.Equal(t, float32(i+1), slices.Max(x))
			clear(x)
		}
	}
	require.NoError(t, s.Run(t.Context(), IO{Outputs: [][]float32{nil, got[1], nil, got[3], nil}}))
	require.Equal(t, []float32{4, 4, 4, 4, 4, 4, 4}, got[3])
}

func TestRunRefusesWrongIO(t *testing.T) {
	d := open(t, Options{})
	s := load(t, d, plus(t, 100, 2), nil)
	for message, io := range map[string]IO{
		"input x f32[100] is missing":                                {},
		"input x f32[100] takes 100 values, got 99 of f32":           {Inputs: inputs("x", count(99))},
		"input x f32[100] takes 100 values, got 100 of i32":          {Inputs: inputs("x", make([]int32, 100))},
		"input x f32[100] is a []float64, want []float32 or []int32": {Inputs: inputs("x", make([]float64, 100))},
		"input x f32[100] is a <nil>, want []float32 or []int32":     {Inputs: inputs("x", nil)},
		"the program has no input y":                                 {Inputs: map[string]any{"x": count(100), "y": count(1)}},
		"the program has 1 outputs, got room for 2":                  {Inputs: inputs("x", count(100)), Outputs: make([][]float32, 2)},
		"output 0 f32[100] has 100 values, got room for 1 of f32":    {Inputs: inputs("x", count(100)), Outputs: [][]float32{{0}}},
	} {
		assert.EqualError(t, s.Run(t.Context(), io), message)
	}
}

func TestStates(t *testing.T) {
	d := open(t, Options{Check: true})
	w := d.NewStore()
	defer w.Close()
	p := param("p", source(0.5), 70)
	sum := &graph.State{Name: "sum", Spec: graph.Spec{Shape: graph.Shape{70}}}
	g := graph.New()
	g.Assign(sum, g.Add(g.State(sum), g.Param(p)))
	s := load(t, d, build(t, g, g.State(sum)), w)

	out := make([]float32, 70)
	for range 3 {
		require.NoError(t, s.Run(t.Context(), IO{Outputs: [][]float32{out}}))
	}
	got := make([]float32, 70)
	require.NoError(t, w.Read(t.Context(), sum, got))
	for i := range got {
		require.Equal(t, 3*(float32(i)+0.5), got[i])
	}
	require.Equal(t, got, out)

	require.NoError(t, w.Write(t.Context(), sum, make([]float32, 70)))
	other := load(t, d, build(t, g, g.State(sum)), w) // the store has both states: no source is read
	require.NoError(t, w.Write(t.Context(), &p.State, got))
	require.NoError(t, other.Run(t.Context(), IO{Outputs: [][]float32{out}}))
	require.Equal(t, got, out)

	unknown := &graph.State{Name: "nobody", Spec: graph.Spec{Shape: graph.Shape{1}}}
	require.EqualError(t, w.Read(t.Context(), unknown, make([]float32, 1)), "state nobody is not in the store")
	require.EqualError(t, w.Write(t.Context(), sum, nil), "state sum f32[70] takes 70 values, got 0")
	ids := &graph.State{Name: "ids", Spec: graph.Spec{Shape: graph.Shape{1}, Element: graph.I32}}
	require.EqualError(t, w.Write(t.Context(), ids, make([]float32, 1)), "state ids is i32[1], want f32")
}

// TestBigParameter crosses the pieces of streaming, uploading and reading back.
func TestBigParameter(t *testing.T) {
	d := open(t, Options{})
	w := d.NewStore()
	defer w.Close()
	n := maxUploads*uploadBytes/4 + 4099
	p := param("big", source(0), n)
	g := graph.New()
	load(t, d, build(t, g, g.Param(p)), w)
	got := make([]float32, n)
	require.NoError(t, w.Read(t.Context(), &p.State, got))
	for i, v := range got {
		if v != float32(i%4096) {
			t.Fatalf("element %d is %v", i, v)
		}
	}
}

func TestParameterSourceFails(t *testing.T) {
	d := open(t, Options{})
	w := d.NewStore()
	defer w.Close()
	cause := errors.New("disk on fire")
	before := d.core.used
	for _, src := range []graph.Source{badSource{cause}, nil} {
		g := graph.New()
		_, err := d.Load(build(t, g, g.Param(param("visual.proj", src, 8))), w)
		require.ErrorContains(t, err, "parameter visual.proj: ")
		require.Equal(t, src != nil, errors.Is(err, cause))
	}
	require.Equal(t, before, d.core.used, "the failed loads left memory behind")
}

func TestConcurrentRunsEqualSequential(t *testing.T) {
	d := open(t, Options{})
	w := d.NewStore()
	defer w.Close()
	s := load(t, d, plus(t, 1000, 0.1), w)
	want := make([][]float32, 8)
	input := func(i int) map[string]any {
		x := count(1000)
		x[0] = float32(i)
		return inputs("x", x)
	}
	for i := range want {
		want[i] = make([]float32, 1000)
		require.NoError(t, s.Run(t.Context(), IO{Inputs: input(i), Outputs: want[i : i+1]}))
	}
	var wg sync.WaitGroup
	for i := range want {
		wg.Go(func() {
			own, err := d.Load(plus(t, 1000, 0.1), w) // a second session, on the same activations
			if !assert.NoError(t, err) {
				return
			}
			defer own.Close()
			got := make([]float32, 1000)
			for j := range 100 {
				run := s
				if j%2 == 1 {
					run = own
				}
				assert.NoError(t, run.Run(t.Context(), IO{Inputs: input(i), Outputs: [][]float32{got}}))
				assert.Equal(t, want[i], got)
			}
		})
	}
	wg.Wait()
}

// TestErrorsStayWithTheirMaker: the library's error scopes are one stack a device.
func TestErrorsStayWithTheirMaker(t *testing.T) {
	d := open(t, Options{})
	w := d.NewStore()
	defer w.Close()
	s := load(t, d, plus(t, 64, 1), w)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		defer stop()
		for range 200 {
			_, err := d.Load(handmade(kernel("broken", "fn main( {"), 64, 1), w)
			var shader *ShaderError
			assert.ErrorAs(t, err, &shader)
			assert.Error(t, s.Run(t.Context(), IO{Inputs: inputs("x", count(3))}))
		}
	})
	wg.Go(func() {
		out := make([]float32, 64)
		for ctx.Err() == nil {
			assert.NoError(t, s.Run(t.Context(), IO{Inputs: inputs("x", count(64)), Outputs: [][]float32{out}}))
			assert.Equal(t, float32(64), out[63])
		}
	})
	wg.Wait()
}

func TestShaderErrorNamesKernelAndLine(t *testing.T) {
	d := open(t, Options{})
	w := d.NewStore()
	defer w.Close()
	const head = "@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n@compute @workgroup_size(64)\n"
	for message, src := range map[string]string{
		", line 3: expected identifier, found '{'":                                                            head + "fn main( {\n}\n",
		", line 4: Entry point main at Compute is invalid: Store of [4] into [3] doesn't have matching types": head + "fn main() {\n y[0] = 1u;\n}\n",
		", line 4: no definition in scope for identifier: 'z'":                                                head + "fn main() {\n z[0] = 1.0;\n}\n",
		": Error matching shader requirements against the pipeline: Unable to find entry point 'main'":        head + "fn mine() {\n}\n",
		": the source is empty or not UTF-8 text":                                                             "",
	} {
		_, err := d.Load(handmade(kernel("matmul TILE=4", src), 64, 1), w)
		var shader *ShaderError
		require.ErrorAs(t, err, &shader)
		assert.EqualError(t, err, "step 0, matmul TILE=4 of test.op: kernel matmul TILE=4"+message)
	}
}

func TestMemoryBudget(t *testing.T) {
	d := open(t, Options{MaxMemory: 64 << 20})
	w := d.NewStore()
	defer w.Close()
	before := d.core.used
	var refused *MemoryError
	g := graph.New()
	_, err := d.Load(build(t, g, g.Param(param("w", source(0), 10<<20)), g.Param(param("v", source(0), 10<<20))), w)
	require.ErrorAs(t, err, &refused)
	assert.EqualError(t, err, "80.0 MiB of device memory needed, 4.0 MiB in use, 64.0 MiB allowed")
	assert.Equal(t, before, d.core.used, "something was allocated before the refusal")

	big := param("w", source(0), 20<<20)
	require.ErrorAs(t, w.Write(t.Context(), &big.State, make([]float32, 20<<20)), &refused)

	first, err := d.Load(plus(t, 1<<20, 1), w)
	require.NoError(t, err)
	full := d.core.used
	second, err := d.Load(plus(t, 1<<20, 2), w)
	require.NoError(t, err)
	assert.Less(t, d.core.used-full, int64(1<<20), "sessions do not share their activations")
	require.NoError(t, first.Close())
	require.NoError(t, second.Close())
	assert.Equal(t, before, d.core.used)
}

// TestPoison: what nobody wrote reads as NaN, and writing where there is no tensor is an error.
func TestPoison(t *testing.T) {
	d := open(t, Options{Check: true})
	lazy := kernel("lazy", "@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n@compute @workgroup_size(64)\nfn main() { y[0] = 1.0; }\n")
	s := load(t, d, handmade(lazy, 8, 1), nil)
	out := make([]float32, 8)
	require.NoError(t, s.Run(t.Context(), IO{Outputs: [][]float32{out}}))
	assert.Equal(t, float32(1), out[0])
	assert.True(t, math.IsNaN(float64(out[1])))

	stray := handmade(lazy, 8, 1)
	stray.Steps[0].Slots[0] = graph.Slot{}
	err := load(t, d, stray, nil).Run(t.Context(), IO{})
	assert.EqualError(t, err, "step 0, lazy of test.op: wrote 0x3f800000 0 bytes behind a tensor")
}

// TestGuards: a kernel that writes behind its tensor is found out, at the end of a buffer and between activations.
func TestGuards(t *testing.T) {
	d := open(t, Options{Check: true})
	behind := kernel("behind", "@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n@compute @workgroup_size(64)\nfn main() { y[9] = 2.0; }\n")
	last := handmade(behind, 8, 1)
	between := handmade(behind, 8, 1)
	between.Arena[0], between.Guard = 1024, guardBytes
	for _, p := range []*graph.Program{last, between} {
		err := load(t, d, p, nil).Run(t.Context(), IO{})
		assert.EqualError(t, err, "step 0, behind of test.op: wrote 0x40000000 4 bytes behind a tensor")
	}
}

// TestFoldedDispatch needs more workgroups than one dimension takes.
func TestFoldedDispatch(t *testing.T) {
	d := open(t, Options{})
	const n = 1 << 25
	x := count(n)
	s := load(t, d, plus(t, n, 1), nil)
	require.NoError(t, s.Run(t.Context(), IO{Inputs: inputs("x", x), Outputs: [][]float32{x}}))
	for i, v := range x {
		if v != float32(i%4096)+1 {
			t.Fatalf("element %d is %v", i, v)
		}
	}
}

// TestHandle holds the assumption about the binding that handle makes.
func TestHandle(t *testing.T) {
	for _, v := range []any{wgpu.Device{}, wgpu.Queue{}, wgpu.Buffer{}} {
		f, ok := reflect.TypeOf(v).FieldByName("ref")
		require.True(t, ok, "%T", v)
		require.Equal(t, reflect.Pointer, f.Type.Kind())
	}
}
