// Package recorded gives tests the tokenizers, texts and ids that were recorded
// with the Python packages tokenizers and sentencepiece.
package recorded

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

// Read returns the content of a gzip'd file of tests/testdata/tokenizer/subword.
func Read(tb testing.TB, name string) []byte {
	tb.Helper()
	_, self, _, _ := runtime.Caller(0)
	file, err := os.Open(filepath.Join(filepath.Dir(self), "../../../../tests/testdata/tokenizer/subword", name+".gz"))
	require.NoError(tb, err)
	defer file.Close()
	unzip, err := gzip.NewReader(file)
	require.NoError(tb, err)
	data, err := io.ReadAll(unzip)
	require.NoError(tb, err)
	return data
}

// Texts returns the texts that everything was recorded for.
func Texts(tb testing.TB) (texts []string) {
	tb.Helper()
	require.NoError(tb, json.Unmarshal(Read(tb, "texts.json"), &texts))
	require.GreaterOrEqual(tb, len(texts), 300)
	return texts
}

// CharsMap returns sentencepiece's character map nmt_nfkc, which the files
// share.
func CharsMap(tb testing.TB) []byte {
	tb.Helper()
	return Read(tb, "nmt_nfkc.charsmap")
}

// WithCharsMap puts the character map where a tokenizer.json names it.
func WithCharsMap(tb testing.TB, data []byte) []byte {
	tb.Helper()
	return bytes.ReplaceAll(data, []byte("@nmt_nfkc"), []byte(base64.StdEncoding.EncodeToString(CharsMap(tb))))
}

// Case is a tokenizer.json with what it made of the texts.
type Case struct {
	Tokenizer json.RawMessage
	IDs       [][]int32 // with special tokens
	Decoded   []string  // of the ids
}

// Cases are the names of the tokenizer.json files.
var Cases = []string{"t5", "xlmr", "gemma", "llama", "nllb", "roberta", "modernbert", "clip", "bert", "bert_cased", "bytes"}

// Load reads the recorded case of a name.
func Load(tb testing.TB, name string) (c Case) {
	tb.Helper()
	require.NoError(tb, json.Unmarshal(Read(tb, name+".json"), &c))
	c.Tokenizer = WithCharsMap(tb, c.Tokenizer)
	return c
}

// ModelCase is a sentencepiece .model with what it made of the texts.
type ModelCase struct {
	Model   []byte `json:"-"`
	NFKC    bool   `json:"nmt_nfkc"` // whether it normalizes by the character map
	IDs     [][]int32
	Decoded []string // of the ids
}

// Models are the names of the sentencepiece models.
var Models = []string{"t5", "xlmr", "bytes", "suffix", "bpe", "gemma"}

// LoadModel returns a sentencepiece model. The shared character map is added to
// its normalizer_spec, which protobuf allows at the end of a message.
func LoadModel(tb testing.TB, name string) (c ModelCase) {
	tb.Helper()
	require.NoError(tb, json.Unmarshal(Read(tb, name+".model.json"), &c))
	c.Model = Read(tb, name+".model")
	if c.NFKC {
		spec := protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), CharsMap(tb))
		c.Model = protowire.AppendBytes(protowire.AppendTag(c.Model, 3, protowire.BytesType), spec)
	}
	return c
}
