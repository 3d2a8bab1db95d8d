package ops

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

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
