package sentencepiece

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/recorded"
)

func TestEncodeEqualsSentencepiece(t *testing.T) {
	texts := recorded.Texts(t)
	for _, name := range recorded.Models {
		t.Run(name, func(t *testing.T) {
			c := recorded.LoadModel(t, name)
			m, err := Parse(c.Model)
			require.NoError(t, err)
			require.Len(t, c.IDs, len(texts))
			for i, text := range texts {
				assert.Equal(t, c.IDs[i], append([]int32{}, m.Encode(text)...), "%+q", text)
				assert.Equal(t, c.Decoded[i], m.Decode(c.IDs[i]), "%v", c.IDs[i])
			}
		})
	}
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
