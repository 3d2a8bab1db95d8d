package tokenizer

import (
	"testing"

	"github.com/clip-wgpu/clip-wgpu/internal/guard"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// broken is a vocabulary that panics on one text.
type broken struct{ coder }

func (b broken) Encode(text string) []int32 {
	if text == "bad" {
		panic("planted")
	}
	return b.coder.Encode(text)
}

func TestPanicIsTheErrorOfItsText(t *testing.T) {
	tok := *Default()
	tok.coder = broken{tok.coder}
	for _, tokenize := range []func([]string, int) ([][]int32, error){tok.Tokenize, tok.Unpadded} {
		_, err := tokenize([]string{"good", "bad", "bad"}, 77)
		var text *TextError
		require.ErrorAs(t, err, &text)
		assert.Equal(t, 1, text.Index)
		assert.ErrorContains(t, err, "text 1: internal error, please report it: planted")
		var planted *guard.PanicError
		assert.ErrorAs(t, err, &planted)
		rows, err := tokenize([]string{"good"}, 77)
		assert.NoError(t, err)
		assert.Len(t, rows, 1)
	}
	_, err := tok.Row("bad", 77)
	assert.Error(t, err)
}
