package engine

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Batches under way together fill the outputs as if each were alone, and a context that
// ends between them leaves no program in use.
func TestBatchesUnderWayTogether(t *testing.T) {
	d, err := gpu.Open(gpu.Options{DefaultLimits: true})
	require.NoError(t, err)
	defer d.Close()
	e, err := Open(d, 4)
	require.NoError(t, err)
	e.depth = maxDepth
	const items, width = 103, 5
	x := make([]float32, items*width)
	for i := range x {
		x[i] = float32(i)
	}
	cancelAt, cancel := items, context.CancelFunc(nil)
	task := Task{
		Key: "sums",
		Record: func(g *graph.Graph, batch int) map[string]graph.Tensor {
			return map[string]graph.Tensor{"sum": ops.SumAxis(g, g.Input("x", graph.Shape{batch, width}, graph.F32), 1)}
		},
		Feed: func(lo, hi int) map[string]any {
			if lo >= cancelAt {
				cancel()
			}
			return map[string]any{"x": x[lo*width : hi*width]}
		},
	}
	for range 3 {
		out, err := e.Run(t.Context(), items, task)
		require.NoError(t, err)
		for i, sum := range out["sum"].Data {
			assert.Equal(t, float32(width*width*i+10), sum)
		}
	}
	for _, cancelAt = range []int{0, 4, 40} {
		var ctx context.Context
		ctx, cancel = context.WithCancel(t.Context())
		_, err := e.Run(ctx, items, task)
		require.ErrorIs(t, err, context.Canceled)
		cancel()
	}
	closed, err := e.Close() // waits for programs in use
	require.NoError(t, err)
	assert.True(t, closed)
}

// What is whole goes to the device at once, whatever MaxBatch is, and keeps its States from
// run to run until they are dropped with its programs.
func TestWholeTasks(t *testing.T) {
	d, err := gpu.Open(gpu.Options{DefaultLimits: true})
	require.NoError(t, err)
	defer d.Close()
	e, err := Open(d, 2)
	require.NoError(t, err)
	defer e.Close()
	const items = 3
	sum := &graph.State{Name: "sum", Spec: graph.Spec{Shape: graph.Shape{items}}}
	task := Task{
		Key: "a: sum", Whole: true,
		Record: func(g *graph.Graph, batch int) map[string]graph.Tensor {
			ops.Accumulate(g, sum, g.Input("x", graph.Shape{batch}, graph.F32))
			return map[string]graph.Tensor{"sum": g.State(sum)}
		},
		Feed: func(lo, hi int) map[string]any { return map[string]any{"x": []float32{1, 2, 3}[lo:hi]} },
	}
	run := func(want ...float32) {
		t.Helper()
		out, err := e.Run(t.Context(), items, task)
		require.NoError(t, err)
		assert.Equal(t, want, out["sum"].Data)
	}
	run(1, 2, 3)
	run(2, 4, 6)
	require.NoError(t, e.Drop("b: ", sum.Parts...))
	require.Error(t, e.Drop("b: ", sum), "a program binds it")
	run(3, 6, 9)
	require.NoError(t, e.Drop("a: ", sum))
	assert.Empty(t, e.Loaded())
	run(1, 2, 3)
}
