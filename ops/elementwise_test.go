package ops

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// TestElementwiseMisuse: Build names the scope, the operation and the shapes.
func TestElementwiseMisuse(t *testing.T) {
	f := func(g *graph.Graph, name string, shape ...int) graph.Tensor { return g.Input(name, shape, graph.F32) }
	ids := func(g *graph.Graph, shape ...int) graph.Tensor { return g.Input("ids", shape, graph.I32) }
	none := graph.Tensor{}
	for name, c := range map[string]struct {
		build func(g *graph.Graph) graph.Tensor
		want  []string
	}{
		"mul": {func(g *graph.Graph) graph.Tensor { return Mul(g, f(g, "a", 7, 9), f(g, "b", 9, 7)) },
			[]string{"mul", "f32[7×9]", "f32[9×7]"}},
		"mul by nothing": {func(g *graph.Graph) graph.Tensor { return Mul(g, f(g, "a", 7, 9), none) },
			[]string{"f32[7×9]", "absent"}},
		"scale of ids": {func(g *graph.Graph) graph.Tensor { return Scale(g, ids(g, 7), 2) },
			[]string{"scale", "i32[7]"}},
		"add_broadcast, lengths": {func(g *graph.Graph) graph.Tensor { return AddBroadcast(g, f(g, "x", 7, 9), f(g, "b", 8), 1) },
			[]string{"add_broadcast", "f32[7×9]", "f32[8]"}},
		"mul_broadcast, inner": {func(g *graph.Graph) graph.Tensor { return MulBroadcast(g, f(g, "x", 7, 8), f(g, "b", 4), 3) },
			[]string{"mul_broadcast", "f32[7×8]", "f32[4]", "inner 3"}},
		"mul_broadcast, inner 0": {func(g *graph.Graph) graph.Tensor { return MulBroadcast(g, f(g, "x", 7, 8), f(g, "b", 4), 0) },
			[]string{"inner 0"}},
		"mul_broadcast of ids": {func(g *graph.Graph) graph.Tensor { return MulBroadcast(g, f(g, "x", 7, 8), ids(g, 8), 1) },
			[]string{"f32[7×8]", "i32[8]"}},
		"map, unknown function": {func(g *graph.Graph) graph.Tensor { return Map(g, f(g, "x", 7), 200) },
			[]string{"map", "f32[7]", "Function(200)"}},
		"clamp, bounds crossed": {func(g *graph.Graph) graph.Tensor { return Clamp(g, f(g, "x", 7), 1, -1) },
			[]string{"clamp", "f32[7]", "[1, -1]"}},
		"clamp to NaN": {func(g *graph.Graph) graph.Tensor { return Clamp(g, f(g, "x", 7), math.NaN(), 1) },
			[]string{"NaN"}},
		"concat of nothing": {func(g *graph.Graph) graph.Tensor { return Concat(g, 0) },
			[]string{"concat", "nothing"}},
		"concat, shapes": {func(g *graph.Graph) graph.Tensor { return Concat(g, 1, f(g, "a", 2, 3), f(g, "b", 3, 2)) },
			[]string{"concat", "f32[2×3]", "f32[3×2]", "axis 1"}},
		"concat, types": {func(g *graph.Graph) graph.Tensor { return Concat(g, 0, f(g, "a", 2), ids(g, 2)) },
			[]string{"f32[2]", "i32[2]"}},
		"concat, ranks": {func(g *graph.Graph) graph.Tensor { return Concat(g, -1, f(g, "a", 2, 2), f(g, "b", 2)) },
			[]string{"f32[2×2]", "f32[2]"}},
		"concat, axis": {func(g *graph.Graph) graph.Tensor { return Concat(g, 2, f(g, "a", 2, 3), f(g, "b", 2, 3)) },
			[]string{"f32[2×3]", "axis 2"}},
		"split, sizes": {func(g *graph.Graph) graph.Tensor { return Split(g, f(g, "x", 2, 9), 1, 3, 3)[1] },
			[]string{"split", "f32[2×9]", "[3 3]", "9"}},
		"split, empty part": {func(g *graph.Graph) graph.Tensor { return Split(g, f(g, "x", 2, 9), 1, 9, 0)[1] },
			[]string{"split", "f32[2×0]"}},
		"split, axis": {func(g *graph.Graph) graph.Tensor { return Split(g, f(g, "x", 2, 9), -3, 1, 1)[1] },
			[]string{"f32[2×9]", "axis -3"}},
		"expand, no copies": {func(g *graph.Graph) graph.Tensor { return Expand(g, f(g, "x", 7), 0) },
			[]string{"expand", "f32[7]", "0 copies"}},
		"sum of ids": {func(g *graph.Graph) graph.Tensor { return Sum(g, ids(g, 7)) },
			[]string{"sum_axis", "i32[7]"}},
		"mean, axis": {func(g *graph.Graph) graph.Tensor { return MeanAxis(g, f(g, "x", 2, 9), 2) },
			[]string{"f32[2×9]", "axis 2"}},
		"gather by floats": {func(g *graph.Graph) graph.Tensor { return Gather(g, f(g, "table", 7, 9), f(g, "ids", 3)) },
			[]string{"gather", "f32[7×9]", "f32[3]", "i32"}},
		"gather from a vector": {func(g *graph.Graph) graph.Tensor { return Gather(g, f(g, "table", 7), ids(g, 3)) },
			[]string{"f32[7]", "i32[3]"}},
		"patchify, patch too large": {func(g *graph.Graph) graph.Tensor { return Patchify(g, f(g, "image", 1, 3, 8, 7), 8, 8, 0) },
			[]string{"patchify", "f32[1×3×8×7]", "8×8"}},
		"patchify, no batch": {func(g *graph.Graph) graph.Tensor { return Patchify(g, f(g, "image", 3, 8, 8), 4, 4, 0) },
			[]string{"f32[3×8×8]", "[batch, channels, height, width]"}},
		"rotary, length": {func(g *graph.Graph) graph.Tensor { return Rotary(g, f(g, "x", 2, 5, 8), f(g, "angles", 4, 4), 8) },
			[]string{"rotary", "f32[2×5×8]", "f32[4×4]", "[length, head]"}},
		"rotary, part of a head": {func(g *graph.Graph) graph.Tensor { return Rotary(g, f(g, "x", 2, 5, 8), f(g, "angles", 5, 4), 6) },
			[]string{"rotary", "6 columns", "whole heads"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := graph.New()
			end := g.Scope("visual.ln_post")
			out := c.build(g)
			end()
			_, err := g.Build(out)
			require.ErrorContains(t, err, "visual.ln_post")
			for _, want := range c.want {
				assert.ErrorContains(t, err, want)
			}
		})
	}
}

// evaluate computes a tensor of a graph whose only input is x.
func evaluate(t *testing.T, g *graph.Graph, x []float64, out graph.Tensor) []float64 {
	t.Helper()
	v, err := g.Eval(map[string][]float64{"x": x}, nil, out)
	require.NoError(t, err)
	return v[0]
}

// TestFunctionValues compares the references with tables of the functions.
func TestFunctionValues(t *testing.T) {
	x := []float64{-1, 0, 1, 2}
	for f, want := range map[Function][]float64{
		GELU:       {-0.15865525, 0, 0.84134475, 1.95449974},
		GELUTanh:   {-0.15880801, 0, 0.84119199, 1.95459769},
		QuickGELU:  {-0.15420423, 0, 0.84579577, 1.93565862},
		ReLU:       {0, 0, 1, 2},
		SiLU:       {-0.26894142, 0, 0.73105858, 1.76159416},
		Sigmoid:    {0.26894142, 0.5, 0.73105858, 0.88079708},
		LogSigmoid: {-1.31326169, -0.69314718, -0.31326169, -0.12692801},
		Exp:        {0.36787944, 1, 2.71828183, 7.38905610},
		Tanh:       {-0.76159416, 0, 0.76159416, 0.96402758},
	} {
		g := graph.New()
		got := evaluate(t, g, x, Map(g, g.Input("x", graph.Shape{4}, graph.F32), f))
		assert.InDeltaSlice(t, want, got, 1e-8, "%v", f)
	}
}

// TestFunctionExtremes: nothing overflows where the function does not.
func TestFunctionExtremes(t *testing.T) {
	for _, f := range []Function{GELU, GELUTanh, QuickGELU, ReLU, SiLU} {
		g := graph.New()
		got := evaluate(t, g, []float64{-1e4, -50, 50, 1e4}, Map(g, g.Input("x", graph.Shape{4}, graph.F32), f))
		assert.InDeltaSlice(t, []float64{0, 0, 50, 1e4}, got, 1e-12, "%v", f)
	}
	g := graph.New()
	got := evaluate(t, g, []float64{-1e4, 1e4}, Map(g, g.Input("x", graph.Shape{2}, graph.F32), LogSigmoid))
	assert.Equal(t, []float64{-1e4, 0}, got)
}

// TestClampGradient: as torch's, it passes at the bounds themselves.
func TestClampGradient(t *testing.T) {
	p := &graph.Param{State: graph.State{Name: "p", Spec: graph.Spec{Shape: graph.Shape{5}}}}
	g := graph.New()
	grad := g.Grad(Sum(g, Clamp(g, g.Param(p), -1, math.Log(100))), g.Param(p))[0]
	edge := float64(float32(math.Log(100)))
	v, err := g.Eval(nil, map[*graph.State][]float64{&p.State: {-1.5, -1, 0, edge, 5}}, grad)
	require.NoError(t, err)
	assert.Equal(t, []float64{0, 1, 1, 1, 0}, v[0])
}

// TestSplitLaunches: a part that nobody reads is not computed.
func TestSplitLaunches(t *testing.T) {
	g := graph.New()
	parts := Split(g, g.Input("x", graph.Shape{7, 9}, graph.F32), 1, 2, 3, 4)
	p, err := g.Build(parts[1])
	require.NoError(t, err)
	assert.Len(t, p.Steps, 1)
	p, err = g.Build(parts[0], parts[2])
	require.NoError(t, err)
	assert.Len(t, p.Steps, 2)
}

// TestSumPasses: long sums take a pass for each factor of 64.
func TestSumPasses(t *testing.T) {
	for length, passes := range map[int]int{1: 1, 64: 1, 65: 2, 64 * 64: 2, 64*64 + 1: 3} {
		g := graph.New()
		p, err := g.Build(Sum(g, g.Input("x", graph.Shape{length}, graph.F32)))
		require.NoError(t, err)
		assert.Len(t, p.Steps, passes, "%d elements", length)
	}
}

// TestPatchifyOrder: patches row by row, each in the order channel, row, column.
func TestPatchifyOrder(t *testing.T) {
	g := graph.New()
	x := make([]float64, 2*3*5) // two channels of 3×5; the last row and column are left over
	for i := range x {
		x[i] = float64(i)
	}
	y := Patchify(g, g.Input("x", graph.Shape{1, 2, 3, 5}, graph.F32), 2, 2, 0)
	assert.Equal(t, graph.Shape{1, 2, 8}, y.Shape())
	assert.Equal(t, []float64{0, 1, 5, 6, 15, 16, 20, 21, 2, 3, 7, 8, 17, 18, 22, 23}, evaluate(t, g, x, y))
}
