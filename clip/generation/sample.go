package generation

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"
)

// sample chooses token by token, and pads texts that have ended.
func (o *Options) sample(ctx context.Context, first int, prompts [][]int32, next Next) ([][]int32, error) {
	var rows [][]int32
	var random []*rand.Rand
	for i, prompt := range prompts {
		for j := range o.Rows() {
			rows = append(rows, slices.Clone(prompt))
			random = append(random, rand.New(rand.NewPCG(o.Seed, uint64((first+i)*o.Rows()+j))))
		}
	}
	ended := make([]bool, len(rows))
	var from []int
	for len(rows[0]) < o.SeqLen && slices.Contains(ended, false) {
		logits, err := next(ctx, rows, from)
		if err != nil {
			return nil, err
		}
		from = from[:0]
		vocabulary := len(logits) / len(rows)
		for i, row := range rows {
			from = append(from, i)
			token := *o.PadID
			if !ended[i] {
				token = draw(random[i], o.Probabilities(row, logits[i*vocabulary:(i+1)*vocabulary]))
				ended[i] = token == *o.EosID
			}
			rows[i] = append(row, token)
		}
	}
	return rows, nil
}

// draw returns a token by its probability.
func draw(random *rand.Rand, probabilities []float32) int32 {
	left, last := random.Float64(), 0
	for token, p := range probabilities {
		if p > 0 {
			if left -= float64(p); left < 0 {
				return int32(token)
			}
			last = token // where rounding leaves something
		}
	}
	return int32(last)
}

// Probabilities are those by which the token that follows row is drawn, of the model's
// logits. Of Greedy all but one are 0.
func (o *Options) Probabilities(row []int32, logits []float32) []float32 {
	scores := make([]float64, len(logits))
	for i, v := range logits {
		scores[i] = float64(v)
	}
	o.process(row, scores)
	switch o.Type {
	case TopK:
		divide(scores, o.Temperature)
		keepTopK(scores, o.TopK)
	case TopP:
		divide(scores, o.Temperature)
		keepTopK(scores, defaultTopK)
		keepTopP(scores, o.TopP)
	default:
		best := argmax(scores)
		for i := range scores {
			if i != best {
				scores[i] = math.Inf(-1)
			}
		}
	}
	logSoftmax(scores)
	probabilities := make([]float32, len(scores))
	for i, s := range scores {
		probabilities[i] = float32(math.Exp(s))
	}
	return probabilities
}

// defaultTopK is that of transformers' GenerationConfig, which counts with top_p, too.
const defaultTopK = 50

// process does to scores what transformers' logits processors do.
func (o *Options) process(row []int32, scores []float64) {
	if o.RepetitionPenalty != 1 {
		seen := map[int32]bool{}
		for _, id := range row {
			switch s := scores[id]; {
			case seen[id]:
			case s < 0:
				scores[id] = s * o.RepetitionPenalty
			default:
				scores[id] = s / o.RepetitionPenalty
			}
			seen[id] = true
		}
	}
	if n := o.NoRepeatNGram; n > 0 {
		for at := 0; at+n <= len(row); at++ {
			if slices.Equal(row[at:at+n-1], row[len(row)-n+1:]) {
				scores[row[at+n-1]] = math.Inf(-1)
			}
		}
	}
	if len(row) < o.MinSeqLen {
		scores[*o.EosID] = math.Inf(-1)
	}
}

func divide(scores []float64, by float64) {
	for i := range scores {
		scores[i] /= by
	}
}

// keepTopK leaves the k highest scores, and what equals the last of them.
func keepTopK(scores []float64, k int) {
	if k >= len(scores) {
		return
	}
	sorted := slices.Clone(scores)
	slices.Sort(sorted)
	least := sorted[len(sorted)-k]
	for i, s := range scores {
		if s < least {
			scores[i] = math.Inf(-1)
		}
	}
}

// keepTopP leaves the most probable scores that together reach p, and at least one.
func keepTopP(scores []float64, p float64) {
	logs := slices.Clone(scores)
	logSoftmax(logs)
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(logs[a], logs[b]) })
	sum := 0.0
	for _, i := range order[:len(order)-1] {
		if sum += math.Exp(logs[i]); sum <= 1-p {
			scores[i] = math.Inf(-1)
		}
	}
}

// logSoftmax makes scores log-probabilities.
func logSoftmax(scores []float64) {
	top, sum := slices.Max(scores), 0.0
	for _, s := range scores {
		sum += math.Exp(s - top)
	}
	shift := top + math.Log(sum)
	for i := range scores {
		scores[i] -= shift
	}
}

func argmax(scores []float64) int {
	best := 0
	for i, s := range scores {
		if s > scores[best] {
			best = i
		}
	}
	return best
}
