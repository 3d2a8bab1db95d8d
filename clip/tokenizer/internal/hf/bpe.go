package hf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/subword"
	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
)

// pair is two neighbouring tokens, merge what they become.
type (
	pair  struct{ left, right int32 }
	merge struct{ rank, id int32 }
)

// bpe is byte-pair encoding (Sennrich et al., 2016).
type bpe struct {
	vocabulary
	merges       map[pair]merge
	unk          int32 // None without
	fuseUnk      bool
	bytes        *[256]int32 // with byte_fallback
	prefix       string      // of what does not start a word
	suffix       string      // of what ends a word
	ignoreMerges bool        // words that are tokens are not split
}

type bpeJSON struct {
	Type                    string
	Dropout                 *float64
	UnkToken                *string `json:"unk_token"`
	ContinuingSubwordPrefix string  `json:"continuing_subword_prefix"`
	EndOfWordSuffix         string  `json:"end_of_word_suffix"`
	FuseUnk                 bool    `json:"fuse_unk"`
	ByteFallback            bool    `json:"byte_fallback"`
	IgnoreMerges            bool    `json:"ignore_merges"`
	Vocab                   tokenIDs
	Merges                  mergeList
}

// mergeList is a list of pairs, or of strings with a blank between two tokens.
type mergeList [][2]string

func (m *mergeList) UnmarshalJSON(data []byte) error {
	if list := bytes.TrimLeft(data, " \t\r\n["); len(list) == 0 || list[0] != '"' || !bytes.HasPrefix(data, []byte("[")) || bytes.HasPrefix(bytes.TrimLeft(data[1:], " \t\r\n"), []byte("[")) {
		var pairs [][]string
		if err := strictjson.Unmarshal(data, &pairs); err != nil {
			return err
		}
		*m = make(mergeList, len(pairs))
		for i, p := range pairs {
			if len(p) != 2 {
				return fmt.Errorf("merges[%d]: %.60q is no merge of two tokens", i, p)
			}
			(*m)[i] = [2]string(p)
		}
		return nil
	}
	var lines []string
	if err := strictjson.Unmarshal(data, &lines); err != nil {
		return err
	}
	*m = make(mergeList, len(lines))
	for i, line := range lines {
		left, right, ok := strings.Cut(line, " ")
		if !ok || left == "" || right == "" || strings.Contains(right, " ") {
			return fmt.Errorf("merges[%d]: %.60q is no merge of two tokens", i, line)
		}
		(*m)[i] = [2]string{left, right}
	}
	return nil
}

func parseBPE(data json.RawMessage) (model, error) {
	var c bpeJSON
	if err := strictjson.Exact(data, &c); err != nil {
		return nil, err
	}
	return newBPE(&c)
}

func newBPE(c *bpeJSON) (model, error) {
	if c.Dropout != nil && *c.Dropout != 0 {
		return nil, errors.New("BPE with dropout is not supported")
	}
	v, err := newVocabulary(c.Vocab)
	if err != nil {
		return nil, err
	}
	b := &bpe{
		vocabulary: v, merges: make(map[pair]merge, len(c.Merges)), unk: subword.None, fuseUnk: c.FuseUnk,
		prefix: c.ContinuingSubwordPrefix, suffix: c.EndOfWordSuffix, ignoreMerges: c.IgnoreMerges,
	}
	for rank, m := range c.Merges {
		left, okLeft := v.ids[m[0]]
		right, okRight := v.ids[m[1]]
		id, ok := v.ids[m[0]+strings.TrimPrefix(m[1], b.prefix)]
		if !okLeft || !okRight || !ok {
			return nil, fmt.Errorf("merges[%d]: %q and %q do not merge into a token", rank, m[0], m[1])
		}
		b.merges[pair{left, right}] = merge{int32(rank), id}
	}
	if c.UnkToken != nil {
		var ok bool
		if b.unk, ok = v.ids[*c.UnkToken]; !ok {
			return nil, fmt.Errorf("no token %q, the unk_token", *c.UnkToken)
		}
	}
	if c.ByteFallback {
		bytes := byteTokens(v.find)
		b.bytes = &bytes
	}
	return b, nil
}

func (b *bpe) encode(ids []int32, text string) []int32 {
	if b.ignoreMerges {
		if id, ok := b.ids[text]; ok {
			return append(ids, id)
		}
	}
	for _, s := range subword.Merge(b.symbols(text), b.lookup, false) {
		ids = append(ids, s.ID)
	}
	return ids
}

func (b *bpe) lookup(left, right subword.Symbol) (rank, id int32, ok bool) {
	m, ok := b.merges[pair{left.ID, right.ID}]
	return m.rank, m.id, ok
}

// symbols returns the token of each character of a word. A character that is no token
// gives the tokens of its bytes or the unknown token, where the model has these.
func (b *bpe) symbols(text string) []subword.Symbol {
	ids := make([]int32, 0, len(text))
	pending := false // whether an unknown token waits to be joined with the next
	flush := func() {
		if pending {
			ids = append(ids, b.unk)
			pending = false
		}
	}
	for i, r := range text {
		end := i + utf8.RuneLen(r)
		char := text[i:end]
		if i > 0 {
			char = b.prefix + char
		}
		if end == len(text) {
			char += b.suffix
		}
		if id, ok := b.ids[char]; ok {
			flush()
			ids = append(ids, id)
			continue
		}
		if b.bytes != nil {
			if with, ok := appendBytes(ids, b.bytes, char); ok {
				ids = with
				continue
			}
		}
		if b.unk == subword.None {
			continue
		}
		if !b.fuseUnk {
			flush()
		}
		pending = true
	}
	flush()
	symbols := make([]subword.Symbol, len(ids))
	for i, id := range ids {
		symbols[i].ID = id
	}
	return symbols
}
