// Package sentencepiece reads the .model files of the sentencepiece library and
// computes the ids that the library does (Kudo and Richardson, 2018).
package sentencepiece

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/subword"
)

// space is what stands for a blank in pieces.
const space = "\u2581"

// Model is a unigram or byte-pair model with its normalizer. It never changes
// after it was made.
type Model struct {
	spec    *spec
	chars   *subword.CharsMap
	ids     map[string]int32 // of all pieces
	pieces  *subword.Set     // those that text is split into
	symbols *subword.Set     // user defined, kept whole
	unk     int32
	bytes   [256]int32
	ranks   []int32 // of pieces by score, the highest first
	path    subword.Path[float32]
}

// Parse reads a serialized ModelProto.
func Parse(data []byte) (*Model, error) {
	s, err := parseSpec(data)
	if err != nil {
		return nil, err
	}
	return build(s)
}

func build(s *spec) (m *Model, err error) {
	if s.modelType != unigramType && s.modelType != bpeType {
		return nil, fmt.Errorf("model_type %d is not supported; supported are unigram (1) and BPE (2)", s.modelType)
	}
	m = &Model{spec: s, ids: make(map[string]int32, len(s.pieces)), unk: subword.None}
	if m.chars, err = subword.ParseCharsMap(s.charsMap); err != nil {
		return nil, err
	}
	for id, piece := range s.pieces {
		if other, ok := m.ids[piece]; ok {
			return nil, fmt.Errorf("pieces %d and %d are both %q", other, id, piece)
		}
		m.ids[piece] = int32(id)
		if s.types[id] == unknown {
			m.unk = int32(id)
		}
	}
	if m.unk == subword.None {
		return nil, errors.New("no piece is the unknown one")
	}
	if err := m.findBytes(); err != nil {
		return nil, err
	}
	m.path.Tokens = subword.NewSet(s.pieces, func(id int32) bool {
		return s.types[id] == normal || s.types[id] == userDefined
	})
	m.symbols = subword.NewSet(s.pieces, func(id int32) bool { return s.types[id] == userDefined })
	m.score()
	return m, nil
}

func (m *Model) findBytes() error {
	for b := range m.bytes {
		id, ok := m.ids[fmt.Sprintf("<0x%02X>", b)]
		if m.spec.byteFallback && (!ok || m.spec.types[id] != byteType) {
			return fmt.Errorf("byte_fallback without a piece for byte 0x%02X", b)
		}
		m.bytes[b] = id
	}
	return nil
}

// score prepares the scores for either model.
func (m *Model) score() {
	s := m.spec
	order := make([]int32, len(s.pieces))
	for id := range order {
		order[id] = int32(id)
	}
	slices.SortStableFunc(order, func(a, b int32) int {
		switch {
		case s.scores[a] > s.scores[b]:
			return -1
		case s.scores[a] < s.scores[b]:
			return 1
		}
		return 0
	})
	m.ranks = make([]int32, len(order))
	for i, id := range order {
		m.ranks[id] = int32(i)
		if i > 0 && s.scores[id] == s.scores[order[i-1]] {
			m.ranks[id] = m.ranks[order[i-1]]
		}
	}
	least, most := float32(math.MaxFloat32), float32(0x1p-126)
	for id, score := range s.scores {
		if s.types[id] == normal {
			least, most = min(least, score), max(most, score)
		}
	}
	m.path.Unknown, m.path.UnkID = float64(least-unkPenalty), m.unk
	m.path.Score = func(id int32, length int) float64 {
		if s.types[id] == userDefined { // so that it is always taken
			return float64(float32(length)*most) - 0.1
		}
		return float64(s.scores[id])
	}
}

// Piece is a token of a model.
type Piece struct {
	Text    string
	Score   float32
	Control bool // a special token
	User    bool // user defined, kept whole
}

// Unigram returns the parts that another program's tokenizer can be made of: the
// pieces by id, the id of the unknown one, and the character map that normalizes
// text. ok is false for a BPE model.
func (m *Model) Unigram() (pieces []Piece, unk int32, charsMap []byte, ok bool) {
	return m.list(), m.unk, m.spec.charsMap, m.spec.modelType == unigramType
}

// BPE is [Model.Unigram] for a BPE model: ok is false for a unigram one.
func (m *Model) BPE() (pieces []Piece, charsMap []byte, ok bool) {
	return m.list(), m.spec.charsMap, m.spec.modelType == bpeType
}

func (m *Model) list() (pieces []Piece) {
	s := m.spec
	for id, text := range s.pieces {
		pieces = append(pieces, Piece{text, s.scores[id], s.types[id] == control, s.types[id] == userDefined})
	}
	return pieces
}

// unkPenalty is how much less than the least likely piece an unknown character
// scores.
const unkPenalty = 10

// Encode returns the ids of a text, which must be UTF-8, without special tokens.
func (m *Model) Encode(text string) []int32 {
	normalized := m.normalize(text)
	if normalized == "" {
		return nil
	}
	var symbols []subword.Symbol
	if m.spec.modelType == bpeType {
		symbols = m.merge(normalized)
	} else {
		symbols = m.path.Best(normalized)
	}
	var ids []int32
	last := int32(subword.None)
	for _, s := range symbols {
		switch {
		case s.ID != m.unk:
			ids = append(ids, s.ID)
		case m.spec.byteFallback:
			for i := s.Start; i < s.End; i++ {
				ids = append(ids, m.bytes[normalized[i]])
			}
		case last != m.unk: // unknown neighbours are one
			ids = append(ids, m.unk)
		}
		last = s.ID
	}
	return ids
}

// frozen is the id of a user defined symbol while it must not be merged.
const frozen = -2

// merge joins the characters of a text into pieces, those of the highest score
// first.
func (m *Model) merge(text string) []subword.Symbol {
	var symbols []subword.Symbol
	for start := 0; start < len(text); {
		length, _ := m.symbols.Longest(text[start:])
		id := int32(frozen)
		if length == 0 {
			length, id = runeLen(text[start:]), subword.None
		}
		symbols = append(symbols, subword.Symbol{ID: id, Start: int32(start), End: int32(start + length)})
		start += length
	}
	halves := map[string]int32{} // length of the left part of pieces that are unused
	merged := subword.Merge(symbols, func(left, right subword.Symbol) (rank, id int32, ok bool) {
		if left.ID == frozen || right.ID == frozen {
			return 0, 0, false
		}
		piece := text[left.Start:right.End]
		if id, ok = m.pieceID(piece); !ok {
			return 0, 0, false
		}
		if m.spec.types[id] == unused {
			halves[piece] = left.End - left.Start
		}
		return m.ranks[id], id, true
	}, false)
	var out []subword.Symbol
	for _, s := range merged {
		out = m.resegment(out, text, s, halves)
	}
	return out
}

// pieceID returns the id of a piece that text is split into.
func (m *Model) pieceID(piece string) (int32, bool) {
	id, ok := m.ids[piece]
	if !ok {
		return 0, false
	}
	switch m.spec.types[id] {
	case normal, userDefined, unused:
		return id, true
	}
	return 0, false
}

// resegment appends a symbol, or the two that it was made of if it is an unused
// piece.
func (m *Model) resegment(out []subword.Symbol, text string, s subword.Symbol, halves map[string]int32) []subword.Symbol {
	piece := text[s.Start:s.End]
	id, ok := m.ids[piece]
	if !ok {
		id = m.unk
	}
	if left, split := halves[piece]; split && m.spec.types[id] == unused {
		middle := s.Start + left
		out = m.resegment(out, text, subword.Symbol{Start: s.Start, End: middle}, halves)
		return m.resegment(out, text, subword.Symbol{Start: middle, End: s.End}, halves)
	}
	return append(out, subword.Symbol{ID: id, Start: s.Start, End: s.End})
}

// Decode returns the text of ids, which must be pieces; control symbols are
// invisible.
func (m *Model) Decode(ids []int32) string {
	var b strings.Builder
	var bytes []byte
	s, atStart, sawSpace := m.spec, true, false
	for _, id := range ids {
		piece := s.pieces[id]
		if s.types[id] == byteType {
			if v, err := strconv.ParseUint(strings.Trim(piece, "<>"), 0, 8); err == nil {
				bytes = append(bytes, byte(v))
				continue
			}
		}
		writeBytes(&b, bytes)
		bytes = bytes[:0]
		atStart = atStart && !sawSpace && b.Len() == 0
		sawSpace = false
		switch s.types[id] {
		case control:
			continue
		case unknown:
			b.WriteString(s.unkSurface)
			continue
		}
		if rest, ok := strings.CutPrefix(piece, space); ok && atStart && (s.addDummyPrefix || s.removeExtraSpace) {
			piece, sawSpace = rest, !s.removeExtraSpace
		}
		b.WriteString(strings.ReplaceAll(piece, space, " "))
	}
	writeBytes(&b, bytes)
	return b.String()
}

// VocabSize returns the number of pieces.
func (m *Model) VocabSize() int { return len(m.spec.pieces) }

// Find returns the id of a piece.
func (m *Model) Find(piece string) (int32, bool) {
	id, ok := m.ids[piece]
	return id, ok
}

// Token returns a piece by id.
func (m *Model) Token(id int32) (string, bool) {
	if id < 0 || int(id) >= m.VocabSize() {
		return "", false
	}
	return m.spec.pieces[id], true
}
