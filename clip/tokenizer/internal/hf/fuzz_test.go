package hf

import (
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

// FuzzParse asks that no tokenizer.json crashes the program, and that all ids
// are tokens.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]},"added_tokens":[{"id":7,"content":"b a"}]}`,
		`{"model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0],["a",-1.5]],"byte_fallback":true},"pre_tokenizer":{"type":"Metaspace","replacement":"▁"}}`,
		`{"model":{"type":"WordPiece","vocab":{"[UNK]":0}},"post_processor":{"type":"BertProcessing","sep":["",0],"cls":["",0]}}`,
		`{"normalizer":{"type":"Precompiled","precompiled_charsmap":"BAAAAAAAAAA="},"model":{"type":"BPE","vocab":{},"merges":[]}}`,
		`{"normalizer":{"type":"Sequence","normalizers":[{"type":"NFKD"},{"type":"BertNormalizer"},{"type":"Prepend","prepend":"_"},{"type":"Strip","strip_left":true,"strip_right":false}]},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Whitespace"},{"type":"Split","pattern":{"String":"a"},"behavior":"Contiguous","invert":true},{"type":"ByteLevel","add_prefix_space":true}]},"decoder":{"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"WordPiece","prefix":"#","cleanup":true},{"type":"Strip","content":"a","start":1,"stop":1}]},"model":{"type":"BPE","unk_token":"Ġ","vocab":{"Ġ":0,"a":1,"Ġa":2},"merges":[["Ġ","a"]],"ignore_merges":true}}`,
		`{"normalizer":{"type":"Replace","pattern":{"Regex":"(a*)*\\w[\\w]"},"content":"b"},"model":{"type":"BPE","vocab":{},"merges":[]}}`,
	} {
		f.Add([]byte(seed), "ab a  ba\x00")
	}
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		tok, err := Parse(data)
		if err != nil || len(text) > 64 {
			return
		}
		if !utf8.ValidString(text) {
			return // Encode wants UTF-8
		}
		ids := tok.Encode(text)
		for _, id := range ids {
			_, ok := tok.Token(id)
			assert.True(t, ok, "%d", id)
		}
		tok.Decode(ids)
	})
}
