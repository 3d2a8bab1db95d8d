package gpu

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Times of submissions that were found done together are shared out by their
// estimates; those that nobody waited for teach nothing.
func TestTimesAreSharedOut(t *testing.T) {
	s := &Session{core: new(core), steps: []step{{cost: 10}, {cost: 20}, {cost: 30}}}
	ms := func(n ...time.Duration) {
		t.Helper()
		for i, st := range s.steps {
			assert.Equal(t, n[i]*time.Millisecond, st.cost, "step %d", i)
		}
	}
	for i := range s.steps {
		s.steps[i].cost *= time.Millisecond
	}
	run := func(lo, hi int) submission {
		return submission{job: new(job), session: s, steps: s.steps[lo:hi], cost: s.cost(s.steps[lo:hi])}
	}
	shareOut([]submission{run(0, 2)}, 60*time.Millisecond)
	ms(20, 40, 30)
	shareOut([]submission{run(0, 1), {job: new(job)}, run(2, 3)}, 100*time.Millisecond)
	ms(40, 40, 60)
	two := []submission{run(0, 2), run(0, 2)} // of the same steps
	shareOut(two, 320*time.Millisecond)
	ms(80, 80, 60)
	assert.Equal(t, 160*time.Millisecond, two[1].job.took)
	behind := run(2, 3)
	behind.behind = true
	shareOut([]submission{behind}, time.Millisecond) // of 60, as the end of the one before was noticed late
	ms(80, 80, 30)
	shareOut([]submission{run(2, 3)}, 60*time.Millisecond)
	left := run(0, 3)
	left.job.leave()
	shareOut([]submission{left}, time.Hour)
	ms(80, 80, 60)
}

// TestFaultOfTheLastPoll loses the device, even if the awaited work is done.
func TestFaultOfTheLastPoll(t *testing.T) {
	d := open(t, Options{})
	err := d.core.until(t.Context(), func() bool {
		writeBuffer(d.core.queue, d.core.unwritten.Buffer, d.core.unwritten.size, make([]byte, 8))
		return true
	})
	require.ErrorIs(t, err, ErrLost)
}
