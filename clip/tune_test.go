package clip

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTune measures every kernel that the towers could choose.
func TestTune(t *testing.T) {
	m := newModel(t, `{}`)
	e := m.(*CLIP).engine
	want := map[string][]string{}
	offer := func(class string, candidates []string) string {
		want[class] = slices.Sorted(slices.Values(candidates))
		return ""
	}
	for _, task := range []task{e.imageTask(), e.textTask(e.text.ContextLength)} {
		_, err := e.compile(task, 1, offer)
		require.NoError(t, err)
	}
	var runs []int
	tuning, err := m.Tune(t.Context(), []int{1}, func(done, total int) { runs = append(runs, total-done) })
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
	e := newModel(t, `{}`).(*CLIP).engine
	seen := map[string]int{} // a batch by class
	for _, batch := range []int{1, 8} {
		for _, task := range []task{e.imageTask(), e.textTask(e.text.ContextLength)} {
			_, err := e.compile(task, batch, func(class string, _ []string) string {
				if seen[class] == 0 {
					seen[class] = batch
				}
				assert.Equal(t, seen[class], batch, class)
				return ""
			})
			require.NoError(t, err)
		}
	}
}

// Of several times the least counts, so all candidates of a class get nearly as
// many, whatever other classes offer.
func TestTuneRoundsAreShared(t *testing.T) {
	times := map[string]int{}
	for round := range 5 {
		r := tuneRound{round: round, taken: map[string]string{}}
		times[r.choose("class", []string{"a", "b"})]++
	}
	assert.Equal(t, map[string]int{"a": 3, "b": 2}, times)
}
