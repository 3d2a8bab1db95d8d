package tokenizer

import "container/heap"

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
	symbols := newSymbols(v, word)
	symbols.mergeAll()
	for i := int32(0); i != none; i = symbols.list[i].next {
		ids = append(ids, symbols.list[i].id)
	}
	return ids
}

// none is the end of the list, and the id of a symbol that was merged away.
const none = -1

// symbol is a token of the word so far, linked to its neighbours.
type symbol struct{ id, prev, next int32 }

// symbols is a word under byte-pair encoding: a linked list of tokens and a
// queue of the pairs that can be merged.
type symbols struct {
	vocab *vocabulary
	list  []symbol
	queue candidates
}

func newSymbols(v *vocabulary, word string) *symbols {
	s := &symbols{vocab: v, list: make([]symbol, len(word))}
	end := int32(len(word) - 1)
	for i := range s.list {
		s.list[i] = symbol{id: v.inner[word[i]], prev: int32(i) - 1, next: int32(i) + 1}
	}
	s.list[end] = symbol{id: v.final[word[end]], prev: end - 1, next: none}
	for i := range end {
		s.push(i)
	}
	return s
}

// mergeAll merges every occurrence of the pair of lowest rank, left to right,
// then of the pair that is lowest now, until no pair is left. Going through the
// queue one rank at a time makes that O(n log n) with the result of the plain
// algorithm, also for merges that no training would produce.
func (s *symbols) mergeAll() {
	var merged []int32
	for len(s.queue) > 0 {
		rank := s.queue[0].rank
		merged = merged[:0]
		for len(s.queue) > 0 && s.queue[0].rank == rank {
			at := heap.Pop(&s.queue).(candidate).at
			if m, ok := s.mergeAt(at); ok && m.rank == rank {
				s.join(at, m.id)
				merged = append(merged, at)
			}
		}
		for _, at := range merged {
			s.push(at)
			if prev := s.list[at].prev; prev != none {
				s.push(prev)
			}
		}
	}
}

// mergeAt returns the merge of the symbol at a position with the next one.
func (s *symbols) mergeAt(at int32) (merge, bool) {
	left := s.list[at]
	if left.id == none || left.next == none {
		return merge{}, false
	}
	m, ok := s.vocab.merges[pair{left.id, s.list[left.next].id}]
	return m, ok
}

// join puts id in place of the symbol at a position and the next one.
func (s *symbols) join(at, id int32) {
	gone := s.list[at].next
	next := s.list[gone].next
	s.list[at].id, s.list[at].next = id, next
	s.list[gone].id = none
	if next != none {
		s.list[next].prev = at
	}
}

// push queues the pair that starts at a position, if it can be merged.
func (s *symbols) push(at int32) {
	if m, ok := s.mergeAt(at); ok {
		heap.Push(&s.queue, candidate{m.rank, at})
	}
}

// candidate is a pair that could be merged when it was queued.
type candidate struct{ rank, at int32 }

// candidates is a heap by rank, then position.
type candidates []candidate

func (c candidates) Len() int { return len(c) }

func (c candidates) Less(i, j int) bool {
	if c[i].rank != c[j].rank {
		return c[i].rank < c[j].rank
	}
	return c[i].at < c[j].at
}

func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }

func (c *candidates) Push(x any) { *c = append(*c, x.(candidate)) }

func (c *candidates) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}
