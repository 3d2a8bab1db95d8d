package tokenizer

import "github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/subword"

// endOfWord marks tokens that end a word.
const endOfWord = "</w>"

// pair is two neighbouring tokens.
type pair struct{ left, right int32 }

// merge is the token that a pair becomes; pairs of lower rank go first.
type merge struct{ rank, id int32 }

// encodeWord appends the ids of one word of [vocabulary.words] to ids.
func (v *vocabulary) encodeWord(ids []int32, word string) []int32 {
	switch word {
	case v.specials[0]:
		return append(ids, v.sot)
	case v.specials[1]:
		return append(ids, v.eot)
	}
	symbols := make([]subword.Symbol, len(word))
	for i := range symbols {
		symbols[i].ID = v.inner[word[i]]
	}
	symbols[len(word)-1].ID = v.final[word[len(word)-1]]
	for _, s := range subword.Merge(symbols, v.lookup, true) {
		ids = append(ids, s.ID)
	}
	return ids
}

func (v *vocabulary) lookup(left, right subword.Symbol) (rank, id int32, ok bool) {
	m, ok := v.merges[pair{left.ID, right.ID}]
	return m.rank, m.id, ok
}
