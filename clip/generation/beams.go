package generation

import (
	"cmp"
	"context"
	"math"
	"slices"
)

// impossible is added to the scores of what must not be chosen, as in transformers.
const impossible = -1e9

// beam is a text and its score.
type beam struct {
	row      []int32
	score    float64
	from     int // the beam that it continues
	finished bool
}

// beams are the texts of one image in transformers' _beam_search.
type beams struct {
	*Options
	prompt   int
	running  []beam
	finished []beam // the best so far, as many as beams; some of them not finished yet
	done     bool   // nothing better can come
}

func newBeams(o *Options, prompt []int32) *beams {
	b := &beams{Options: o, prompt: len(prompt)}
	for i := range o.NumBeams {
		score := 0.0
		if i > 0 { // all begin alike, so that only one counts
			score = impossible
		}
		b.running = append(b.running, beam{row: slices.Clone(prompt), score: score})
		b.finished = append(b.finished, beam{row: slices.Clone(prompt), score: impossible})
	}
	return b
}

// beamSearch keeps the NumBeams texts of highest score of each image.
func (o *Options) beamSearch(ctx context.Context, prompts [][]int32, next Next) ([][]int32, error) {
	images := make([]*beams, len(prompts))
	for i, prompt := range prompts {
		images[i] = newBeams(o, prompt)
	}
	var from []int
	for length := len(prompts[0]); length < o.SeqLen && slices.ContainsFunc(images, func(b *beams) bool { return !b.done }); length++ {
		var rows [][]int32
		for _, b := range images {
			for _, r := range b.running {
				rows = append(rows, r.row)
			}
		}
		logits, err := next(ctx, rows, from)
		if err != nil {
			return nil, err
		}
		from = nil
		share := len(logits) / len(images)
		for i, b := range images {
			b.step(logits[i*share : (i+1)*share])
			for _, r := range b.running {
				from = append(from, i*o.NumBeams+r.from)
			}
		}
	}
	var texts [][]int32
	for _, b := range images {
		for _, f := range b.finished[:o.NumReturnSequences] {
			texts = append(texts, f.row)
		}
	}
	return texts, nil
}

// step continues the texts by a token each. What is done goes on as it is, since the
// other images' texts are of the same length.
func (b *beams) step(logits []float32) {
	if b.done {
		for i, r := range b.running {
			b.running[i].row, b.running[i].from = append(slices.Clone(r.row), b.Fill()), i
		}
		return
	}
	all := b.candidates(logits)
	running := slices.Clone(all)
	for i := range running {
		if running[i].finished {
			running[i].score += impossible
			running[i].finished = false
		}
	}
	b.running = best(running, b.NumBeams)
	b.finish(all)
	b.done = b.cannotImprove(len(b.running[0].row))
}

// candidates are the best continuations of all beams, twice as many as beams: as many
// remain where the best end.
func (b *beams) candidates(logits []float32) []beam {
	vocabulary := len(logits) / b.NumBeams
	var all []beam
	for i, r := range b.running {
		scores := make([]float64, vocabulary)
		for j, v := range logits[i*vocabulary : (i+1)*vocabulary] {
			scores[j] = float64(v)
		}
		logSoftmax(scores)
		b.process(r.row, scores)
		for _, token := range highest(scores, 2*b.NumBeams) {
			all = append(all, beam{score: r.score + scores[token], from: i, row: []int32{int32(token)}})
		}
	}
	all = best(all, 2*b.NumBeams)
	for i, c := range all {
		row := append(slices.Clone(b.running[c.from].row), c.row[0])
		all[i].row, all[i].finished = row, c.row[0] == *b.EosID || len(row) >= b.SeqLen
	}
	return all
}

// finish takes those of the first candidates that have ended among the finished texts.
func (b *beams) finish(candidates []beam) {
	full := b.EarlyStopping == "true" && b.complete()
	merged := slices.Clone(b.finished)
	for i, c := range candidates {
		if c.finished && i < b.NumBeams && !full {
			c.score /= math.Pow(float64(len(c.row)-b.prompt), b.LengthPenalty)
			merged = append(merged, c)
		}
	}
	b.finished = best(merged, b.NumBeams)
}

// complete tells whether there are as many finished texts as beams.
func (b *beams) complete() bool {
	return !slices.ContainsFunc(b.finished, func(f beam) bool { return !f.finished })
}

// cannotImprove tells whether texts of that length have no chance to become better than
// the finished ones, by the rule that EarlyStopping chooses.
func (b *beams) cannotImprove(length int) bool {
	if !b.complete() {
		return false
	}
	if b.EarlyStopping == "true" {
		return true
	}
	if b.EarlyStopping == "never" && b.LengthPenalty > 0 {
		length = b.SeqLen
	}
	possible := b.running[0].score / math.Pow(float64(length-b.prompt), b.LengthPenalty)
	return possible <= b.finished[len(b.finished)-1].score
}

// best returns the n beams of highest score, the highest first.
func best(all []beam, n int) []beam {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(x, y beam) int { return cmp.Compare(y.score, x.score) })
	return sorted[:min(n, len(sorted))]
}

// highest returns the places of the n highest scores.
func highest(scores []float64, n int) []int {
	places := make([]int, 0, n+1)
	for i, s := range scores {
		if len(places) == n && !(s > scores[places[n-1]]) {
			continue
		}
		at := len(places)
		for at > 0 && s > scores[places[at-1]] {
			at--
		}
		if places = slices.Insert(places, at, i); len(places) > n {
			places = places[:n]
		}
	}
	return places
}
