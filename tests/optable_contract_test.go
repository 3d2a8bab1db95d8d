package tests

import (
	"fmt"
	"math"
	"testing"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Tolerances of the contractions, relative to a row's largest value (see
// closeRows). A sum of n products rounded one by one is off by about √n·2⁻²⁴ of
// the root of its sum of squares, 4e-7 for n = 64 and 2e-6 for n = 1024;
// a row's largest value is above that root.
const (
	tolDot     = 2e-6
	tolSoftmax = 4e-6 // exp is good to 3 ulp at arguments to 10, which adds 10·2⁻²⁴
	tolNorm    = 2e-6
)

type tensors = map[string]graph.Tensor

// one is what most cases build: a single output.
func one(f func(g *graph.Graph, in tensors) graph.Tensor) func(*graph.Graph, tensors) []graph.Tensor {
	return func(g *graph.Graph, in tensors) []graph.Tensor { return []graph.Tensor{f(g, in)} }
}

func TestLinear(t *testing.T) {
	linear := one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.Linear(g, in["x"], in["w"], in["bias"]) })
	runOpCases(t, []opCase{
		{name: "1x1x1", tol: tolDot, build: linear, inputs: []opInput{
			{name: "x", shape: graph.Shape{1}}, {name: "w", shape: graph.Shape{1, 1}}, {name: "bias", shape: graph.Shape{1}}}},
		{name: "7x63x65", tol: tolDot, build: linear, inputs: []opInput{
			{name: "x", shape: graph.Shape{7, 63}}, {name: "w", shape: graph.Shape{65, 63}}, {name: "bias", shape: graph.Shape{65}}}},
		{name: "no bias, 3 dimensions", tol: tolDot, build: linear, inputs: []opInput{
			{name: "x", shape: graph.Shape{2, 5, 64}}, {name: "w", shape: graph.Shape{129, 64}}}},
		{name: "197 rows, bias summed in chunks", tol: tolDot, build: linear, inputs: []opInput{
			{name: "x", shape: graph.Shape{197, 20}}, {name: "w", shape: graph.Shape{131, 20}}, {name: "bias", shape: graph.Shape{131}}}},
		{name: "9x300 in 1024", tol: tolDot, build: linear, inputs: []opInput{
			{name: "x", shape: graph.Shape{9, 1024}}, {name: "w", shape: graph.Shape{30, 1024}}, {name: "bias", shape: graph.Shape{30}}}},
	})
}

func TestMatMul(t *testing.T) {
	var cases []opCase
	for _, c := range []struct {
		name           string
		transA, transB bool
		a, b           graph.Shape
	}{
		{"7x63 by 63x65", false, false, graph.Shape{7, 63}, graph.Shape{63, 65}},
		{"by the transposed", false, true, graph.Shape{63, 7}, graph.Shape{5, 7}},
		{"transposed by", true, false, graph.Shape{65, 9}, graph.Shape{65, 7}},
		{"both transposed", true, true, graph.Shape{65, 9}, graph.Shape{7, 65}},
		{"batch", false, false, graph.Shape{3, 7, 9}, graph.Shape{3, 9, 5}},
		{"batch, both transposed", true, true, graph.Shape{3, 9, 7}, graph.Shape{3, 5, 9}},
		{"batch, by the transposed", false, true, graph.Shape{2, 17, 9}, graph.Shape{2, 130, 9}},
		{"column by row", false, false, graph.Shape{197, 1}, graph.Shape{1, 3}},
	} {
		cases = append(cases, opCase{
			name:   c.name,
			inputs: []opInput{{name: "a", shape: c.a}, {name: "b", shape: c.b}},
			build: one(func(g *graph.Graph, in tensors) graph.Tensor {
				return ops.MatMul(g, in["a"], in["b"], c.transA, c.transB)
			}),
			tol: tolDot,
		})
	}
	// More workgroups than one row of a dispatch holds.
	cases = append(cases, opCase{
		name:   "262200 rows, a folded dispatch",
		inputs: []opInput{{name: "a", shape: graph.Shape{262200, 1}}, {name: "b", shape: graph.Shape{1, 1}}},
		build:  one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.MatMul(g, in["a"], in["b"], false, false) }),
		noGrad: []string{"b"},
		tol:    tolDot,
	})
	// One operand used twice: its gradient is the sum of both.
	cases = append(cases, opCase{
		name:   "with itself",
		inputs: []opInput{{name: "a", shape: graph.Shape{7, 9}}},
		build:  one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.MatMul(g, in["a"], in["a"], false, true) }),
		tol:    tolDot,
	})
	runOpCases(t, cases)
}

// attentionCase is one shape of Attention: mask rows 0 (none), 1 or the batch; with
// keys, one mask for all queries.
type attentionCase struct {
	name                       string
	batch, heads, lq, lk, d, v int
	causal                     bool
	maskRows                   int
	keys                       bool
	mask                       func(i int) float64
	dropout                    float64
}

func TestAttention(t *testing.T) { runOpCases(t, onGPUAndCPU(attentionCases())) }

// onGPUAndCPU has the kernels of GPUs, and those of a software driver, make each case.
// Finite differences are taken once: they know of no kernels.
func onGPUAndCPU(cases []opCase) []opCase {
	for _, c := range cases {
		c.name, c.adapter, c.kink = c.name+", on a CPU", graph.CPU, true
		cases = append(cases, c)
	}
	return cases
}

// One pass over the keys stores no probabilities, so it serves the forward
// pass only.
func TestAttentionInOnePass(t *testing.T) {
	cases := attentionCases()
	for i := range cases {
		cases[i].variant = "one pass"
		cases[i].noGrad = []string{"q", "k", "v", "mask"}
	}
	runOpCases(t, cases)
}

// TestAttentionLengths is attention in one pass, and its gradient, at the lengths and head
// widths of CLIP's towers: to all keys, causal and masked. Ref takes long for gradients:
// each length and width has that of one of the three.
func TestAttentionLengths(t *testing.T) {
	var cases []opCase
	for _, length := range []int{1, 50, 77, 197, 257, 577} {
		for i, width := range []int{32, 64, 80, 96, 128} {
			c := attentionCase{batch: 1, heads: 1, lq: length, lk: length, d: width, v: width}
			causal, masked := c, c
			causal.causal, masked.maskRows, masked.mask = true, 1, func(i int) float64 {
				if i%length%3 == 1 {
					return math.Inf(-1)
				}
				return math.Sin(float64(i))
			}
			for j, c := range []attentionCase{c, causal, masked} {
				c.name = fmt.Sprintf("%d tokens, head width %d, %s", length, width, []string{"all", "causal", "masked"}[j])
				row := c.row()
				row.variant, row.noGrad = "one pass", []string{"q", "k", "v", "mask"}
				cases = append(cases, row)
				if j == (i+length)%3 && (length < 577 || width == 64) {
					row := c.row()
					row.name, row.kink = c.name+", gradient", true
					cases = append(cases, row)
				}
			}
		}
	}
	runOpCases(t, cases)
}

func attentionCases() (cases []opCase) {
	for _, width := range []int{64, 72, 80, 88, 104, 112} {
		cases = append(cases, attentionCase{batch: 1, heads: 2, lq: 7, lk: 7, d: width, v: width}.row())
	}
	for _, c := range []attentionCase{
		{name: "one query, one key", batch: 1, heads: 1, lq: 1, lk: 1, d: 4, v: 4},
		{name: "197 tokens", batch: 1, heads: 1, lq: 197, lk: 197, d: 8, v: 8},
		{name: "causal, 65 tokens", batch: 2, heads: 3, lq: 65, lk: 65, d: 4, v: 4, causal: true},
		{name: "few queries, other value width", batch: 2, heads: 2, lq: 3, lk: 63, d: 5, v: 9},
		{name: "many queries, few keys", batch: 2, heads: 2, lq: 63, lk: 3, d: 5, v: 9},
		{name: "mask shared by the batch", batch: 2, heads: 2, lq: 5, lk: 7, d: 4, v: 4, maskRows: 1},
		{name: "mask of each, causal", batch: 2, heads: 2, lq: 5, lk: 5, d: 4, v: 4, maskRows: 2, causal: true},
		{name: "mask of each, of keys", batch: 3, heads: 2, lq: 5, lk: 7, d: 4, v: 4, maskRows: 3, keys: true},
		{name: "mask of keys, shared", batch: 2, heads: 2, lq: 5, lk: 7, d: 4, v: 4, maskRows: 1, keys: true},
		{name: "masks but one hidden", batch: 2, heads: 2, lq: 5, lk: 7, d: 4, v: 4, maskRows: 2, mask: func(i int) float64 {
			if i%7 == i/7%7 {
				return 0
			}
			return math.Inf(-1)
		}},
		{name: "a query that sees nothing", batch: 1, heads: 2, lq: 3, lk: 7, d: 4, v: 4, maskRows: 1, mask: func(i int) float64 {
			if i/7 == 1 {
				return math.Inf(-1)
			}
			return 0
		}},
	} {
		cases = append(cases, c.row())
	}
	return cases
}

// A bias of each head takes the place of the mask, and may hide keys of one item.
func TestAttentionHeads(t *testing.T) {
	var cases []opCase
	for _, items := range []int{1, 3} {
		c := attentionCase{name: fmt.Sprint("biases of ", items), batch: 3, heads: 2, lq: 5, lk: 7, d: 4, v: 6}.row()
		c.inputs = append(c.inputs, opInput{name: "bias", shape: graph.Shape{items, 2, 5, 7}, gen: func(i int) float64 {
			if i%7 > 4 && i/70 == 0 {
				return -math.MaxFloat32
			}
			return math.Sin(float64(i))
		}})
		c.build = one(func(g *graph.Graph, in tensors) graph.Tensor {
			return ops.Attention(g, in["q"], in["k"], in["v"], in["bias"], ops.AttentionConfig{Heads: 2, Scale: 1})
		})
		cases = append(cases, c)
	}
	runOpCases(t, cases)
}

// Packed queries, keys and values are the same attention.
func TestSelfAttention(t *testing.T) { runOpCases(t, onGPUAndCPU(selfAttentionCases())) }

func selfAttentionCases() (cases []opCase) {
	for _, c := range []attentionCase{
		{name: "7 tokens", batch: 2, heads: 3, lq: 7, d: 5},
		{name: "65 tokens, causal", batch: 2, heads: 2, lq: 65, d: 8, causal: true},
		{name: "mask of each", batch: 2, heads: 2, lq: 5, d: 4, maskRows: 2},
		{name: "mask of each, of keys", batch: 3, heads: 2, lq: 5, d: 4, maskRows: 3, keys: true, mask: func(i int) float64 {
			if i%5 > i/5 {
				return -math.MaxFloat32
			}
			return 0
		}},
	} {
		c.lk, c.v = c.lq, c.d
		row := c.row()
		config := ops.AttentionConfig{Heads: c.heads, Scale: 1 / math.Sqrt(float64(c.d)), Causal: c.causal}
		row.inputs = append([]opInput{{name: "qkv", shape: graph.Shape{c.batch, c.lq, 3 * c.heads * c.d}}}, row.inputs[3:]...)
		row.build = one(func(g *graph.Graph, in tensors) graph.Tensor {
			return ops.SelfAttention(g, in["qkv"], in["mask"], config)
		})
		cases = append(cases, row)
	}
	return cases
}

func (c attentionCase) row() opCase {
	if c.name == "" {
		c.name = fmt.Sprint("head width ", c.d)
	}
	config := ops.AttentionConfig{Heads: c.heads, Scale: 1 / math.Sqrt(float64(c.d)), Causal: c.causal, Dropout: c.dropout}
	inputs := []opInput{
		{name: "q", shape: graph.Shape{c.batch, c.lq, c.heads * c.d}},
		{name: "k", shape: graph.Shape{c.batch, c.lk, c.heads * c.d}},
		{name: "v", shape: graph.Shape{c.batch, c.lk, c.heads * c.v}},
	}
	if c.maskRows > 0 {
		rows := c.lq
		if c.keys {
			rows = 1
		}
		inputs = append(inputs, opInput{name: "mask", shape: graph.Shape{c.maskRows, rows, c.lk}, gen: c.mask})
	}
	return opCase{
		name:   c.name,
		inputs: inputs,
		build: one(func(g *graph.Graph, in tensors) graph.Tensor {
			return ops.Attention(g, in["q"], in["k"], in["v"], in["mask"], config)
		}),
		noGrad: []string{"mask"},
		tol:    tolSoftmax,
	}
}

func TestLayerNorm(t *testing.T) {
	cases := layerNormCases()
	for _, c := range cases {
		c.name, c.variant = c.name+", 128 invocations", "layernorm WG=128"
		cases = append(cases, c)
	}
	runOpCases(t, cases)
}

func layerNormCases() []opCase {
	layerNorm := one(func(g *graph.Graph, in tensors) graph.Tensor {
		return ops.LayerNorm(g, in["x"], in["weight"], in["bias"], 1e-5)
	})
	inputs := func(x graph.Shape, gen func(i int) float64) []opInput {
		cols := x[len(x)-1:]
		return []opInput{{name: "x", shape: x, gen: gen}, {name: "weight", shape: cols}, {name: "bias", shape: cols}}
	}
	return []opCase{
		{name: "7x63", tol: tolNorm, build: layerNorm, inputs: inputs(graph.Shape{7, 63}, nil)},
		{name: "197 rows of 65", tol: tolNorm, build: layerNorm, inputs: inputs(graph.Shape{197, 65}, nil)},
		{name: "no weight, no bias", tol: tolNorm, build: layerNorm, inputs: inputs(graph.Shape{2, 3, 64}, nil)[:1]},
		{name: "weight only", tol: tolNorm, build: layerNorm, inputs: inputs(graph.Shape{3, 5}, nil)[:2]},
		{name: "constant row", tol: tolNorm, build: layerNorm,
			inputs: inputs(graph.Shape{2, 64}, func(i int) float64 { return []float64{3, math.Sin(float64(i))}[i/64] })},
		{name: "outliers of 800", tol: tolNorm, build: layerNorm, inputs: inputs(graph.Shape{2, 197}, func(i int) float64 {
			switch i {
			case 5:
				return 800
			case 90, 300:
				return -800
			}
			return math.Sin(float64(i))
		})},
		// The mean is rounded to 2⁻²⁴·1000 = 6e-5, and the deviation is 0.7.
		{name: "far from zero", tol: 1e-4, build: layerNorm,
			inputs: inputs(graph.Shape{2, 64}, func(i int) float64 { return 1000 + math.Sin(float64(i)) })},
	}
}

func TestL2Normalize(t *testing.T) {
	normalize := one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.L2Normalize(g, in["x"], 1e-12) })
	runOpCases(t, []opCase{
		{name: "1x1", tol: tolNorm, build: normalize, inputs: []opInput{{name: "x", shape: graph.Shape{1, 1}}}},
		{name: "7x63", tol: tolNorm, build: normalize, inputs: []opInput{{name: "x", shape: graph.Shape{7, 63}}}},
		{name: "65x512", tol: tolNorm, build: normalize, inputs: []opInput{{name: "x", shape: graph.Shape{65, 512}}}},
		{name: "zero vector", tol: tolNorm, build: normalize, kink: true, inputs: []opInput{
			{name: "x", shape: graph.Shape{3, 65}, gen: func(i int) float64 { return float64(i/65) - 1 }}}},
	})
}

func TestRMSNorm(t *testing.T) {
	var cases []opCase
	for _, c := range layerNormCases() {
		c.inputs = c.inputs[:min(2, len(c.inputs))]
		c.build = one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.RMSNorm(g, in["x"], in["weight"], 1e-5) })
		cases = append(cases, c)
	}
	around := residualCase("", graph.Shape{3, 11, 65})
	around.inputs = around.inputs[:2]
	around.build = one(func(g *graph.Graph, in tensors) graph.Tensor {
		return g.Add(in["x"], ops.RMSNorm(g, in["x"], in["weight"], 1e-5))
	})
	runOpCases(t, append(cases, around))
}

func TestSoftmax(t *testing.T) {
	softmax := one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.Softmax(g, in["x"]) })
	given := func(v ...float64) func(i int) float64 { return func(i int) float64 { return v[i] } }
	inf := math.Inf(-1)
	runOpCases(t, []opCase{
		{name: "1x1", tol: tolSoftmax, build: softmax, inputs: []opInput{{name: "x", shape: graph.Shape{1, 1}}}},
		{name: "7x63", tol: tolSoftmax, build: softmax, inputs: []opInput{{name: "x", shape: graph.Shape{7, 63}}}},
		{name: "2x3x197", tol: tolSoftmax, build: softmax, inputs: []opInput{{name: "x", shape: graph.Shape{2, 3, 197}}}},
		{name: "1000, 999, -1000", tol: tolSoftmax, build: softmax, inputs: []opInput{
			{name: "x", shape: graph.Shape{3}, gen: given(1000, 999, -1000)}}},
		// Two columns' gradient is a difference of terms up to 100 times as large.
		{name: "40000 rows, a folded dispatch", tol: 2e-5, build: softmax, inputs: []opInput{{name: "x", shape: graph.Shape{40000, 2}}}},
		{name: "all but one hidden, all hidden", tol: tolSoftmax, build: softmax, inputs: []opInput{
			{name: "x", shape: graph.Shape{2, 3}, gen: given(inf, -2, inf, inf, inf, inf)}}},
	})
}

func TestCrossEntropy(t *testing.T) {
	crossEntropy := one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.CrossEntropy(g, in["x"], in["label"]) })
	inputs := func(rows, cols int, gen func(i int) float64) []opInput {
		return []opInput{{name: "x", shape: graph.Shape{rows, cols}, gen: gen}, {name: "label", shape: graph.Shape{rows}, ints: cols}}
	}
	runOpCases(t, []opCase{
		{name: "1x1", tol: tolSoftmax, build: crossEntropy, inputs: inputs(1, 1, nil)},
		{name: "7x63", tol: tolSoftmax, build: crossEntropy, inputs: inputs(7, 63, nil)},
		{name: "197x65, mean in chunks", tol: tolSoftmax, build: crossEntropy, inputs: inputs(197, 65, nil)},
		{name: "logits of ±1000", tol: tolSoftmax, build: crossEntropy, inputs: inputs(3, 3, func(i int) float64 {
			return []float64{1000, 999, -1000}[(i+i/3)%3]
		})},
		{name: "labels outside", tol: tolSoftmax, build: crossEntropy, inputs: []opInput{
			{name: "x", shape: graph.Shape{7, 5}}, {name: "label", shape: graph.Shape{7}, ints: 9}}},
	})
}

func TestSoftCrossEntropy(t *testing.T) {
	build := one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.SoftCrossEntropy(g, in["x"], in["targets"]) })
	inputs := func(rows, cols int, gen func(i int) float64) []opInput {
		shape := graph.Shape{rows, cols}
		return []opInput{{name: "x", shape: shape, gen: gen}, {name: "targets", shape: shape, gen: func(i int) float64 { return float64(i%5) / 8 }}}
	}
	table := []opCase{
		{name: "1x1", inputs: inputs(1, 1, nil)},
		{name: "7x63", inputs: inputs(7, 63, nil)},
		{name: "197x65, mean in chunks", inputs: inputs(197, 65, nil)},
		{name: "logits of ±1000", inputs: inputs(3, 3, func(i int) float64 { return []float64{1000, 999, -1000}[(i+i/3)%3] })},
	}
	for i := range table {
		table[i].tol, table[i].build, table[i].noGrad = tolSoftmax, build, []string{"targets"}
	}
	runOpCases(t, table)
}
