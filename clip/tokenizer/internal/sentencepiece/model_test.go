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
