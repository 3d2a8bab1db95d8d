package tests

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/internal/usage"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// The shapes are ViT-B-32's: images have 50 tokens of width 768, texts 77 of width 512.

// benchCopies is how often a case stands in the program that is timed, so that
// the way to the GPU and back counts little.
const benchCopies = 8

// BenchmarkOps reports GFLOP/s of matrix products and, for all else, GB/s: the
// inputs and outputs, each once. CPU time is the whole process's: on a software
// driver, what its kernels cost, whoever else uses the machine. The kernels are
// those that a device of its kind gets unmeasured, where a case names none.
func BenchmarkOps(b *testing.B) {
	device, err := gpu.Open(gpu.Options{})
	require.NoError(b, err)
	defer device.Close()
	for _, c := range benchCases() {
		b.Run(c.name, func(b *testing.B) { c.bench(b, device) })
	}
}

func (c opCase) bench(b *testing.B, device *gpu.Device) {
	build := c.build
	c.build = func(g *graph.Graph, in tensors) (outs []graph.Tensor) {
		for range benchCopies {
			outs = append(outs, build(g, in)...)
		}
		return outs
	}
	r := newOpRun(b, c)
	r.g.Adapter = device.Info().Target().Adapter
	program, err := r.g.Build(r.outs...)
	require.NoError(b, err)
	store := device.NewStore()
	defer store.Close()
	session, err := device.Load(program, store)
	require.NoError(b, err)
	defer session.Close()
	io := gpu.IO{Inputs: map[string]any{}}
	for _, in := range program.Inputs {
		io.Inputs[in.Name] = narrow(in.Element, r.inputs[in.Name])
	}
	run := func() { require.NoError(b, session.Run(b.Context(), io)) }
	run() // the driver compiles
	run() // the session knows what a step costs
	cpu := usage.CPU()
	for b.Loop() {
		run()
	}
	cpu = usage.CPU() - cpu
	ops := float64(b.N * benchCopies)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/ops, "ns/op")
	b.ReportMetric(cpu.Seconds()*1e3/ops, "cpu-ms/op")
	if flops := program.FLOPs(); flops > 0 {
		work := float64(flops) * float64(b.N) / 1e9
		b.ReportMetric(work/b.Elapsed().Seconds(), "GFLOP/s")
		b.ReportMetric(work/cpu.Seconds(), "GFLOP/cpu-s")
	} else {
		b.ReportMetric(float64(r.bytes())*ops/b.Elapsed().Seconds()/1e9, "GB/s")
	}
}

// bytes are those of a copy's inputs and outputs; of a table, what ids look up.
func (r *opRun) bytes() (sum int64) {
	ids := 0
	for _, in := range r.c.inputs {
		if in.ints > 0 {
			ids += in.shape.Elems()
		}
	}
	for _, in := range r.c.inputs {
		s := in.shape
		if in.name == "table" {
			s = graph.Shape{ids, s[1]}
		}
		sum += 4 * int64(s.Elems())
	}
	for _, out := range r.outs[:len(r.outs)/benchCopies] {
		sum += out.Spec().Bytes()
	}
	return sum
}

func benchCases() (cases []opCase) {
	for _, s := range []struct{ rows, in, out int }{
		{50, 768, 2304}, {50, 768, 768}, {50, 768, 3072}, {50, 3072, 768},
		{77, 512, 1536}, {77, 512, 2048}, {77, 2048, 512}, {1, 768, 512},
		{400, 768, 768}, {400, 768, 3072}, {1600, 768, 768},
	} {
		for _, l := range packedLayouts {
			if l == packing.F32 || s.in == 768 && s.out == 768 {
				cases = append(cases, linearBench(l, s.rows, s.in, s.out))
			}
		}
	}
	for _, a := range []struct {
		name              string
		batch, heads, len int
		causal            bool
	}{{"image", 1, 12, 50, false}, {"image", 8, 12, 50, false}, {"text", 1, 8, 77, true}, {"text", 8, 8, 77, true}} {
		for _, v := range []string{"three passes", "one pass"} {
			width := 64 * a.heads
			cases = append(cases, opCase{
				name:    fmt.Sprintf("attention %s/%s %d×%d×%d", v, a.name, a.batch, a.len, width),
				variant: v,
				inputs:  []opInput{param("qkv", a.batch, a.len, 3*width)},
				build: one(func(g *graph.Graph, in tensors) graph.Tensor {
					return ops.SelfAttention(g, in["qkv"], graph.Tensor{}, ops.AttentionConfig{Heads: a.heads, Scale: 1 / math.Sqrt(64), Causal: a.causal})
				}),
			})
		}
	}
	cases = append(cases, opCase{
		name:   "matmul transposed/3072×400×768",
		inputs: []opInput{param("a", 400, 3072), param("b", 400, 768)},
		build:  one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.MatMul(g, in["a"], in["b"], true, false) }),
	})
	return append(cases, rowBenches()...)
}

func linearBench(l packing.Format, rows, in, out int) opCase {
	c := packedCase(l, "", rows, in, out)
	c.name = fmt.Sprintf("linear %v/%d×%d×%d", l, rows, in, out)
	return c
}

// rowBenches are what reads and writes more than it computes.
func rowBenches() (cases []opCase) {
	for _, rows := range []int{50, 400} {
		x := param("x", rows, 768)
		add := func(name string, build func(g *graph.Graph, in tensors) graph.Tensor, inputs ...opInput) {
			cases = append(cases, opCase{name: fmt.Sprint(name, "/", graph.Spec{Shape: inputs[0].shape}), inputs: inputs, build: one(build)})
		}
		add("layernorm", func(g *graph.Graph, in tensors) graph.Tensor {
			return ops.LayerNorm(g, in["x"], in["w"], in["b"], 1e-5)
		}, x, param("w", 768), param("b", 768))
		add("softmax", func(g *graph.Graph, in tensors) graph.Tensor { return ops.Softmax(g, in["x"]) }, param("x", 12*rows, 50))
		add("l2_normalize", func(g *graph.Graph, in tensors) graph.Tensor { return ops.L2Normalize(g, in["x"], 1e-12) }, x)
		add("gelu", func(g *graph.Graph, in tensors) graph.Tensor { return ops.Map(g, in["x"], ops.GELU) }, param("x", rows, 3072))
		add("dropout", func(g *graph.Graph, in tensors) graph.Tensor {
			g.Training = true
			return ops.Dropout(g, in["x"], 0.1)
		}, x)
		add("add", func(g *graph.Graph, in tensors) graph.Tensor { return g.Add(in["x"], in["y"]) }, x, param("y", rows, 768))
		add("add_broadcast", func(g *graph.Graph, in tensors) graph.Tensor { return ops.AddBroadcast(g, in["x"], in["b"], 1) },
			param("x", rows/50, 50, 768), param("b", 50, 768))
		add("sum_axis", func(g *graph.Graph, in tensors) graph.Tensor { return ops.SumAxis(g, in["x"], 0) }, x)
		add("split", func(g *graph.Graph, in tensors) graph.Tensor { return ops.Split(g, in["x"], 1, 1, 49)[0] }, param("x", rows/50, 50, 768))
		add("patchify", func(g *graph.Graph, in tensors) graph.Tensor { return ops.Patchify(g, in["x"], 32, 32, 1) },
			param("x", rows/50, 3, 224, 224))
		add("gather", func(g *graph.Graph, in tensors) graph.Tensor { return ops.Gather(g, in["table"], in["ids"]) },
			opInput{name: "ids", shape: graph.Shape{rows / 50, 77}, ints: 49408}, param("table", 49408, 512))
	}
	return cases
}
