package hf

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/subword"
	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
)

// model turns pieces into ids.
type model interface {
	// encode appends the ids of a piece that is not empty.
	encode(ids []int32, text string) []int32
	find(token string) (int32, bool)
	// token returns a token by id.
	token(id int32) (string, bool)
	// size is the highest id and one.
	size() int
}

// parseModel reads the model of a tokenizer.json.
func parseModel(data json.RawMessage) (model, error) {
	kind, err := kindOf(data)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "BPE":
		return parseBPE(data)
	case "Unigram":
		return parseUnigram(data)
	case "WordPiece":
		return parseWordPiece(data)
	}
	return nil, fmt.Errorf("model %q is not supported; supported are BPE, Unigram and WordPiece", kind)
}

// tokenIDs are ids by token; in JSON none is null.
type tokenIDs map[string]int32

func (t *tokenIDs) UnmarshalJSON(data []byte) (err error) {
	*t, err = strictjson.Numbers[int32](data)
	return err
}

// unmarshalPair decodes a list of two, neither of them null.
func unmarshalPair(data []byte, first, second any, want strictjson.WantError) error {
	var pair []json.RawMessage
	if json.Unmarshal(data, &pair) != nil || len(pair) != 2 {
		return want
	}
	for i, dst := range []any{first, second} {
		if string(pair[i]) == "null" || json.Unmarshal(pair[i], dst) != nil {
			return want
		}
	}
	return nil
}

// vocabulary maps tokens to ids and back.
type vocabulary struct {
	ids    map[string]int32
	tokens []string
	used   []bool
}

// spareIDs is how many ids a vocabulary may leave out.
const spareIDs = 1 << 16

func newVocabulary(ids map[string]int32) (v vocabulary, err error) {
	limit, top := len(ids)+spareIDs, -1
	for token, id := range ids {
		if id < 0 || int(id) >= limit {
			return v, fmt.Errorf("id %d of %q, want 0 to %d for %d tokens", id, token, limit-1, len(ids))
		}
		top = max(top, int(id))
	}
	v = vocabulary{ids, make([]string, top+1), make([]bool, top+1)}
	for token, id := range ids {
		if v.used[id] {
			return v, fmt.Errorf("%q and %q have the same id %d", min(token, v.tokens[id]), max(token, v.tokens[id]), id)
		}
		v.tokens[id], v.used[id] = token, true
	}
	return v, nil
}

func (v *vocabulary) find(token string) (int32, bool) {
	id, ok := v.ids[token]
	return id, ok
}

func (v *vocabulary) token(id int32) (string, bool) {
	if id < 0 || int(id) >= len(v.tokens) {
		return "", false
	}
	return v.tokens[id], v.used[id]
}

func (v *vocabulary) size() int { return len(v.tokens) }

// byteTokens returns the ids of the tokens <0x00> to <0xFF>; None for those that
// are missing.
func byteTokens(find func(string) (int32, bool)) (ids [256]int32) {
	for b := range ids {
		id, ok := find(fmt.Sprintf("<0x%02X>", b))
		if !ok {
			id = subword.None
		}
		ids[b] = id
	}
	return ids
}

// appendBytes appends the tokens of the bytes of text, unless one is missing.
func appendBytes(ids []int32, bytes *[256]int32, text string) ([]int32, bool) {
	start := len(ids)
	for i := range len(text) {
		id := bytes[text[i]]
		if id == subword.None {
			return ids[:start], false
		}
		ids = append(ids, id)
	}
	return ids, true
}

// wordPiece takes the longest token at each position of a word (Schuster and
// Nakajima, 2012; BERT).
type wordPiece struct {
	vocabulary
	unk      int32
	prefix   string // of tokens that do not start a word
	maxChars int
	starts   *subword.Set
	inner    *subword.Set // without their prefix
}

func parseWordPiece(data json.RawMessage) (model, error) {
	c := struct {
		UnkToken                string `json:"unk_token"`
		ContinuingSubwordPrefix string `json:"continuing_subword_prefix"`
		MaxInputCharsPerWord    int    `json:"max_input_chars_per_word"`
		Vocab                   tokenIDs
	}{UnkToken: "[UNK]", ContinuingSubwordPrefix: "##", MaxInputCharsPerWord: 100}
	if err := strict(data, &c); err != nil {
		return nil, err
	}
	return newWordPiece(c.Vocab, c.UnkToken, c.ContinuingSubwordPrefix, c.MaxInputCharsPerWord)
}

func newWordPiece(ids map[string]int32, unk, prefix string, maxChars int) (model, error) {
	v, err := newVocabulary(ids)
	if err != nil {
		return nil, err
	}
	w := &wordPiece{vocabulary: v, prefix: prefix, maxChars: maxChars}
	var ok bool
	if w.unk, ok = v.find(unk); !ok {
		return nil, fmt.Errorf("no token %q, the unk_token", unk)
	}
	w.starts = subword.NewSet(v.tokens, func(id int32) bool { return v.used[id] })
	inner := make([]string, len(v.tokens))
	for id, token := range v.tokens {
		inner[id] = strings.TrimPrefix(token, prefix)
	}
	w.inner = subword.NewSet(inner, func(id int32) bool { return strings.HasPrefix(v.tokens[id], prefix) })
	return w, nil
}

func (w *wordPiece) encode(ids []int32, text string) []int32 {
	start := len(ids)
	if utf8.RuneCountInString(text) > w.maxChars {
		return append(ids, w.unk)
	}
	for rest := text; rest != ""; {
		set := w.inner
		if len(rest) == len(text) {
			set = w.starts
		}
		length, id := set.Longest(rest)
		if length == 0 {
			return append(ids[:start], w.unk)
		}
		ids = append(ids, id)
		rest = rest[length:]
	}
	return ids
}

// unigram is the language model of Kudo (2018).
type unigram struct {
	vocabulary
	path  subword.Path[float64]
	bytes *[256]int32 // with byte_fallback
}

// unkPenalty is how much less than the least likely token an unknown character
// scores.
const unkPenalty = 10

// scored is a token and its log probability; in JSON a pair.
type scored struct {
	token string
	score float64
}

func (s *scored) UnmarshalJSON(data []byte) error {
	return unmarshalPair(data, &s.token, &s.score, "a pair of a token and a score")
}

func parseUnigram(data json.RawMessage) (model, error) {
	var c struct {
		Type         string
		UnkID        *int32 `json:"unk_id"`
		Vocab        []scored
		ByteFallback bool `json:"byte_fallback"`
	}
	if err := strictjson.Exact(data, &c); err != nil {
		return nil, err
	}
	if c.UnkID == nil || *c.UnkID < 0 || int(*c.UnkID) >= len(c.Vocab) {
		return nil, fmt.Errorf("unk_id is missing or no id of the vocab's %d tokens", len(c.Vocab))
	}
	u := &unigram{}
	u.ids, u.tokens, u.used = make(map[string]int32, len(c.Vocab)), make([]string, len(c.Vocab)), make([]bool, len(c.Vocab))
	least := c.Vocab[0].score
	for id, s := range c.Vocab {
		u.ids[s.token], u.tokens[id], u.used[id] = int32(id), s.token, true
		least = min(least, s.score)
	}
	u.path = subword.Path[float64]{
		Tokens:  subword.NewSet(u.tokens, func(int32) bool { return true }),
		Score:   func(id int32, _ int) float64 { return c.Vocab[id].score },
		Unknown: least - unkPenalty,
		UnkID:   *c.UnkID,
	}
	if c.ByteFallback {
		bytes := byteTokens(u.find)
		u.bytes = &bytes
	}
	return u, nil
}

// encode appends the ids of the best path through text. Unknown pieces side by side are
// one: a token of their text, or else its bytes, or else the unknown id.
func (u *unigram) encode(ids []int32, text string) []int32 {
	best := u.path.Best(text)
	for i := 0; i < len(best); i++ {
		if best[i].ID != u.path.UnkID {
			ids = append(ids, best[i].ID)
			continue
		}
		first := i // unknown neighbours are one
		for i+1 < len(best) && best[i+1].ID == u.path.UnkID {
			i++
		}
		unknown := text[best[first].Start:best[i].End]
		if id, ok := u.find(unknown); ok {
			ids = append(ids, id)
			continue
		}
		if u.bytes != nil {
			if with, ok := appendBytes(ids, u.bytes, unknown); ok {
				ids = with
				continue
			}
		}
		ids = append(ids, u.path.UnkID)
	}
	return ids
}
