package gpu

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// TestReplayAllocates little, and not by the step: the device replays, it does not record.
func TestReplayAllocates(t *testing.T) {
	d := open(t, Options{})
	allocations := func(steps int) float64 {
		g := graph.New()
		x := g.Input("x", graph.Shape{64}, graph.F32)
		y := g.Add(x, x)
		for range steps - 1 {
			y = g.Add(y, x)
		}
		p := build(t, g, y)
		require.Len(t, p.Steps, steps)
		s := load(t, d, p, nil)
		io := IO{Inputs: inputs("x", count(64)), Outputs: [][]float32{make([]float32, 64)}}
		least := math.Inf(1) // a run that waits for others is cut into more submissions
		for range 30 {
			least = min(least, testing.AllocsPerRun(1, func() { require.NoError(t, s.Run(t.Context(), io)) }))
		}
		return least
	}
	for _, steps := range []int{2, 300} {
		assert.LessOrEqual(t, allocations(steps), 24.0, "%d steps", steps)
	}
}
