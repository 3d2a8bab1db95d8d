package subword

import "container/heap"

// None is the id of what is no token of the vocabulary.
const None = -1

// Symbol is a token of a word so far: its id and its bytes in the word.
type Symbol struct{ ID, Start, End int32 }

// Lookup returns the token that two neighbours become; pairs of lower rank go
// first.
type Lookup func(left, right Symbol) (rank, id int32, ok bool)

// Merge joins symbols by byte-pair encoding: the pair of lowest rank, the
// leftmost of equal ones, until no pair is left, in O(n log n). With together
// all pairs of the lowest rank are joined before new pairs are looked at, as
// OpenAI's CLIP does; that differs for merges that no training would produce.
func Merge(symbols []Symbol, lookup Lookup, together bool) []Symbol {
	w := &word{symbols: symbols, links: make([]link, len(symbols)), lookup: lookup}
	for i := range w.links {
		w.links[i] = link{prev: int32(i) - 1, next: int32(i) + 1}
	}
	for i := range len(symbols) - 1 {
		w.push(int32(i))
	}
	for len(w.queue) > 0 {
		if together {
			w.mergeRank()
		} else {
			w.mergeOne()
		}
	}
	out := symbols[:0]
	for i := int32(0); int(i) < len(w.links); i = w.links[i].next {
		out = append(out, symbols[i])
	}
	return out
}

// link joins a symbol to its neighbours; prev is negative once it was merged
// into the one before.
type link struct{ prev, next int32 }

const gone = -2

// word is a word under byte-pair encoding: a linked list of tokens and a queue
// of the pairs that can be merged.
type word struct {
	symbols []Symbol
	links   []link
	lookup  Lookup
	queue   candidates
}

// pairAt returns what the symbol at a position and the next one become.
func (w *word) pairAt(at int32) (rank, id int32, ok bool) {
	next := w.links[at].next
	if w.links[at].prev == gone || int(next) >= len(w.links) {
		return 0, 0, false
	}
	return w.lookup(w.symbols[at], w.symbols[next])
}

// push queues the pair that starts at a position, if it can be merged.
func (w *word) push(at int32) {
	if at < 0 {
		return
	}
	if rank, _, ok := w.pairAt(at); ok {
		heap.Push(&w.queue, candidate{rank, at})
	}
}

// pop takes the first pair off the queue and joins it, unless it has changed
// since it was queued.
func (w *word) pop() (at int32, joined bool) {
	c := heap.Pop(&w.queue).(candidate)
	rank, id, ok := w.pairAt(c.at)
	if !ok || rank != c.rank {
		return 0, false
	}
	next := w.links[c.at].next
	w.symbols[c.at] = Symbol{id, w.symbols[c.at].Start, w.symbols[next].End}
	after := w.links[next].next
	w.links[c.at].next = after
	w.links[next].prev = gone
	if int(after) < len(w.links) {
		w.links[after].prev = c.at
	}
	return c.at, true
}

func (w *word) mergeOne() {
	if at, ok := w.pop(); ok {
		w.push(w.links[at].prev)
		w.push(at)
	}
}

func (w *word) mergeRank() {
	var merged []int32
	for rank := w.queue[0].rank; len(w.queue) > 0 && w.queue[0].rank == rank; {
		if at, ok := w.pop(); ok {
			merged = append(merged, at)
		}
	}
	for _, at := range merged {
		w.push(at)
		w.push(w.links[at].prev)
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
