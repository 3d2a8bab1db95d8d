package subword

import "unicode/utf8"

// Path is a segmentation under construction: the best way to each position of
// a text, as in sentencepiece's unigram_model.cc (EncodeOptimized). F is the
// precision of the sums of scores.
type Path[F float32 | float64] struct {
	Tokens  *Set
	Score   func(id int32, length int) float64 // of a token of that many bytes
	Unknown float64                            // score of a character that is no token
	UnkID   int32
}

// node is the best way to a position.
type node[F float32 | float64] struct {
	score F
	start int32
	id    int32
}

// Best returns the tokens of the segmentation of text with the highest score;
// characters that are no token have the id UnkID.
func (p *Path[F]) Best(text string) []Symbol {
	ends := make([]node[F], len(text)+1)
	for i := range ends {
		ends[i].start = None
	}
	for start := 0; start < len(text); {
		_, size := utf8.DecodeRuneInString(text[start:])
		single := false
		reach := func(length int, id int32, score float64) {
			end := &ends[start+length]
			sum := F(score) + ends[start].score
			if end.start == None || sum > end.score {
				*end = node[F]{sum, int32(start), id}
			}
		}
		p.Tokens.Prefixes(text[start:], func(length int, id int32) {
			reach(length, id, p.Score(id, length))
			single = single || length == size
		})
		if !single {
			reach(size, p.UnkID, p.Unknown)
		}
		start += size
	}
	var best []Symbol
	for end := int32(len(text)); end > 0; end = ends[end].start {
		best = append(best, Symbol{ends[end].id, ends[end].start, end})
	}
	for i, j := 0, len(best)-1; i < j; i, j = i+1, j-1 {
		best[i], best[j] = best[j], best[i]
	}
	return best
}
