package tokenizer_test

import (
	"errors"
	"io/fs"
	"math"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/recorded"
	"github.com/clip-wgpu/clip-wgpu/internal/fuzztest"
	"github.com/clip-wgpu/clip-wgpu/internal/guard"
)

// fuzzText is what tokenizers that can be read are asked to encode.
const fuzzText = "a photo of 猫 <s>\u0301 ab  ba\x00 </s><unk>"

// loadAndUse loads a tokenizer from files and lets it encode and decode a text.
// Errors must wrap ErrVocabulary, and all ids must be tokens.
func loadAndUse(t *testing.T, files map[string][]byte, o tokenizer.HuggingFace, text string) {
	t.Helper()
	err := fuzztest.Within(t, func() error {
		tok, err := tokenizer.LoadHuggingFace(folder(files), o)
		if err != nil || len(text) > 64 {
			return err
		}
		ids := tok.Encode(text)
		_, err = tok.Decode(ids)
		require.NoError(t, err)
		tok.Fits(len(ids))
		return nil
	})
	if err != nil {
		require.ErrorIs(t, err, tokenizer.ErrVocabulary)
		assert.NotContains(t, err.Error(), "\n")
	}
}

// FuzzTokenizerJSON reads a tokenizer.json and the configs beside it.
func FuzzTokenizerJSON(f *testing.F) {
	special := []byte(`{"pad_token": {"content": "[PAD]"}, "bos_token": "<s>", "eos_token": "</s>"}`)
	for _, seed := range []string{
		`{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]},"added_tokens":[{"id":7,"content":"b a"}]}`,
		`{"model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0],["a",-1.5]],"byte_fallback":true},"pre_tokenizer":{"type":"Metaspace","replacement":"▁"}}`,
		`{"model":{"type":"WordPiece","vocab":{"[UNK]":0}},"post_processor":{"type":"BertProcessing","sep":["",0],"cls":["",0]}}`,
		`{"normalizer":{"type":"Precompiled","precompiled_charsmap":"BAAAAAAAAAA="},"model":{"type":"BPE","vocab":{},"merges":[]}}`,
		`{"normalizer":{"type":"Sequence","normalizers":[{"type":"NFKD"},{"type":"BertNormalizer"},{"type":"Prepend","prepend":"_"},{"type":"Strip","strip_left":true,"strip_right":false}]},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Whitespace"},{"type":"Split","pattern":{"String":"a"},"behavior":"Contiguous","invert":true},{"type":"ByteLevel","add_prefix_space":true}]},"decoder":{"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"WordPiece","prefix":"#","cleanup":true},{"type":"Strip","content":"a","start":1,"stop":1}]},"model":{"type":"BPE","unk_token":"Ġ","vocab":{"Ġ":0,"a":1,"Ġa":2},"merges":[["Ġ","a"]],"ignore_merges":true}}`,
		`{"normalizer":{"type":"Replace","pattern":{"Regex":"(a*)*\\w[\\w]"},"content":"b"},"model":{"type":"BPE","vocab":{},"merges":[]}}`,
	} {
		f.Add([]byte(seed), []byte(`{}`), fuzzText)
		f.Add([]byte(seed[:len(seed)-1]+`,"padding":{"pad_token":"a"}}`), []byte(`{"pad_token": "a"}`), fuzzText)
	}
	for _, name := range []string{"bert", "modernbert", "nllb"} {
		f.Add([]byte(recorded.Load(f, name).Tokenizer), special, fuzzText)
	}
	f.Fuzz(func(t *testing.T, data, config []byte, text string) {
		loadAndUse(t, map[string][]byte{"tokenizer.json": data, "tokenizer_config.json": config}, tokenizer.HuggingFace{}, text)
	})
}

// FuzzSentencepiece reads a .model file as the classes do that take one.
func FuzzSentencepiece(f *testing.F) {
	classes := []string{"t5", "xlm-roberta", "gemma", "siglip", "nllb"}
	for i, name := range []string{"t5", "xlmr", "gemma", "suffix", "bpe"} {
		f.Add(recorded.Read(f, name+".model"), uint8(i), fuzzText)
	}
	f.Add(recorded.Read(f, "mt5.only.model"), uint8(0), fuzzText)
	for class := range classes { // small ones, which mutations leave readable
		f.Add(tinyModel(), uint8(class), "ba ab <s>猫")
	}
	f.Fuzz(func(t *testing.T, data []byte, class uint8, text string) {
		files := map[string][]byte{"spiece.model": data}
		name := classes[int(class)%len(classes)]
		if name == "siglip" {
			files["tokenizer_config.json"] = []byte(`{"tokenizer_class": "SiglipTokenizer"}`)
		}
		loadAndUse(t, files, tokenizer.HuggingFace{Name: name}, text)
	})
}

// tinyModel is a sentencepiece model of a few pieces.
func tinyModel() (model []byte) {
	for i, piece := range []string{"<pad>", "<unk>", "</s>", "\u2581", "\u2581a", "a", "b", "ab", "<bos>", "<eos>"} {
		p := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), piece)
		p = protowire.AppendFixed32(protowire.AppendTag(p, 2, protowire.Fixed32Type), math.Float32bits(-float32(i)))
		kind := map[int]uint64{0: 3, 1: 2, 2: 3}[i] // control, unknown, control
		p = protowire.AppendVarint(protowire.AppendTag(p, 3, protowire.VarintType), max(1, kind))
		model = protowire.AppendBytes(protowire.AppendTag(model, 1, protowire.BytesType), p)
	}
	return model
}

// FuzzTiktoken reads a file of ranks.
func FuzzTiktoken(f *testing.F) {
	f.Add(ranksFile("ab", "abc", " a"), uint8(0), "a photo of abc 123\r\n")
	f.Add([]byte("YQ== 0\nYg== 0\n"), uint8(1), "")
	f.Fuzz(func(t *testing.T, data []byte, kind uint8, text string) {
		name := []string{"r50k_base", "cl100k_base", "o200k_base"}[int(kind)%3]
		err := fuzztest.Within(t, func() error {
			tok, err := tokenizer.LoadTiktoken(folder(map[string][]byte{name + ".tiktoken": data}), tokenizer.Tiktoken{Name: name})
			if err != nil || len(text) > 64 {
				return err
			}
			got, err := tok.Decode(tok.Encode(text))
			require.NoError(t, err)
			if utf8.ValidString(text) {
				assert.Equal(t, text, got) // nothing is lost
			}
			return nil
		})
		assert.True(t, err == nil || errors.Is(err, tokenizer.ErrVocabulary), "%v", err)
	})
}

// FuzzVocabulary reads the files of CLIP's, RoBERTa's and BERT's tokenizers.
func FuzzVocabulary(f *testing.F) {
	tokens := append(byteTokens(f), "ab", "abc</w>", "<|startoftext|>", "<|endoftext|>")
	f.Add(vocabJSON(f, tokens...), []byte("#version: 0.2\na b\nab c</w>\n"), uint8(0), fuzzText)
	f.Add([]byte(`{"<s>":0,"<pad>":1,"</s>":2,"<unk>":3,"a":4,"b":5,"ab":6,"<mask>":7}`), []byte("#version: 0.2\na b\n"), uint8(1), fuzzText)
	f.Add([]byte("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##b\n"), []byte(nil), uint8(2), fuzzText)
	f.Fuzz(func(t *testing.T, vocab, merges []byte, kind uint8, text string) {
		switch kind % 3 {
		case 0:
			err := fuzztest.Within(t, func() error {
				_, err := tokenizer.Load(folder(map[string][]byte{"vocab.json": vocab, "merges.txt": merges}))
				return err
			})
			assert.True(t, err == nil || errors.Is(err, tokenizer.ErrVocabulary), "%v", err)
		case 1:
			loadAndUse(t, map[string][]byte{"vocab.json": vocab, "merges.txt": merges}, tokenizer.HuggingFace{Name: "roberta"}, text)
		case 2:
			loadAndUse(t, map[string][]byte{"vocab.txt": vocab}, tokenizer.HuggingFace{Name: "bert"}, text)
		}
	})
}

// panicking is a folder whose files cannot be opened without a panic.
type panicking struct{}

func (panicking) Open(name string) (fs.File, error) { panic(name) }

func TestPanicsBecomeErrors(t *testing.T) {
	var caught *guard.PanicError
	_, err := tokenizer.Load(panicking{})
	require.ErrorAs(t, err, &caught)
	_, err = tokenizer.LoadHuggingFace(panicking{}, tokenizer.HuggingFace{})
	require.ErrorAs(t, err, &caught)
}
