package tokenizer_test

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
)

// ranksFile has the bytes, in their order, and more tokens.
func ranksFile(more ...string) []byte {
	var b strings.Builder
	for i := range 256 {
		fmt.Fprintf(&b, "%s %d\n", base64.StdEncoding.EncodeToString([]byte{byte(i)}), i)
	}
	for i, token := range more {
		fmt.Fprintf(&b, "%s %d\n", base64.StdEncoding.EncodeToString([]byte(token)), 256+i)
	}
	return []byte(b.String())
}

func loadRanks(t *testing.T, data []byte, o tokenizer.Tiktoken) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.LoadTiktoken(folder(map[string][]byte{"cl100k_base.tiktoken": data, "r50k_base.tiktoken": data}), o)
	require.NoError(t, err)
	return tok
}

func TestTiktokenRows(t *testing.T) {
	data := ranksFile("ab", "abab", "bc")
	tok := loadRanks(t, data, tokenizer.Tiktoken{})
	assert.Equal(t, 256+3+1+3, tok.VocabSize())
	assert.Equal(t, []int32{262, 260}, []int32{tok.SOT(), tok.EOT()})
	assert.Equal(t, [][]int32{{262, 257, 258, 260, 261, 261}}, tokenize(t, tok, 6, "ababbc"))
	assert.Equal(t, [][]int32{{262, 257, 260}}, tokenize(t, tok, 3, "ababbc"))
	assert.Equal(t, [][]int32{{260}}, tokenize(t, tok, 1, "ababbc"))
	assert.Equal(t, []int32{'<', '|'}, tok.Encode("<|endoftext|>")[:2], "the name of a special token is plain text")
	assert.Equal(t, []int32{'A', ' ', ' ', 256}, tok.Encode("A  ab"), "the text is taken as it is")
	text, err := tok.Decode([]int32{262, 257, 259, 260, 261})
	require.NoError(t, err)
	assert.Equal(t, "abab<|endoftext|>", text)

	bare := loadRanks(t, data, tokenizer.Tiktoken{Name: "r50k_base", Clean: tokenizer.CleanLower, NoBOS: true, NoEOS: true})
	assert.Equal(t, [][]int32{{257, 261, 261}}, tokenize(t, bare, 3, " ABAB "))
	assert.Equal(t, [][]int32{{'a', ' ', 'a'}}, tokenize(t, bare, 3, "a a a"))
}

// TestTiktokenNumbers checks where the encodings' patterns differ.
func TestTiktokenNumbers(t *testing.T) {
	data := ranksFile("1234", "'LL", "123")
	for name, want := range map[string][]int32{"r50k_base": {256, '\'', 'L', 'L'}, "cl100k_base": {258, '4', 257}} {
		assert.Equal(t, want, loadRanks(t, data, tokenizer.Tiktoken{Name: name}).Encode("1234'LL"), name)
	}
}

func TestLoadBadRanks(t *testing.T) {
	for data, part := range map[string]string{
		"":                                   "no token for byte 0x00",
		"QQ== 0 1\n":                         "line 1",
		"QQ==\n":                             "line 1",
		"\nQ! 0\n":                           "line 2",
		"QQ== x\n":                           "line 1",
		"QQ== -1\n":                          "line 1",
		"QQ== 4000000000\n":                  "line 1",
		"QQ== 0\nQg== 0\n":                   "have the same rank 0",
		"QQ== 0\nQQ== 1\n":                   "the ranks 0 and 1",
		string(ranksFile()[7:]):              "no token for byte 0x00",
		strings.Repeat(" ", 32<<20) + "Q 00": "33554436 bytes",
	} {
		_, err := tokenizer.LoadTiktoken(folder(map[string][]byte{"r50k_base.tiktoken": []byte(data)}), tokenizer.Tiktoken{Name: "r50k_base"})
		require.ErrorIs(t, err, tokenizer.ErrVocabulary)
		assert.ErrorContains(t, err, "r50k_base.tiktoken")
		assert.ErrorContains(t, err, part)
	}
	_, err := tokenizer.LoadTiktoken(folder(nil), tokenizer.Tiktoken{})
	require.ErrorIs(t, err, fs.ErrNotExist)
	assert.ErrorContains(t, err, "cl100k_base.tiktoken")
	_, err = tokenizer.LoadTiktoken(folder(nil), tokenizer.Tiktoken{Name: "gpt9"})
	assert.ErrorContains(t, err, `"gpt9" is not supported; supported are cl100k_base, o200k_base, p50k_base, r50k_base`)
}
