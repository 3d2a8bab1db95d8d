package tokenizer_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
)

func TestLoadEmojiCLIP(t *testing.T) {
	tok, err := tokenizer.Load(os.DirFS("../emoji-clip"))
	require.NoError(t, err)
	assert.Equal(t, 3014, tok.VocabSize())
	assert.Equal(t, int32(3012), tok.SOT())
	assert.Equal(t, int32(3013), tok.EOT())
	require.NoError(t, tok.Fits(3014))
	// Ids from open_clip's reference run of this model.
	assert.Equal(t, [][]int32{
		{3012, 1829, 1336, 3013, 0, 0, 0, 0},
		{3012, 1653, 1806, 754, 3013, 0, 0, 0},
		{3012, 1140, 119, 2470, 3013, 0, 0, 0},
	}, tokenize(t, tok, 8, "birthday cake", "Fire  Engine", "strawberry"))
}

func TestFitsNamesTheFile(t *testing.T) {
	err := tokenizer.Default().Fits(49407)
	require.ErrorIs(t, err, tokenizer.ErrVocabulary)
	for _, part := range []string{"bpe_simple_vocab_16e6.txt.gz", "49408", "49407"} {
		assert.ErrorContains(t, err, part)
	}
}

// byteTokens lists CLIP's 512 tokens of one byte.
func byteTokens(t testing.TB) []string {
	t.Helper()
	data, err := os.ReadFile("../emoji-clip/vocab.json")
	require.NoError(t, err)
	var ids map[string]int
	require.NoError(t, json.Unmarshal(data, &ids))
	var tokens []string
	for token := range ids {
		if len([]rune(strings.TrimSuffix(token, "</w>"))) == 1 {
			tokens = append(tokens, token)
		}
	}
	require.Len(t, tokens, 512)
	return tokens
}

// vocabJSON numbers tokens in order.
func vocabJSON(t testing.TB, tokens ...string) []byte {
	t.Helper()
	ids := make(map[string]int)
	for id, token := range tokens {
		ids[token] = id
	}
	data, err := json.Marshal(ids)
	require.NoError(t, err)
	return data
}

func folder(files map[string][]byte) fs.FS {
	fsys := fstest.MapFS{}
	for name, data := range files {
		fsys[name] = &fstest.MapFile{Data: data}
	}
	return fsys
}

func TestLoadHuggingFaceNames(t *testing.T) {
	tokens := append(byteTokens(t), "ab", "abc</w>", "<|startoftext|>", "<|endoftext|>")
	tok, err := tokenizer.Load(folder(map[string][]byte{
		"vocab.json": vocabJSON(t, tokens...),
		"merges.txt": []byte("#version: 0.2\r\na b\r\nab c</w>\r\n"),
	}))
	require.NoError(t, err)
	assert.Equal(t, [][]int32{{514, 513, 515, 515, 0}}, tokenize(t, tok, 5, "ABC <|EndOfText|>"))
}

func TestLoadFindsBPEFile(t *testing.T) {
	data, err := os.ReadFile("bpe_simple_vocab_16e6.txt.gz")
	require.NoError(t, err)
	tok, err := tokenizer.Load(folder(map[string][]byte{"bpe_simple_vocab_16e6.txt.gz": data}))
	require.NoError(t, err)
	assert.Equal(t, tokenizer.Default().Encode("a photo"), tok.Encode("a photo"))
}

func zip(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestLoadBadBPEFile(t *testing.T) {
	good, err := os.ReadFile("bpe_simple_vocab_16e6.txt.gz")
	require.NoError(t, err)
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 0x40
	cases := map[string]struct {
		data []byte
		want string
	}{
		"empty":      {nil, "not a gzip file"},
		"no gzip":    {[]byte("<!DOCTYPE html><html>not found</html>"), "not a gzip file"},
		"cut":        {good[:len(good)/2], "cut short"},
		"damaged":    {flipped, "damaged"},
		"few lines":  {zip(t, "#version: 0.2\ni n\nt h\n"), "3 lines"},
		"no merges":  {zip(t, "heading\n"+strings.Repeat("one two three\n", 48894)), ":2: "},
		"unknown":    {zip(t, "heading\n"+strings.Repeat("xx yy\n", 48894)), "do not merge"},
		"not spelt":  {zip(t, "heading\n"+strings.Repeat("猫 犬\n", 48894)), "byte alphabet"},
		"huge":       {zip(t, strings.Repeat("\n", 17<<20)), "more than 16 MiB"},
		"whitespace": {zip(t, " \n \n"), "2 lines"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := tokenizer.Load(folder(map[string][]byte{"bpe_simple_vocab_16e6.txt.gz": c.data}))
			require.ErrorIs(t, err, tokenizer.ErrVocabulary)
			assert.ErrorContains(t, err, "bpe_simple_vocab_16e6.txt.gz")
			assert.ErrorContains(t, err, c.want)
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestLoadBadHuggingFaceFiles(t *testing.T) {
	tokens := append(byteTokens(t), "ab", "<start_of_text>", "<end_of_text>")
	good := map[string][]byte{"vocab.json": vocabJSON(t, tokens...), "merges.txt": []byte("a b\n")}
	_, err := tokenizer.Load(folder(good))
	require.NoError(t, err)

	vocab := func(text string) map[string][]byte { return map[string][]byte{"vocab.json": []byte(text)} }
	merges := func(text string) map[string][]byte { return map[string][]byte{"merges.txt": []byte(text)} }
	tokenList := func(tokens ...string) map[string][]byte { return vocab(string(vocabJSON(t, tokens...))) }
	noSlash := append([]string{"/x"}, tokens...)
	cases := map[string]struct {
		change map[string][]byte
		want   []string
	}{
		"empty":            {vocab(""), []string{"vocab.json", "not a JSON object"}},
		"cut":              {vocab(string(good["vocab.json"][:3000])), []string{"vocab.json", "not a JSON object"}},
		"no JSON":          {vocab("version https://git-lfs.github.com/spec/v1"), []string{"vocab.json"}},
		"array":            {vocab(`["a", "b"]`), []string{"vocab.json", "not a JSON object"}},
		"null":             {vocab(`null`), []string{"vocab.json"}},
		"id is no integer": {vocab(`{"a": 0.5}`), []string{"vocab.json"}},
		"id too large":     {vocab(`{"a": 0, "b": 2}`), []string{"vocab.json", `id 2 of "b"`, "0 to 1"}},
		"id negative":      {vocab(`{"a": -1, "b": 0}`), []string{"vocab.json", `id -1 of "a"`}},
		"id twice":         {vocab(`{"a": 0, "b": 0}`), []string{"vocab.json", "same id 0"}},
		"no byte token":    {tokenList(append([]string{"ab"}, tokens[1:512]...)...), []string{"vocab.json", "for byte 0x"}},
		"no special token": {tokenList(tokens[:514]...), []string{"vocab.json", "<end_of_text>"}},
		"not spelt":        {tokenList(append([]string{"猫"}, tokens...)...), []string{"vocab.json", `"猫"`}},
		"one token":        {merges("#version: 0.2\na b\nab\n"), []string{"merges.txt:3", `"ab"`}},
		"three tokens":     {merges("a b c\n"), []string{"merges.txt:1", `"a b c"`}},
		"empty line":       {merges("a b\n\na b\n"), []string{"merges.txt:2"}},
		"no merges":        {merges(""), []string{"merges.txt:1"}},
		"unknown result":   {merges("a b\nb c\n"), []string{"merges.txt:2", "vocab.json"}},
		"merges missing":   {merges("#version: 0.2\n"), []string{"merges.txt", `"ab"`}},
		"too many merges":  {merges(strings.Repeat("a b\n", 1<<20+1)), []string{"merges.txt", "1048577 lines, at most 1048576"}},
		"merges too long":  {merges(strings.Repeat(" ", 32<<20+1)), []string{"merges.txt", "33554433 bytes, at most 33554432"}},
		"vocab too long":   {vocab(strings.Repeat(" ", 32<<20+1)), []string{"vocab.json", "33554433 bytes, at most 33554432"}},
		"binary merges":    {merges("\x00\x01\x02\xff"), []string{"merges.txt:1"}},
		"unreachable":      {tokenList(noSlash...), []string{"merges.txt", `"/x"`}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			files := maps.Clone(good)
			maps.Copy(files, c.change)
			_, err := tokenizer.Load(folder(files))
			require.ErrorIs(t, err, tokenizer.ErrVocabulary)
			for _, part := range c.want {
				assert.ErrorContains(t, err, part)
			}
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestLoadMissingFiles(t *testing.T) {
	_, err := tokenizer.Load(folder(nil))
	require.ErrorIs(t, err, fs.ErrNotExist)

	_, err = tokenizer.Load(folder(map[string][]byte{"vocab.json": []byte("{}")}))
	require.ErrorIs(t, err, tokenizer.ErrVocabulary)
	assert.ErrorContains(t, err, "vocab.json without merges.txt")

	_, err = tokenizer.Load(folder(map[string][]byte{"merges.txt": []byte("a b")}))
	require.ErrorIs(t, err, tokenizer.ErrVocabulary)
	assert.ErrorContains(t, err, "merges.txt without vocab.json")

	_, err = tokenizer.Load(folder(map[string][]byte{"vocab.json/file": nil, "merges.txt": nil}))
	require.ErrorIs(t, err, tokenizer.ErrVocabulary)
	assert.ErrorContains(t, err, "vocab.json is no regular file")

	_, err = tokenizer.Load(unreadable{})
	require.ErrorIs(t, err, fs.ErrPermission)
	assert.ErrorContains(t, err, "vocab.json")
}

// unreadable is a folder that may not be read.
type unreadable struct{}

func (unreadable) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}
