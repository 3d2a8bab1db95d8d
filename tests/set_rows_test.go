package tests

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// TestSetRows replaces rows of a State where they lie, run after run, and passes over ids
// that it has no row of. What is read after it in the same run is new.
func TestSetRows(t *testing.T) {
	for _, shape := range []graph.Shape{{5, 3}, {2, 40, 9}, {3, 7, 2, 65}} {
		const count, column = 4, 2
		width := shape[len(shape)-1]
		table := shape.Elems() / width
		g := graph.New()
		y := &graph.State{Name: "y", Spec: graph.Spec{Shape: shape}}
		ops.SetRows(g, y, g.Input("ids", graph.Shape{count}, graph.I32), g.Input("x", graph.Shape{count, width + column + 1}, graph.F32), column)
		sum := ops.Sum(g, g.State(y))
		prog, err := g.Build(sum)
		require.NoError(t, err)
		d, err := device()
		require.NoError(t, err)
		store := d.NewStore()
		session, err := d.Load(prog, store)
		require.NoError(t, err)
		r := updateRun{rng: rand.New(rand.NewPCG(1, 2))}
		values := map[*graph.State][]float64{y: make([]float64, shape.Elems())}
		for run := range 3 {
			ids, x := []float64{float64(run), float64(table - 1), -1, float64(table)}, r.random(count*(width+column+1))
			want, err := g.Eval(map[string][]float64{"ids": ids, "x": x}, values, sum)
			require.NoError(t, err)
			var got [1]float32
			require.NoError(t, session.Run(t.Context(), gpu.IO{
				Inputs:  map[string]any{"ids": narrow(graph.I32, ids), "x": narrow(graph.F32, x)},
				Outputs: [][]float32{got[:]},
			}))
			require.InDelta(t, want[0][0], got[0], 1e-4)
		}
		got := make([]float32, shape.Elems())
		require.NoError(t, store.Read(t.Context(), y, got))
		closeRows(t, "y", shape, values[y], got, 0)
		require.NoError(t, session.Close())
		require.NoError(t, store.Close())
	}
	g := graph.New()
	ops.SetRows(g, &graph.State{Name: "y", Spec: graph.Spec{Shape: graph.Shape{4, 2}}}, g.Input("ids", graph.Shape{1}, graph.I32), g.Input("x", graph.Shape{1, 3}, graph.F32), 2)
	require.ErrorContains(t, g.Err(), "set_rows: f32[4×2], ids i32[1], rows f32[1×3] from column 2: want")
}
