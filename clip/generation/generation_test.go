package generation

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// defaults are those of a model of few ids: 0 is padding, 1 the end, 2 the start.
func defaults() Options {
	o := Default()
	pad, eos, sot := int32(0), int32(1), int32(2)
	o.PadID, o.EosID, o.SotID = &pad, &eos, &sot
	o.SeqLen, o.MinSeqLen, o.NumBeams, o.NumBeamGroups = 8, 0, 2, 1
	return o
}

// chain is a model by which the last token says all of the next.
func chain(follows map[int32][]float32) Next {
	return func(_ context.Context, rows [][]int32, _ []int) (logits []float32, _ error) {
		for _, row := range rows {
			logits = append(logits, follows[row[len(row)-1]]...)
		}
		return logits, nil
	}
}

func log(p ...float64) []float32 {
	var all []float32
	for _, x := range p {
		all = append(all, float32(math.Log(x)))
	}
	return all
}

// Beams find what is best in the end and not at first, by the sum of log-probabilities
// that LengthPenalty divides.
func TestBeamSearchLooksAhead(t *testing.T) {
	next := chain(map[int32][]float32{
		2: log(.01, .01, .01, .55, .41, .01), // 3 is more probable at first
		3: log(.19, .2, .2, .2, .01, .2),
		4: log(.01, .95, .01, .01, .01, .01),
		5: log(.2, .2, .2, .2, .01, .19),
		0: log(.2, .2, .2, .2, .01, .19),
	})
	o := defaults()
	rows, err := o.Run(t.Context(), 0, [][]int32{{2}}, next)
	require.NoError(t, err)
	assert.Equal(t, [][]int32{{2, 4, 1}}, rows)
	o.Type = Greedy
	rows, err = o.Run(t.Context(), 0, [][]int32{{2}}, next)
	require.NoError(t, err)
	assert.Equal(t, []int32{2, 3}, rows[0][:2])
}

// Draws are the seed's, whichever images there are besides, and as frequent as probable.
func TestDraws(t *testing.T) {
	o := defaults()
	o.Type, o.TopK, o.NumReturnSequences, o.SeqLen = TopK, 3, 2000, 2
	next := chain(map[int32][]float32{2: log(.1, .2, .05, .3, .25, .1)})
	rows, err := o.Run(t.Context(), 0, [][]int32{{2}, {2}}, next)
	require.NoError(t, err)
	counts := map[int32]float64{}
	for _, row := range rows {
		counts[row[1]] += 1 / float64(len(rows))
	}
	for id, want := range map[int32]float64{0: 0, 1: .2 / .75, 3: .3 / .75, 4: .25 / .75} {
		assert.InDelta(t, want, counts[id], 0.03)
	}
	alone, err := o.Run(t.Context(), 1, [][]int32{{2}}, next)
	require.NoError(t, err)
	assert.Equal(t, rows[2000:], alone)
	o.Seed = 1
	other, err := o.Run(t.Context(), 1, [][]int32{{2}}, next)
	require.NoError(t, err)
	assert.NotEqual(t, alone, other)
}

// What is fixed in length is filled with padding, beams' shorter texts with the end where
// padding is 0.
func TestPad(t *testing.T) {
	o := defaults()
	rows := func() [][]int32 { return [][]int32{{2, 1}, {2, 3, 3, 1}} }
	assert.Equal(t, [][]int32{{2, 1, 1, 1}, {2, 3, 3, 1}}, o.Pad(rows()))
	o.FixedOutputLength, o.SeqLen = true, 5
	assert.Equal(t, [][]int32{{2, 1, 1, 1, 0}, {2, 3, 3, 1, 0}}, o.Pad(rows()))
	o.Type = Greedy
	assert.Equal(t, [][]int32{{2, 1, 0, 0, 0}, {2, 3, 3, 1, 0}}, o.Pad(rows()))
}
