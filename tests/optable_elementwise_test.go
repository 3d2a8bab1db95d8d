package tests

import (
	"fmt"
	"math"
	"testing"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Tolerances of the rest, relative to a row's largest value (see closeRows).
const (
	tolMove = 0    // elements only change place
	tolUlp  = 3e-7 // one to three roundings of 2⁻²⁴ each
	tolMap  = 1e-6 // exp within 3 + 2|x| ulp at |x| ≤ 2, the approximations of lib/math.wgsl within 2
	tolSum  = 2e-6 // passes of 64 terms, √64·2⁻²⁴ each, and of the products where there are any
)

func param(name string, shape ...int) opInput { return opInput{name: name, shape: shape} }

// pastFold is a length whose workgroups of 64 do not fit one row of a dispatch.
const pastFold = 32768*64 + 65

func TestMul(t *testing.T) {
	mul := one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.Mul(g, in["a"], in["b"]) })
	var cases []opCase
	for _, shape := range []graph.Shape{{}, {1}, {7, 63}, {65}, {3, 197}} {
		cases = append(cases, opCase{name: fmt.Sprint(shape), tol: tolUlp, build: mul, inputs: []opInput{param("a", shape...), param("b", shape...)}})
	}
	cases = append(cases, opCase{
		name: "square", tol: tolUlp, inputs: []opInput{param("a", 7, 9)},
		build: one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.Mul(g, in["a"], in["a"]) }),
	})
	runOpCases(t, cases)
}

func TestBroadcast(t *testing.T) {
	var cases []opCase
	for _, c := range []struct {
		name  string
		x, b  graph.Shape
		inner int
	}{
		{"row", graph.Shape{7, 63}, graph.Shape{63}, 1},
		{"row of 197", graph.Shape{197, 65}, graph.Shape{65}, 1},
		{"table", graph.Shape{3, 7, 5}, graph.Shape{7, 5}, 1},
		{"equal lengths", graph.Shape{65}, graph.Shape{65}, 1},
		{"per head", graph.Shape{2, 7, 3 * 9}, graph.Shape{3}, 9},
		{"per head, long", graph.Shape{1, 3 * 197}, graph.Shape{3, 1, 1}, 197},
		{"scalar", graph.Shape{63, 65}, graph.Shape{}, 1},
		{"one by one", graph.Shape{1}, graph.Shape{1}, 1},
	} {
		inputs := []opInput{{name: "x", shape: c.x}, {name: "b", shape: c.b}}
		cases = append(cases,
			opCase{name: "add, " + c.name, tol: tolSum, inputs: inputs, build: one(func(g *graph.Graph, in tensors) graph.Tensor {
				return ops.AddBroadcast(g, in["x"], in["b"], c.inner)
			})},
			opCase{name: "multiply, " + c.name, tol: tolSum, inputs: inputs, build: one(func(g *graph.Graph, in tensors) graph.Tensor {
				return ops.MulBroadcast(g, in["x"], in["b"], c.inner)
			})})
	}
	runOpCases(t, cases)
}

func TestScale(t *testing.T) {
	scale := one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.Scale(g, in["x"], -0.3) })
	runOpCases(t, []opCase{
		{name: "7x63", tol: tolUlp, build: scale, inputs: []opInput{param("x", 7, 63)}},
		{name: "one", tol: tolUlp, build: scale, inputs: []opInput{param("x")}},
		{name: "past the fold", tol: tolUlp, build: scale, inputs: []opInput{param("x", pastFold)}, noGrad: []string{"x"}},
	})
}

func TestMap(t *testing.T) {
	given := func(v ...float64) []opInput {
		return []opInput{{name: "x", shape: graph.Shape{len(v)}, gen: func(i int) float64 { return v[i] }}}
	}
	var cases []opCase
	for f := ops.GELU; f <= ops.Tanh; f++ {
		apply := one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.Map(g, in["x"], f) })
		add := func(name string, tol float64, inputs []opInput) {
			cases = append(cases, opCase{name: fmt.Sprint(f, " ", name), tol: tol, build: apply, inputs: inputs})
		}
		for _, shape := range []graph.Shape{{1}, {63}, {65}, {7, 197}} {
			add(fmt.Sprint(shape), tolMap, []opInput{{name: "x", shape: shape}})
		}
		if f == ops.Exp {
			continue
		}
		add("to ±9", 5e-6, given(-9, -6, -5, -3, -2, -1, -0.1, -1e-3, 1e-3, 0.1, 1, 2, 3, 5, 6, 9)) // exp within 21 ulp
		add("±50", tolMap, given(-50, 50, 0.5))
		add("±1e4", tolMap, given(-1e4, 1e4, 0.5))
	}
	cases = append(cases, opCase{ // −2e-9, and exp(−20) within 43 ulp
		name: "LogSigmoid 20", tol: 6e-6, inputs: given(20),
		build: one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.Map(g, in["x"], ops.LogSigmoid) }),
	})
	runOpCases(t, cases)
}

func TestClamp(t *testing.T) {
	clamp := func(lo, hi float64) func(*graph.Graph, tensors) []graph.Tensor {
		return one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.Clamp(g, in["x"], lo, hi) })
	}
	at := []float64{-1, -0.5, math.Log(100), 4.7, 0.25}
	runOpCases(t, []opCase{
		{name: "197", tol: tolMove, build: clamp(-0.5, 0.25), inputs: []opInput{param("x", 197)}},
		{name: "above only", tol: tolMove, build: clamp(math.Inf(-1), 0.25), inputs: []opInput{param("x", 7, 9)}},
		{name: "below only", tol: tolMove, build: clamp(0.25, math.Inf(1)), inputs: []opInput{param("x", 65)}},
		{name: "at the bounds", tol: tolMove, build: clamp(-0.5, math.Log(100)), kink: true,
			inputs: []opInput{{name: "x", shape: graph.Shape{5}, gen: func(i int) float64 { return at[i] }}}},
	})
}

func TestConcat(t *testing.T) {
	var cases []opCase
	for _, c := range []struct {
		name   string
		axis   int
		shapes []graph.Shape
	}{
		{"a token before 197", 1, []graph.Shape{{2, 1, 5}, {2, 197, 5}}},
		{"first axis", 0, []graph.Shape{{1, 7}, {63, 7}, {2, 7}}},
		{"last axis", -1, []graph.Shape{{3, 65}, {3, 1}, {3, 7}}},
		{"middle of four", 2, []graph.Shape{{2, 3, 4, 5}, {2, 3, 1, 5}}},
		{"one alone", 0, []graph.Shape{{65}}},
	} {
		var inputs []opInput
		for i, s := range c.shapes {
			inputs = append(inputs, opInput{name: fmt.Sprint("x", i), shape: s})
		}
		cases = append(cases, opCase{name: c.name, tol: tolMove, inputs: inputs, build: one(func(g *graph.Graph, in tensors) graph.Tensor {
			var xs []graph.Tensor
			for _, i := range inputs {
				xs = append(xs, in[i.name])
			}
			return ops.Concat(g, c.axis, xs...)
		})})
	}
	cases = append(cases, opCase{name: "with itself", tol: tolUlp, inputs: []opInput{param("x", 7, 9)},
		build: one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.Concat(g, 1, in["x"], in["x"]) })})
	runOpCases(t, cases)
}

func TestSplit(t *testing.T) {
	split := func(axis int, sizes ...int) func(*graph.Graph, tensors) []graph.Tensor {
		return func(g *graph.Graph, in tensors) []graph.Tensor { return ops.Split(g, in["x"], axis, sizes...) }
	}
	runOpCases(t, []opCase{
		{name: "q, k, v", tol: tolMove, build: split(-1, 21, 21, 21), inputs: []opInput{param("x", 2, 5, 63)}},
		{name: "first axis", tol: tolMove, build: split(0, 1, 6), inputs: []opInput{param("x", 7, 65)}},
		{name: "middle axis", tol: tolMove, build: split(1, 196, 1), inputs: []opInput{param("x", 2, 197, 3)}},
		{name: "whole", tol: tolMove, build: split(0, 65), inputs: []opInput{param("x", 65)}},
		{name: "only the middle one used", tol: tolMove, inputs: []opInput{param("x", 7, 9)},
			build: func(g *graph.Graph, in tensors) []graph.Tensor { return ops.Split(g, in["x"], 1, 2, 4, 3)[1:2] }},
	})
}

func TestSums(t *testing.T) {
	axis := func(sum func(*graph.Graph, graph.Tensor, int) graph.Tensor, axis int) func(*graph.Graph, tensors) []graph.Tensor {
		return one(func(g *graph.Graph, in tensors) graph.Tensor { return sum(g, in["x"], axis) })
	}
	sum := one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.Sum(g, in["x"]) })
	positive := func(i int) float64 { return 1 + math.Sin(float64(i)) }
	runOpCases(t, []opCase{
		{name: "first axis", tol: tolSum, build: axis(ops.SumAxis, 0), inputs: []opInput{param("x", 7, 63)}},
		{name: "first axis, two passes", tol: tolSum, build: axis(ops.SumAxis, 0), inputs: []opInput{param("x", 197, 9)}},
		{name: "last axis, 64", tol: tolSum, build: axis(ops.SumAxis, -1), inputs: []opInput{param("x", 5, 64)}},
		{name: "last axis, 65", tol: tolSum, build: axis(ops.SumAxis, -1), inputs: []opInput{param("x", 5, 65)}},
		{name: "axis of one", tol: tolSum, build: axis(ops.SumAxis, 1), inputs: []opInput{param("x", 5, 1, 3)}},
		{name: "mean of tokens", tol: tolSum, build: axis(ops.MeanAxis, 1), inputs: []opInput{param("x", 2, 49, 65)}},
		{name: "mean of 197 tokens", tol: tolSum, build: axis(ops.MeanAxis, -2), inputs: []opInput{param("x", 2, 197, 7)}},
		{name: "all, one element", tol: tolSum, build: sum, inputs: []opInput{param("x")}},
		{name: "all, three passes", tol: tolSum, build: sum, inputs: []opInput{{name: "x", shape: graph.Shape{5003}, gen: positive}}},
		{name: "all, past the fold", tol: tolSum, build: sum, noGrad: []string{"x"},
			inputs: []opInput{{name: "x", shape: graph.Shape{pastFold}, gen: positive}}},
	})
}

func TestMaxAxis(t *testing.T) {
	max := func(axis int) func(*graph.Graph, tensors) []graph.Tensor {
		return one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.MaxAxis(g, in["x"], axis) })
	}
	runOpCases(t, []opCase{
		{name: "of tokens", tol: tolMove, build: max(1), inputs: []opInput{param("x", 2, 49, 65)}},
		{name: "first axis", tol: tolMove, build: max(0), inputs: []opInput{param("x", 7, 63)}},
		{name: "last axis", tol: tolMove, build: max(-1), inputs: []opInput{param("x", 65, 9)}},
		{name: "axis of one", tol: tolMove, build: max(1), inputs: []opInput{param("x", 5, 1, 3)}},
		{name: "equal ones", tol: tolMove, kink: true, build: max(1),
			inputs: []opInput{{name: "x", shape: graph.Shape{3, 5, 7}, gen: func(i int) float64 { return float64(i * i % 3) }}}},
		{name: "all but one hidden", tol: tolMove, build: max(1),
			inputs: []opInput{{name: "x", shape: graph.Shape{2, 5, 3}, gen: func(i int) float64 {
				if i/3%5 == i%3 {
					return -float64(i)
				}
				return -math.MaxFloat32
			}}}},
	})
}

func TestExpand(t *testing.T) {
	var cases []opCase
	for _, n := range []int{1, 7, 65} {
		cases = append(cases, opCase{name: fmt.Sprint(n, " copies"), tol: tolSum, inputs: []opInput{param("x", 3, 9)},
			build: one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.Expand(g, in["x"], n) })})
	}
	runOpCases(t, cases)
}

func TestGather(t *testing.T) {
	gather := one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.Gather(g, in["table"], in["ids"]) })
	inputs := func(rows, width int, ids graph.Shape, gen func(i int) float64) []opInput {
		return []opInput{param("table", rows, width), {name: "ids", shape: ids, ints: rows, gen: gen}}
	}
	runOpCases(t, []opCase{
		{name: "one of one", tol: tolSum, build: gather, inputs: inputs(1, 1, graph.Shape{1}, nil)},
		{name: "each at most once", tol: tolSum, build: gather,
			inputs: inputs(65, 7, graph.Shape{63}, func(i int) float64 { return float64(i * 2 % 65) })},
		{name: "many times", tol: tolSum, build: gather, inputs: inputs(7, 65, graph.Shape{3, 197}, nil)},
		{name: "all the same", tol: tolSum, build: gather, inputs: inputs(9, 63, graph.Shape{197}, func(int) float64 { return 4 })},
		{name: "ids outside", tol: tolSum, build: gather, inputs: inputs(5, 3, graph.Shape{9}, func(i int) float64 {
			return []float64{-1, 5, 0, 4, math.MinInt32, 1 << 30, 2, -7, 2}[i]
		})},
	})
}

// The row of padding is read like any other. The table's gradient there is zero,
// which its finite differences are not.
func TestGatherPadded(t *testing.T) {
	var cases []opCase
	for name, padding := range map[string]int{"first row": 0, "middle row": 3, "last row": 6} {
		cases = append(cases, opCase{
			name: name, tol: tolSum, kink: true,
			inputs: []opInput{param("table", 7, 65), {name: "ids", shape: graph.Shape{3, 197}, ints: 7}},
			build: one(func(g *graph.Graph, in tensors) graph.Tensor {
				return ops.GatherPadded(g, in["table"], in["ids"], padding)
			}),
		})
	}
	runOpCases(t, cases)
}

func TestAddPrefix(t *testing.T) {
	var cases []opCase
	for _, n := range [][2]int{{65, 1}, {197, 65}, {63, 63}} {
		cases = append(cases, opCase{
			name: fmt.Sprint(n), tol: tolUlp, inputs: []opInput{param("x", n[0]), param("b", n[1])},
			build: one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.AddPrefix(g, in["x"], in["b"]) }),
		})
	}
	runOpCases(t, cases)
}

func TestPatchify(t *testing.T) {
	var cases []opCase
	for _, c := range []struct {
		image      graph.Shape
		h, w, lead int
	}{
		{graph.Shape{2, 3, 8, 12}, 4, 4, 0},
		{graph.Shape{2, 3, 9, 11}, 4, 3, 1}, // a row and two columns of pixels are left over
		{graph.Shape{1, 1, 7, 63}, 7, 9, 0},
		{graph.Shape{3, 2, 5, 5}, 5, 5, 2},
		{graph.Shape{1, 2, 3, 5}, 1, 1, 0},
	} {
		cases = append(cases, opCase{
			name: fmt.Sprintf("%v in %d×%d after %d", c.image, c.h, c.w, c.lead), tol: tolMove, inputs: []opInput{{name: "image", shape: c.image}},
			build: one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.Patchify(g, in["image"], c.h, c.w, c.lead) }),
		})
	}
	runOpCases(t, cases)
}

// TestPixels reads images from bytes, whole or in patches.
func TestPixels(t *testing.T) {
	var cases []opCase
	for _, c := range []struct{ batch, height, width, h, w, lead int }{
		{2, 8, 12, 0, 0, 0},
		{3, 7, 7, 0, 0, 0}, // the last word has padding
		{1, 1, 1, 0, 0, 0},
		{2, 8, 12, 4, 4, 1},
		{2, 9, 11, 4, 3, 0},
		{1, 64, 65, 16, 13, 2},
	} {
		words := (3*c.height*c.width + 3) / 4
		cases = append(cases, opCase{
			name: fmt.Sprintf("%d of %d×%d in %d×%d after %d", c.batch, c.height, c.width, c.h, c.w, c.lead), tol: tolMove,
			inputs: []opInput{
				{name: "bytes", shape: graph.Shape{c.batch, words}, ints: 1, gen: func(i int) float64 { return float64(int32(uint32(i+1) * 2654435761)) }},
				{name: "levels", shape: graph.Shape{3, 256}},
			},
			noGrad: []string{"levels"},
			build: one(func(g *graph.Graph, in tensors) graph.Tensor {
				x := ops.Pixels(g, in["bytes"], in["levels"], c.height, c.width)
				if c.h > 0 {
					x = ops.Patchify(g, x, c.h, c.w, c.lead)
				}
				return x
			}),
		})
	}
	runOpCases(t, cases)
}

func TestRotary(t *testing.T) {
	var cases []opCase
	for _, c := range []struct {
		name         string
		x            graph.Shape
		head, turned int
	}{
		{"q and k of qkv", graph.Shape{2, 7, 3 * 2 * 6}, 6, 2 * 2 * 6},
		{"all columns, 65 rows", graph.Shape{1, 65, 8}, 4, 8},
		{"197 rows of two", graph.Shape{1, 197, 2}, 2, 2},
		{"none", graph.Shape{3, 5, 4}, 2, 0},
	} {
		cases = append(cases, opCase{
			name: c.name, tol: 2 * tolUlp, noGrad: []string{"angles"}, // two products and a sum
			inputs: []opInput{{name: "x", shape: c.x}, param("angles", c.x[1], c.head)},
			build: one(func(g *graph.Graph, in tensors) graph.Tensor {
				return ops.Rotary(g, in["x"], in["angles"], c.turned)
			}),
		})
		halves := cases[len(cases)-1]
		halves.name += ", halves"
		halves.build = one(func(g *graph.Graph, in tensors) graph.Tensor {
			return ops.RotaryHalves(g, in["x"], in["angles"], c.turned)
		})
		cases = append(cases, halves)
	}
	runOpCases(t, cases)
}
