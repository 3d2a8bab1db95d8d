package hf

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A value of the wrong type is named with its key, in words of JSON.
func TestErrorsNameTheValue(t *testing.T) {
	model := func(m string) string { return `{"version": "1.0", "added_tokens": [], "model": ` + m + `}` }
	bpe := func(vocab, merges string) string {
		return model(fmt.Sprintf(`{"type": "BPE", "vocab": %s, "merges": %s}`, vocab, merges))
	}
	unigram := func(vocab string) string { return model(`{"type": "Unigram", "unk_id": 0, "vocab": ` + vocab + `}`) }
	for text, says := range map[string]string{
		bpe(`{"a": 0, "b": "5"}`, `[]`):                                    `vocab.b is "\"5\"", want a whole number below 2^31`,
		bpe(`{"a": 0, "b": 1099511627776}`, `[]`):                          `vocab.b is "1099511627776", want a whole number below 2^31`,
		bpe(`{"a": 0.5}`, `[]`):                                            `vocab.a is "0.5", want a whole number`,
		bpe(`{"a": null, "b": 1}`, `[]`):                                   `vocab.a is "null", want a whole number`,
		bpe(`[]`, `[]`):                                                    `vocab is "[]", want a JSON object`,
		bpe(`{"a b": 1.5}`, `[]`):                                          `vocab."a b" is "1.5"`,
		bpe(`{"a": 0}`, `[1]`):                                             `merges[0] is "1", want`,
		bpe(`{"a": 0}`, `[["a", "a"], ["a", 2]]`):                          `merges[1][1] is "2", want a string`,
		bpe(`{"a": 0}`, `["a a", 2]`):                                      `merges[1] is "2", want a string`,
		bpe(`{"a": 0}`, `{}`):                                              `merges is "{}", want a list`,
		model(`{"type": "BPE", "vocab": {}, "merges": [], "zz": 1}`):       `unknown key "zz"`,
		model(`{"type": "BPE", "vocab": {}, "merges": [], "fuse_unk": 1}`): `fuse_unk is "1", want true or false`,
		model(`{"type": "WordPiece", "vocab": {"a": "0"}}`):                `vocab.a is "\"0\"", want a whole number`,
		model(`{"type": 5}`):                                               `type is "5", want a string`,
		model(`5`):                                                         `want a JSON object`,
		unigram(`[["a", null]]`):                                           `vocab[0] is "[\"a\",null]", want a pair of a token and a score`,
		unigram(`[["a", 0], [null, -1]]`):                                  `vocab[1] is "[null,-1]", want a pair of a token and a score`,
		unigram(`[["a", 0], ["b"]]`):                                       `vocab[1] is "[\"b\"]", want a pair`,
		unigram(`[["a", "0"]]`):                                            `vocab[0] is "[\"a\",\"0\"]", want a pair`,
		`{"added_tokens": [{"id": null, "content": "a"}], "model": {}}`:    `added_tokens[0].id is "null", want a whole number`,
		`{"added_tokens": [{"id": "1", "content": "a"}], "model": {}}`:     `added_tokens[0].id is "\"1\"", want a whole number`,
		`{"added_tokens": {}, "model": {}}`:                                `added_tokens is "{}", want a list`,
		`[]`:                                                               `want a JSON object`,
	} {
		_, err := Parse([]byte(text))
		require.ErrorContains(t, err, says, text)
		assert.NotContains(t, err.Error(), "json:")
		assert.NotContains(t, err.Error(), "Go ")
	}
}

// An empty pattern matches around every character. The values are the library's.
func TestEmptyPatternsEqualTokenizers(t *testing.T) {
	n, err := parseNormalizer(json.RawMessage(`{"type": "Replace", "pattern": {"String": ""}, "content": "Z"}`))
	require.NoError(t, err)
	for text, want := range map[string]string{"": "", "a": "ZaZ", "abc": "ZaZbZcZ", "é😀 x": "ZéZ😀Z ZxZ"} {
		assert.Equal(t, want, n(text))
	}
	split, err := parsePreTokenizer(json.RawMessage(`{"type": "Split", "pattern": {"String": ""}, "behavior": "Isolated", "invert": false}`))
	require.NoError(t, err)
	var got []string
	for _, p := range split([]piece{{"abc", 1}}) {
		got = append(got, p.text)
	}
	assert.Equal(t, []string{"a", "b", "c"}, got)
}
