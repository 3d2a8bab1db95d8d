package engine

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// made is a tuner of two tasks whose candidates take as long as times say, and counts
// how often each was run.
func made(times map[string]map[string]time.Duration, progress Progress) (*tuner, map[string]int) {
	runs := map[string]int{}
	t := &tuner{
		tuning:   &gpu.Tuning{Seconds: map[string]map[string]float64{}},
		progress: progress,
		tasks: []*tuneTask{
			{classes: []*tuneClass{{"a", []string{"slow", "best", "slowest"}}, {"b", []string{"x", "y"}}}},
			{classes: []*tuneClass{{"c", []string{"p", "q", "r", "s"}}}},
		},
	}
	t.run = func(_ context.Context, _ *tuneTask, chosen map[string]string) (map[string]time.Duration, error) {
		took := map[string]time.Duration{}
		for class, name := range chosen {
			took[class] = times[class][name]
			runs[class+" "+name]++
		}
		return took, nil
	}
	return t, runs
}

// A candidate that took three times the best runs once, and a class in which one is left
// is not run again.
func TestTuneDropsSlowCandidates(t *testing.T) {
	times := map[string]map[string]time.Duration{
		"a": {"slow": 31, "best": 10, "slowest": 100},
		"b": {"x": 10, "y": 29},
		"c": {"p": 40, "q": 20, "r": 61, "s": 21},
	}
	var totals, done []int
	m, runs := made(times, func(now, total int, _ time.Duration) { done, totals = append(done, now), append(totals, total) })
	require.NoError(t, m.measure(t.Context()))
	assert.Equal(t, map[string]int{
		"a slow": 1, "a best": 1, "a slowest": 1,
		"b x": 2, "b y": 2,
		"c p": 2, "c q": 2, "c r": 1, "c s": 2,
	}, runs)
	assert.Equal(t, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, done)
	assert.IsNonIncreasing(t, totals, "what is dropped shortens the rest")
	assert.Equal(t, 12, totals[len(totals)-1])
	for class, best := range map[string]string{"a": "best", "b": "x", "c": "q"} {
		assert.Equal(t, best, m.tuning.Choose(class, []string{"slow", "best", "slowest", "x", "y", "p", "q", "r", "s"}))
	}
}

// The time that is left is known once every task has run.
func TestTuneTellsTheTimeLeft(t *testing.T) {
	m, _ := made(map[string]map[string]time.Duration{"a": {}, "b": {}, "c": {}}, nil)
	m.tasks[0].took = time.Second
	runs, left := m.left(0, 0, 0)
	assert.Equal(t, []any{2 + 3 + 4 + 4, time.Duration(0)}, []any{runs, left})
	m.tasks[1].took = 10 * time.Second
	runs, left = m.left(0, 0, 1)
	assert.Equal(t, []any{2 + 3 + 3 + 4, 75 * time.Second}, []any{runs, left})
	m.tuning.Add("c", "p", 1)
	m.tuning.Add("c", "q", 3)
	runs, left = m.left(0, 2, 0) // of the second pass of c, q is left out
	assert.Equal(t, []any{0 + 3 + 2 + 3, 53 * time.Second}, []any{runs, left})
	runs, left = m.left(1, 3, 1)
	assert.Equal(t, []any{0, time.Duration(0)}, []any{runs, left})
}

// One layer stands for all that are equal, with all steps of its op.
func TestFirstOfEachClass(t *testing.T) {
	step := func(class, scope string) graph.Step { return graph.Step{Class: class, Scope: scope, Op: "op"} }
	p := &graph.Program{Steps: []graph.Step{
		step("", "in"), step("three", "0.attn"), step("three", "0.attn"), step("three", "0.attn"), step("one", "0.mlp"),
		step("three", "1.attn"), step("one", "1.mlp"), step("done", "out"),
	}}
	assert.Equal(t, []int{1, 2, 3, 4}, firstOfEach(p, map[string]string{"three": "x", "one": "y"}))
	assert.Equal(t, []int{7}, firstOfEach(p, map[string]string{"done": "x"}))
}

// A batch that the device takes in parts is measured as its largest part, and a class once.
func TestTuneOfABatchThatIsTooLarge(t *testing.T) {
	t.Run("binding", func(t *testing.T) { tuneInParts(t, 512, gpu.Options{MaxBinding: 4 * 4 * 512}) })
	// 4 MiB are for staging, a batch of 4 takes 3 MiB and more, one of 8 twice that.
	t.Run("memory", func(t *testing.T) { tuneInParts(t, 64<<10, gpu.Options{MaxMemory: 8 << 20}) })
}

// tuneInParts tunes for batches of which the device takes at most 4 items at once.
func tuneInParts(t *testing.T, width int, o gpu.Options) {
	d, err := gpu.Open(o)
	require.NoError(t, err)
	defer d.Close()
	e, err := Open(d, 16)
	require.NoError(t, err)
	defer e.Close()
	task := Task{
		Key: "norm",
		Record: func(g *graph.Graph, batch int) map[string]graph.Tensor {
			x := g.Input("x", graph.Shape{batch, width}, graph.F32)
			for range 2 { // equal layers
				x = ops.LayerNorm(g, x, graph.Tensor{}, graph.Tensor{}, 1e-5)
			}
			return map[string]graph.Tensor{"y": x}
		},
		Feed: func(lo, hi int) map[string]any { return map[string]any{"x": make([]float32, (hi-lo)*width)} },
	}
	runs := 0
	times, err := e.Tune(t.Context(), []int{16, 4, 2}, []Task{task}, func(done, total int, _ time.Duration) {
		runs = done
		assert.LessOrEqual(t, done, total)
	})
	require.NoError(t, err)
	assert.Equal(t, []string{fmt.Sprintf("layernorm 2×%d", width), fmt.Sprintf("layernorm 4×%d", width)}, times.Classes())
	for _, class := range times.Classes() {
		assert.Len(t, times.Seconds[class], 2)
	}
	assert.GreaterOrEqual(t, runs, 4)
	assert.LessOrEqual(t, runs, 8)
}
