package hf

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/subword"
	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
)

// AddedToken is a token that is found in a text before the model sees it.
type AddedToken struct {
	ID         int32  `json:"id" null:"no"`
	Content    string `json:"content" null:"no"`
	SingleWord bool   `json:"single_word" null:"no"` // only between word boundaries
	LStrip     bool   `json:"lstrip" null:"no"`      // takes the white space before it along
	RStrip     bool   `json:"rstrip" null:"no"`
	Normalized bool   `json:"normalized" null:"no"` // found after normalization, in its normal form
	Special    bool   `json:"special" null:"no"`
}

func (t *AddedToken) UnmarshalJSON(data []byte) error { return strictjson.Struct(data, t) }

// added finds added tokens.
type added struct {
	tokens          map[int32]AddedToken
	raw, normalized *subword.Set // ids are positions in the lists
	rawIDs, normIDs []int32
	normalForms     map[int32]string
	leastLead       int
}

func newAdded(tokens []AddedToken, m model, normalize normalizer) (*added, error) {
	a := &added{tokens: make(map[int32]AddedToken, len(tokens)), normalForms: map[int32]string{}}
	var raw, normal []string
	limit := m.size() + len(tokens) + spareIDs
	for _, t := range tokens {
		if t.ID < 0 || int(t.ID) >= limit {
			return nil, fmt.Errorf("added_tokens: id %d of %q, want 0 to %d", t.ID, t.Content, limit-1)
		}
		if id, ok := m.find(t.Content); ok && id != t.ID {
			return nil, fmt.Errorf("added_tokens: %q has the id %d and, in the model's vocab, %d", t.Content, t.ID, id)
		}
		if other, ok := a.tokens[t.ID]; ok && other.Content != t.Content {
			return nil, fmt.Errorf("added_tokens: %q and %q have the same id %d", other.Content, t.Content, t.ID)
		}
		a.tokens[t.ID] = t
		form := t.Content
		if !t.Normalized {
			raw, a.rawIDs = append(raw, form), append(a.rawIDs, t.ID)
			continue
		}
		if normalize != nil {
			form = normalize(form)
			a.normalForms[t.ID] = form
		}
		normal, a.normIDs = append(normal, form), append(a.normIDs, t.ID)
	}
	all := func(int32) bool { return true }
	a.raw, a.normalized = subword.NewSet(raw, all), subword.NewSet(normal, all)
	return a, nil
}

// part is a piece of text or an added token.
type part struct {
	piece
	id int32 // None for text
}

// split finds the tokens of one set in a piece, the longest at the leftmost
// position first.
func (a *added) split(p piece, set *subword.Set, ids []int32) (parts []part) {
	text, start := p.text, 0 // start of what follows the last token
	for i := 0; i < len(text); {
		length, at := set.Longest(text[i:])
		if length == 0 {
			_, size := utf8.DecodeRuneInString(text[i:])
			i += size
			continue
		}
		from, to := i, i+length
		i = to
		t := a.tokens[ids[at]]
		if t.SingleWord && !isSingle(text, from, to) {
			continue
		}
		if t.LStrip && start < from {
			from = start + len(strings.TrimRightFunc(text[start:from], unicode.IsSpace))
		}
		if t.RStrip {
			to = len(text) - len(strings.TrimLeftFunc(text[to:], unicode.IsSpace))
		}
		if start < from {
			parts = append(parts, part{piece{text[start:from], max(0, p.lead-start)}, subword.None})
		}
		parts = append(parts, part{id: t.ID})
		start = to
	}
	if start < len(text) {
		parts = append(parts, part{piece{text[start:], max(0, p.lead-start)}, subword.None})
	}
	return parts
}

func isSingle(text string, from, to int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:from])
	after, _ := utf8.DecodeRuneInString(text[to:])
	return (from == 0 || !isWord(before)) && (to == len(text) || !isWord(after))
}

// extract returns the added tokens of a text and the normalized rest.
func (a *added) extract(text string, normalize normalizer) (parts []part) {
	_, size := utf8.DecodeRuneInString(text)
	for _, p := range a.split(piece{text, size}, a.raw, a.rawIDs) {
		if p.id != subword.None {
			parts = append(parts, p)
			continue
		}
		if normalize != nil {
			if p.lead > 0 {
				p.lead = max(a.leastLead, len(normalize(p.text[:p.lead])))
			}
			p.text = normalize(p.text)
		}
		parts = append(parts, a.split(p.piece, a.normalized, a.normIDs)...)
	}
	return parts
}
