package tokenizer

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

// encodePlainly is open_clip's algorithm: while a pair of the word has a rank,
// merge all occurrences of the lowest one from left to right.
func encodePlainly(v *vocabulary, ids []int32) []int32 {
	for {
		var best pair
		rank := int32(-1)
		for i := range len(ids) - 1 {
			p := pair{ids[i], ids[i+1]}
			if m, ok := v.merges[p]; ok && (rank < 0 || m.rank < rank) {
				best, rank = p, m.rank
			}
		}
		if rank < 0 {
			return ids
		}
		var merged []int32
		for i := 0; i < len(ids); i++ {
			if i+1 < len(ids) && (pair{ids[i], ids[i+1]}) == best {
				merged = append(merged, v.merges[best].id)
				i++
			} else {
				merged = append(merged, ids[i])
			}
		}
		ids = merged
	}
}

// TestMergesEqualPlainAlgorithm tries random vocabularies, also such whose
// merges make a token that an earlier merge needs, and random words.
func TestMergesEqualPlainAlgorithm(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		v := randomVocabulary(random)
		for range 20 {
			word := make([]byte, 1+random.IntN(40))
			plain := make([]int32, len(word))
			for i := range word {
				word[i] = "abc"[random.IntN(3)]
				plain[i] = v.inner[word[i]]
			}
			plain[len(word)-1] = v.final[word[len(word)-1]]
			assert.Equal(t, encodePlainly(v, plain), v.encodeWord(nil, string(word)), "%s", word)
		}
	}
}

// randomVocabulary has the letters a, b, c and merges in random order.
func randomVocabulary(random *rand.Rand) *vocabulary {
	v := &vocabulary{merges: make(map[pair]merge)}
	ids := make(map[string]int32)
	add := func(token string) int32 {
		if _, ok := ids[token]; !ok {
			ids[token] = int32(len(v.tokens))
			v.tokens = append(v.tokens, token)
		}
		return ids[token]
	}
	for _, letter := range "abc" {
		v.inner[letter], v.final[letter] = add(string(letter)), add(string(letter)+endOfWord)
	}
	var pairs []pair
	for range 5 + random.IntN(30) {
		left, right := random.IntN(len(v.tokens)), random.IntN(len(v.tokens))
		p := pair{int32(left), int32(right)}
		if token := v.tokens[left] + v.tokens[right]; len(token) < 12 && !slices.Contains(pairs, p) {
			add(token)
			pairs = append(pairs, p)
		}
	}
	random.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
	for rank, p := range pairs {
		v.merges[p] = merge{int32(rank), ids[v.tokens[p.left]+v.tokens[p.right]]}
	}
	return v
}
