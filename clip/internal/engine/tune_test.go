package engine

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Of several times the least counts, so all candidates of a class get nearly as
// many, whatever other classes offer.
func TestTuneRoundsAreShared(t *testing.T) {
	times := map[string]int{}
	for round := range 5 {
		r := tuneRound{round: round, chosen: map[string]string{}}
		times[r.choose("class", []string{"a", "b"})]++
	}
	assert.Equal(t, map[string]int{"a": 3, "b": 2}, times)
}
