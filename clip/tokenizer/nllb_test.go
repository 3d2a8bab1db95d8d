package tokenizer_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
)

// A language's token goes around texts in place of the one before, wherever that is.
func TestWithLanguage(t *testing.T) {
	const dir = "../../tests/testdata/oracle/hf_tokenizers/nllb"
	files := map[string][]byte{}
	for _, name := range []string{"sentencepiece.bpe.model", "special_tokens_map.json", "tokenizer_config.json"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		files[name] = data
	}
	load := func() *tokenizer.Tokenizer {
		tok, err := tokenizer.LoadHuggingFace(folder(files), tokenizer.HuggingFace{Name: "nllb"})
		require.NoError(t, err)
		return tok
	}
	ids := func(tok *tokenizer.Tokenizer) []int32 {
		rows, err := tok.Unpadded([]string{"le monde"}, 20)
		require.NoError(t, err)
		return rows[0]
	}
	plain := load()
	french, err := plain.WithLanguage("fra_Latn")
	require.NoError(t, err)
	id := plain.Encode("fra_Latn")
	require.Len(t, id, 1)
	assert.Equal(t, append(id, ids(plain)[1:]...), ids(french))
	english, err := french.WithLanguage("eng_Latn")
	require.NoError(t, err)
	assert.Equal(t, ids(plain), ids(english))

	for _, code := range []string{"", "fr", "fra_latn", "xxx_Latn", "</s>", "le"} {
		_, err := plain.WithLanguage(code)
		assert.ErrorContains(t, err, "is not one of NLLB's", code)
	}
	_, err = tokenizer.Default().WithLanguage("fra_Latn")
	assert.ErrorContains(t, err, `language "fra_Latn": the tokenizer has no languages`)

	files["tokenizer_config.json"] = []byte(`{"tokenizer_class": "NllbTokenizer", "legacy_behaviour": true, "pad_token": "<pad>"}`)
	legacy := load()
	last := func(tok *tokenizer.Tokenizer) int32 { row := ids(tok); return row[len(row)-1] }
	assert.Equal(t, legacy.Encode("eng_Latn"), []int32{last(legacy)})
	french, err = legacy.WithLanguage("fra_Latn")
	require.NoError(t, err)
	assert.Equal(t, legacy.Encode("fra_Latn"), []int32{last(french)})
}
