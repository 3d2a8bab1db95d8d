package tests

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// The gradient of a table takes little more than linear time, and sums each row in one order.
func TestGatherGradientOfManyIDs(t *testing.T) {
	const rows, width, n = 1 << 17, 3, 1 << 17
	random := rand.New(rand.NewPCG(1, 2))
	for name, id := range map[string]func(i int) int32{
		"each another row": func(i int) int32 { return int32(i * 12345 % rows) },
		"of any row":       func(int) int32 { return random.Int32N(rows) },
		"of two rows":      func(int) int32 { return random.Int32N(2) * (rows - 1) },
		"mostly padding":   func(int) int32 { return max(0, random.Int32N(rows)-rows*3/4) },
	} {
		t.Run(name, func(t *testing.T) {
			ids, weights := make([]int32, n), make([]float32, n*width)
			for i := range ids {
				ids[i] = id(i)
			}
			for i := range weights {
				weights[i] = random.Float32() - 0.5
			}
			want := make([]float32, rows*width)
			for r, id := range ids {
				for j := range width {
					want[int(id)*width+j] += weights[r*width+j]
				}
			}
			got, took := gatherGradient(t, rows, width, ids, weights)
			assert.Equal(t, want, got, "each sum from the first row on")
			t.Log(took)
			assert.Less(t, took, 5*time.Second) // comparing each id with each takes 20 and more
		})
	}
}

// gatherGradient is the gradient of Σ weights · table[ids], and how long the device takes for it.
func gatherGradient(t *testing.T, rows, width int, ids []int32, weights []float32) (grad []float32, took time.Duration) {
	t.Helper()
	g := graph.New()
	table := layers.NewParam(layers.Normal(1), rows, width)
	layers.Seed(table, 1)
	x := ops.Gather(g, g.Param(table), g.Input("ids", graph.Shape{len(ids)}, graph.I32))
	w := g.Input("weights", x.Shape(), graph.F32)
	prog, err := g.Build(g.Grad(ops.Sum(g, ops.Mul(g, x, w)), g.Param(table))...)
	require.NoError(t, err)
	dev, err := gpu.Open(gpu.Options{DefaultLimits: true})
	require.NoError(t, err)
	defer dev.Close()
	store := dev.NewStore()
	defer store.Close()
	session, err := dev.Load(prog, store)
	require.NoError(t, err)
	defer session.Close()
	grad = make([]float32, rows*width)
	for range 2 { // the first compiles
		start := time.Now()
		require.NoError(t, session.Run(t.Context(), gpu.IO{Inputs: map[string]any{"ids": ids, "weights": weights}, Outputs: [][]float32{grad}}))
		took = time.Since(start)
	}
	return grad, took
}
