package gpu

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// memory is VmRSS or VmHWM, now or at its most, of the process, in bytes, where the system tells.
func memory(t *testing.T, name string) int64 {
	t.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("no /proc/self/status")
	}
	_, rest, ok := strings.Cut(string(data), name+":")
	require.True(t, ok)
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	require.NoError(t, err)
	return kib << 10
}

// caseVariable names the case that a child of this test binary is to run.
const caseVariable = "GPU_TEST_CASE"

// child runs one case in a process of its own, and fails on a crash or on noise.
func child(t *testing.T, name string, env ...string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCase$", "-test.timeout=60s", fmt.Sprintf("-depth=%d", *depth))
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "XDG_RUNTIME_DIR=")
	}), append(env, caseVariable+"="+name)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	noise := stderr.String()
	assert.NoError(t, err, "%s", stdout.String())
	assert.Empty(t, noise[:min(len(noise), 500)])
}

func TestCase(t *testing.T) {
	run, ok := cases[os.Getenv(caseVariable)]
	if !ok {
		t.Skip("runs as a child of TestNoCrash")
	}
	run(t)
}

// TestNoCrash does, each in a process of its own, what makes the library abort one.
func TestNoCrash(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		t.Run(name, func(t *testing.T) {
			switch name {
			case "no driver":
				if runtime.GOOS != "linux" {
					t.Skip("its drivers cannot be hidden")
				}
				child(t, name, "VK_ICD_FILENAMES=/nonexistent", "VK_DRIVER_FILES=/nonexistent", "DISPLAY=:99", "EGL_PLATFORM=broken")
			default:
				child(t, name)
			}
		})
	}
}

func TestTwoProcesses(t *testing.T) {
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { child(t, "runs") })
	}
	wg.Wait()
}

// refused loads p, which must fail, on a device that must still work then.
func refused(t *testing.T, p *graph.Program, message string) {
	t.Helper()
	d := open(t, Options{})
	w := d.NewStore()
	defer w.Close()
	before := d.core.used
	_, err := d.Load(p, w)
	require.ErrorContains(t, err, message)
	require.NotContains(t, err.Error(), "\n")
	require.Equal(t, before, d.core.used)
	works(t, d)
}

func works(t *testing.T, d *Device) {
	t.Helper()
	out := make([]float32, 64)
	s := load(t, d, plus(t, 64, 1), nil)
	require.NoError(t, s.Run(t.Context(), IO{Inputs: inputs("x", count(64)), Outputs: [][]float32{out}}))
	require.Equal(t, float32(64), out[63])
}

const goodSource = "@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n@compute @workgroup_size(64)\nfn main() { y[0] = 1.0; }\n"

func good() *graph.Program { return handmade(kernel("good", goodSource), 64, 1) }

// changed is a good program after f.
func changed(f func(p *graph.Program, st *graph.Step)) *graph.Program {
	p := good()
	f(p, &p.Steps[0])
	return p
}

var cases = map[string]func(t *testing.T){
	"runs": func(t *testing.T) { works(t, open(t, Options{})) },
	"no driver": func(t *testing.T) {
		_, err := Open(Options{})
		require.ErrorIs(t, err, ErrNoDriver)
		require.ErrorContains(t, err, "VK_DRIVER_FILES=/nonexistent")
		require.ErrorContains(t, err, "apt install mesa-vulkan-drivers")
		_, err = Adapters()
		require.ErrorIs(t, err, ErrNoDriver)
	},
	"no such adapter": func(t *testing.T) {
		infos, err := Adapters()
		require.NoError(t, err)
		_, err = Open(Options{Adapter: "abacus"})
		require.ErrorContains(t, err, `no adapter "abacus", choose from 0: `+infos[0].Name)
		_, err = Open(Options{Adapter: "-1"})
		require.Error(t, err)
	},
	"the adapter's own limits": func(t *testing.T) {
		infos, err := Adapters()
		require.NoError(t, err)
		d, err := Open(Options{Adapter: strings.ToUpper(infos[0].Name)})
		require.NoError(t, err)
		defer d.Close()
		require.Equal(t, infos[0], d.Info())
		works(t, d)
		small := open(t, Options{}).Info()
		require.EqualValues(t, 256<<20, small.MaxBufferBytes)
		require.EqualValues(t, 128<<20, small.MaxBindingBytes)
		require.Equal(t, 8, small.MaxStorageBuffers)
		require.Equal(t, 256, small.MaxInvocations)
	},
	"source empty":     func(t *testing.T) { refused(t, handmade(kernel("k", ""), 64, 1), "the source is empty") },
	"source not UTF-8": func(t *testing.T) { refused(t, handmade(kernel("k", "\xff\xfe"), 64, 1), "not UTF-8") },
	"source with NUL":  func(t *testing.T) { refused(t, handmade(kernel("k", goodSource+"\x00"), 64, 1), "not UTF-8") },
	"no entry point": func(t *testing.T) {
		refused(t, handmade(kernel("k", "fn f() {}"), 64, 1), "Unable to find entry point")
	},
	"workgroup memory": func(t *testing.T) {
		k := kernel("k", goodSource)
		k.Shared = 1 << 20
		refused(t, handmade(k, 64, 1), "bytes of workgroup memory: 1048576, the device allows")
	},
	"invocations": func(t *testing.T) {
		k := kernel("k", goodSource)
		k.Workgroup = [3]uint32{1 << 31, 1 << 31, 4}
		refused(t, handmade(k, 64, 1), "invocations of a workgroup")
		k = kernel("k", goodSource)
		k.Workgroup = [3]uint32{}
		refused(t, handmade(k, 64, 1), "invocations of a workgroup: 0")
	},
	"bindings reflected wrongly": func(t *testing.T) {
		k := kernel("k", strings.Replace(goodSource, "binding(0)", "binding(1)", 1))
		refused(t, handmade(k, 64, 1), "Binding is missing from the pipeline layout")
		k = kernel("k", goodSource)
		k.Bindings[0].Access = shaders.Read
		refused(t, handmade(k, 64, 1), "")
	},
	"too many bindings": func(t *testing.T) {
		k := kernel("k", goodSource)
		p := handmade(k, 64, 1)
		for range 8 {
			k.Bindings = append(k.Bindings, shaders.Binding{Name: "x", Access: shaders.Read})
			p.Steps[0].Slots = append(p.Steps[0].Slots, graph.Slot{})
		}
		refused(t, p, "storage buffers: 9, the device allows 1 to 8")
	},
	"programs that fit nothing": func(t *testing.T) {
		refused(t, nil, "nil program")
		for message, p := range map[string]*graph.Program{
			"no kernel":                                                        changed(func(_ *graph.Program, st *graph.Step) { st.Kernel = nil }),
			"1 params, the kernel takes 0":                                     changed(func(_ *graph.Program, st *graph.Step) { st.Params = []uint32{1} }),
			"0 tensors, the kernel binds 1":                                    changed(func(_ *graph.Program, st *graph.Step) { st.Slots = nil }),
			"workgroups in one dimension: 0":                                   changed(func(_ *graph.Program, st *graph.Step) { st.Groups[1] = 0 }),
			"workgroups in one dimension: 65536":                               changed(func(_ *graph.Program, st *graph.Step) { st.Groups[0] = 65536 }),
			"y: the program has no a7":                                         changed(func(_ *graph.Program, st *graph.Step) { st.Slots[0].Index = 7 }),
			"bytes of a binding: 0":                                            changed(func(_ *graph.Program, st *graph.Step) { st.Slots[0].Bytes = 0 }),
			"y: 257 bytes of a0, which has 256":                                changed(func(_ *graph.Program, st *graph.Step) { st.Slots[0].Bytes = 257 }),
			"y: a0+100 does not begin at a multiple of 256":                    changed(func(_ *graph.Program, st *graph.Step) { st.Slots[0].Offset = 100 }),
			"y: a0 does not begin at":                                          changed(func(_ *graph.Program, st *graph.Step) { st.Slots[0].Offset = -256 }),
			"y: 256 bytes of a0+256, which has 0":                              changed(func(_ *graph.Program, st *graph.Step) { st.Slots[0].Offset = 256 }),
			"output 0 f32[64]: 256 bytes of a0+256, which has 0":               changed(func(p *graph.Program, _ *graph.Step) { p.Outputs[0].Slots[0].Offset = 256 }),
			"output 0 f32[64]: a0 does not begin at":                           changed(func(p *graph.Program, _ *graph.Step) { p.Outputs[0].Slots[0].Offset = -256 }),
			"activation buffer 1: 0":                                           changed(func(p *graph.Program, _ *graph.Step) { p.Arena = append(p.Arena, 0) }),
			"activation buffer 1: -4":                                          changed(func(p *graph.Program, _ *graph.Step) { p.Arena = append(p.Arena, -4) }),
			"activation buffer 1: 268435460, the device allows 1 to 268435456": changed(func(p *graph.Program, _ *graph.Step) { p.Arena = append(p.Arena, 256<<20+4) }),
			"bytes of a binding: 134217732, the device allows 1 to 134217728":  changed(func(p *graph.Program, st *graph.Step) { p.Arena[0], st.Slots[0].Bytes = 256<<20, 128<<20+4 }),
			"output 0 f32[64]: the program has no a3":                          changed(func(p *graph.Program, _ *graph.Step) { p.Outputs[0].Slots[0].Index = 3 }),
			"output 0 f32[64] is absent":                                       changed(func(p *graph.Program, _ *graph.Step) { p.Outputs[0].Slots[0].Space = graph.SpaceNone }),
			"output 0 f32[64] lies in 0 bytes":                                 changed(func(p *graph.Program, _ *graph.Step) { p.Outputs[0].Slots = nil }),
			"bytes of input x: 0": changed(func(p *graph.Program, _ *graph.Step) {
				p.Inputs = []graph.Binding{{Name: "x", Spec: graph.Spec{Shape: graph.Shape{0}}}}
			}),
			"bytes of state table: 400000000, the device allows 1 to 268435456": changed(func(p *graph.Program, _ *graph.Step) {
				p.States = []*graph.State{{Name: "table", Spec: graph.Spec{Shape: graph.Shape{1, 100e6}}}}
			}),
		} {
			refused(t, p, message)
		}
	},
	"one tensor bound twice": func(t *testing.T) {
		twice := func(source string, access shaders.Access, offset int64) *graph.Program {
			k := kernel("k", source+"@group(0) @binding(1) var<storage, read_write> x: array<f32>;\n")
			k.Bindings = append(k.Bindings, shaders.Binding{Name: "x", Access: access})
			p := handmade(k, 64, 1)
			p.Arena[0] = 1024
			second := p.Steps[0].Slots[0]
			second.Offset = offset
			p.Steps[0].Slots = append(p.Steps[0].Slots, second)
			return p
		}
		refused(t, twice(goodSource, shaders.Read, 0), "y is a0 and x is a0, and one is written")
		refused(t, twice(goodSource, shaders.Read, 256), "y is a0 and x is a0+256, and one is written")
		refused(t, twice(goodSource, shaders.ReadWrite, 0), "y is a0 and x is a0, and one is written")
		both := strings.Replace(goodSource, "y[0] = 1.0;", "y[0] = 1.0; x[0] = 2.0;", 1)
		out := make([]float32, 64)
		require.NoError(t, load(t, open(t, Options{}), twice(both, shaders.ReadWrite, 256), nil).Run(t.Context(), IO{Outputs: [][]float32{out}}))
		require.Equal(t, float32(1), out[0])
	},
	"an error that no scope catches": func(t *testing.T) { // by default the library aborts
		d := open(t, Options{})
		require.ErrorContains(t, d.core.call(t.Context(), func() error {
			unmap(d.core.unread.Buffer)
			return nil
		}), "not mapped")
		works(t, d)
	},
	"a failed copy is not submitted": func(t *testing.T) {
		d := open(t, Options{})
		out := make([]byte, 512)
		err := d.core.alone(t.Context(), func() error {
			return d.core.readback(t.Context(), []transfer{{d.core.unread, 0, out}})
		})
		require.Error(t, err)
		works(t, d)
	},
	"an upload beyond the end": func(t *testing.T) {
		d := open(t, Options{})
		u := uploader{core: d.core}
		require.Error(t, u.alone(t.Context(), func() error { return u.write(t.Context(), d.core.unread, 4, make([]byte, 256)) }))
		works(t, d)
	},
	"uploads do not pile up": func(t *testing.T) {
		d := open(t, Options{})
		w := d.NewStore()
		defer w.Close()
		const n, size = 3, 96 << 20
		g := graph.New()
		var params []graph.Tensor
		for i := range n {
			params = append(params, g.Param(param(strconv.Itoa(i), source(0), size/4)))
		}
		works(t, d)
		before := memory(t, "VmRSS")
		load(t, d, build(t, g, params...), w)
		if d.Info().Software() { // the parameters themselves are in this process
			before += n * size
		}
		assert.Less(t, memory(t, "VmHWM")-before, int64(pendingBytes+128<<20))
	},
	"a binding too small for its kernel": func(t *testing.T) {
		k := kernel("k", strings.NewReplacer("array<f32>", "array<mat4x4<f32>>", "y[0] = 1.0", "y[0][0][0] = 1.0").Replace(goodSource))
		d := open(t, Options{})
		w := d.NewStore()
		defer w.Close()
		s, err := d.Load(handmade(k, 1, 1), w)
		if err == nil {
			err = s.Run(t.Context(), IO{})
			require.NoError(t, s.Close())
		}
		require.Error(t, err)
		works(t, d)
	},
	"used after Close": func(t *testing.T) {
		d := open(t, Options{})
		w := d.NewStore()
		s, err := d.Load(good(), w)
		require.NoError(t, err)
		st := &graph.State{Name: "s", Spec: graph.Spec{Shape: graph.Shape{1}}}
		require.NoError(t, w.Write(t.Context(), st, []float32{1}))
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				assert.NoError(t, w.Close())
				assert.NoError(t, s.Close())
				assert.NoError(t, d.Close())
			})
		}
		wg.Wait()
		require.ErrorIs(t, s.Run(t.Context(), IO{}), ErrClosed)
		require.ErrorIs(t, w.Read(t.Context(), st, []float32{1}), ErrClosed)
		require.ErrorIs(t, w.Write(t.Context(), st, []float32{1}), ErrClosed)
		_, err = d.Load(good(), w)
		require.ErrorIs(t, err, ErrClosed)
		_, err = d.Retain()
		require.ErrorIs(t, err, ErrClosed)
		require.ErrorIs(t, d.NewStore().Write(t.Context(), st, []float32{1}), ErrClosed)
		require.NoError(t, d.NewStore().Close())
		require.ErrorIs(t, d.core.call(t.Context(), func() error { panic("a call on what was freed") }), ErrClosed)
		_, err = open(t, Options{}).Load(good(), w)
		require.Error(t, err)
	},
	"nil": func(t *testing.T) {
		var d *Device
		var w *Store
		var s *Session
		require.NoError(t, d.Close())
		require.NoError(t, w.Close())
		require.NoError(t, s.Close())
		require.ErrorIs(t, s.Run(t.Context(), IO{}), ErrClosed)
		require.ErrorIs(t, w.Write(t.Context(), nil, nil), ErrClosed)
		_, err := d.Load(good(), w)
		require.ErrorIs(t, err, ErrClosed)
		require.Zero(t, d.Info())
		_, err = open(t, Options{}).Load(good(), nil)
		require.ErrorIs(t, err, ErrClosed)
	},
	"Close during Run": func(t *testing.T) {
		d := open(t, Options{})
		other, err := d.Retain()
		require.NoError(t, err)
		w := d.NewStore()
		s := load(t, d, repeated(handmade(slow, 64, 1, rounds(t, d, 50*time.Millisecond)), 20), w)
		var wg sync.WaitGroup
		out := make([]float32, 64)
		for i := range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*100*time.Millisecond)
			defer cancel()
			wg.Go(func() {
				if err := s.Run(ctx, IO{}); err != nil && ctx.Err() == nil {
					assert.ErrorIs(t, err, ErrClosed)
				}
			})
		}
		time.Sleep(50 * time.Millisecond)
		for _, c := range []interface{ Close() error }{d, w, s} {
			wg.Go(func() { assert.NoError(t, c.Close()) })
		}
		wg.Wait()
		require.ErrorIs(t, s.Run(t.Context(), IO{Outputs: [][]float32{out}}), ErrClosed)
		works(t, other)
		require.NoError(t, other.Close())
	},
	"a device that stops answering": func(t *testing.T) {
		d := open(t, Options{})
		w := d.NewStore()
		n := rounds(t, d, time.Second)
		s, err := d.Load(handmade(slow, 64, 1, n), w)
		require.NoError(t, err)
		watchdog = 100 * time.Millisecond
		require.ErrorIs(t, s.Run(t.Context(), IO{}), ErrLost)
		require.ErrorIs(t, s.Run(t.Context(), IO{}), ErrLost)
		_, err = d.Load(good(), w)
		require.ErrorIs(t, err, ErrLost)
		require.NoError(t, s.Close())
		require.NoError(t, w.Close())
		require.NoError(t, d.Close())
		fmt.Fprintln(os.Stdout, "closed")
	},
}
