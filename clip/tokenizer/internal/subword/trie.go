// Package subword has what subword models share: the search for tokens at the
// start of a text, byte-pair merging, the best path of a unigram language model
// and the character maps of sentencepiece.
package subword

import (
	"slices"
	"sort"
	"strings"
)

// Set finds the tokens that a text starts with. Its tokens are kept sorted, so
// that a search narrows a range of them byte by byte.
type Set struct {
	tokens []string
	ids    []int32
	starts [257]int32 // where the tokens with each first byte start
}

// NewSet returns the set of the tokens, with their positions as ids; of equal
// tokens the last one counts. Tokens for which use is false, and the empty one,
// are left out.
func NewSet(tokens []string, use func(id int32) bool) *Set {
	order := make([]int32, 0, len(tokens))
	for id := range tokens {
		if tokens[id] != "" && use(int32(id)) {
			order = append(order, int32(id))
		}
	}
	slices.SortFunc(order, func(a, b int32) int {
		if c := strings.Compare(tokens[a], tokens[b]); c != 0 {
			return c
		}
		return int(a - b)
	})
	s := &Set{tokens: make([]string, 0, len(order)), ids: make([]int32, 0, len(order))}
	for _, id := range order {
		if last := len(s.tokens) - 1; last >= 0 && s.tokens[last] == tokens[id] {
			s.ids[last] = id
			continue
		}
		s.tokens, s.ids = append(s.tokens, tokens[id]), append(s.ids, id)
	}
	for b := range s.starts {
		s.starts[b] = int32(sort.Search(len(s.tokens), func(i int) bool { return int(s.tokens[i][0]) >= b }))
	}
	return s
}

// Find returns the id of a token.
func (s *Set) Find(token string) (int32, bool) {
	i, ok := slices.BinarySearch(s.tokens, token)
	if !ok {
		return 0, false
	}
	return s.ids[i], true
}

// Prefixes calls yield with the length in bytes and the id of every token that
// text starts with, the shortest first.
func (s *Set) Prefixes(text string, yield func(length int, id int32)) {
	if text == "" || len(s.tokens) == 0 {
		return
	}
	lo, hi := int(s.starts[text[0]]), int(s.starts[int(text[0])+1])
	for depth := 1; lo < hi; depth++ {
		if len(s.tokens[lo]) == depth {
			yield(depth, s.ids[lo])
			lo++
		}
		if depth == len(text) {
			return
		}
		lo, hi = s.narrow(lo, hi, depth, text[depth])
	}
}

// narrow returns the tokens from lo to hi that have b at a position; they are
// equal before it, and none ends there.
func (s *Set) narrow(lo, hi, at int, b byte) (int, int) {
	first := lo + sort.Search(hi-lo, func(i int) bool { return s.tokens[lo+i][at] >= b })
	end := first + sort.Search(hi-first, func(i int) bool { return s.tokens[first+i][at] > b })
	return first, end
}

// Longest returns the length and id of the longest token that text starts with,
// length 0 if there is none.
func (s *Set) Longest(text string) (length int, id int32) {
	s.Prefixes(text, func(n int, found int32) { length, id = n, found })
	return length, id
}
