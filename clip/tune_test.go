package clip

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTune measures every kernel that the towers could choose.
func TestTune(t *testing.T) {
	m := newModel(t, `{}`)
	want := map[string][]string{}
	offer := func(class string, candidates []string) string {
		want[class] = slices.Sorted(slices.Values(candidates))
		return ""
	}
	_, _, err := m.towers.Programs(1, choosing(m, offer))
	require.NoError(t, err)
	var runs []int
	tuning, err := m.Tune(t.Context(), []int{1}, func(done, total int, _ time.Duration) { runs = append(runs, total-done) })
	require.NoError(t, err)
	got := map[string][]string{}
	for class, times := range tuning.Seconds {
		got[class] = slices.Sorted(maps.Keys(times))
		for candidate, seconds := range times {
			assert.Positive(t, seconds, "%s, %s", class, candidate)
		}
	}
	assert.Equal(t, want, got)
	assert.Zero(t, runs[len(runs)-1], "runs left at the end")
}

// What is fastest for a batch is not what is fastest for another, so their times
// are apart.
func TestClassesOfBatchesDiffer(t *testing.T) {
	m := newModel(t, `{}`)
	seen := map[string]int{} // a batch by class
	for _, batch := range []int{1, 8} {
		_, _, err := m.towers.Programs(batch, choosing(m, func(class string, _ []string) string {
			if seen[class] == 0 {
				seen[class] = batch
			}
			assert.Equal(t, seen[class], batch, class)
			return ""
		}))
		require.NoError(t, err)
	}
}

// choosing prepares graphs for m's device, with kernels that choose takes.
func choosing(m *Model, choose func(class string, candidates []string) string) func(*graph.Graph) {
	return func(g *graph.Graph) {
		m.engine.Prepare(g)
		g.Variants = choose
	}
}

// What was measured for one batch serves those of two and four times its size, and of a
// half and a quarter.
func TestTuningServesNeighbours(t *testing.T) {
	m := newModel(t, `{}`)
	times, want := m.engine.Device().NewTuning(), map[string]bool{}
	_, _, err := m.towers.Programs(4, choosing(m, func(class string, candidates []string) string {
		last := candidates[len(candidates)-1]
		times.Add(class, last, 1)
		want[last] = true
		return ""
	}))
	require.NoError(t, err)
	for batch, serves := range map[int]bool{1: true, 2: true, 8: true, 16: true, 32: false} {
		all := true
		_, _, err := m.towers.Programs(batch, choosing(m, func(class string, candidates []string) string {
			best := times.Choose(class, candidates)
			assert.True(t, best == "" || want[best], "%s for %s", best, class)
			all = all && best != ""
			return best
		}))
		require.NoError(t, err)
		assert.Equal(t, serves, all, "batch %d", batch)
	}
}
