package sentencepiece

import (
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/recorded"
)

// FuzzParse asks that no model file crashes the program, and that all ids are
// pieces.
func FuzzParse(f *testing.F) {
	for _, name := range recorded.Models {
		f.Add(recorded.LoadModel(f, name).Model, "a photo of 猫 <s>\u0301")
	}
	f.Add([]byte("\x0a\x07\x0a\x05<unk>\x0a\x09\x0a\x05<unk>\x18\x02"), "a")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		m, err := Parse(data)
		if err != nil || len(text) > 64 || !utf8.ValidString(text) {
			return
		}
		ids := m.Encode(text)
		for _, id := range ids {
			_, ok := m.Token(id)
			assert.True(t, ok, "%d", id)
		}
		m.Decode(ids)
	})
}

// TestUnusedPiecesAreSplit: an unused piece is made of the two that it was
// merged from, or not used by a unigram model.
func TestUnusedPiecesAreSplit(t *testing.T) {
	for _, name := range []string{"bpe", "t5"} {
		m, err := Parse(recorded.LoadModel(t, name).Model)
		require.NoError(t, err)
		before := m.Encode("photo of the")
		longest := before[0]
		for _, id := range before {
			if a, b := m.spec.pieces[id], m.spec.pieces[longest]; len(a) > len(b) {
				longest = id
			}
		}
		data := append([]byte{}, recorded.LoadModel(t, name).Model...)
		s, err := parseSpec(data)
		require.NoError(t, err)
		s.types[longest] = unused
		m, err = build(s)
		require.NoError(t, err)
		after := m.Encode("photo of the")
		assert.NotContains(t, after, longest)
		assert.Equal(t, "photo of the", m.Decode(after))
	}
}
