package tokenizer

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/subword"
	"github.com/clip-wgpu/clip-wgpu/internal/guard"
)

// The names of vocabulary files beside a model.
const (
	vocabFile  = "vocab.json"
	mergesFile = "merges.txt"
	bpeFile    = "bpe_simple_vocab_16e6.txt.gz"
)

// bpeMerges is how many merges of bpeFile CLIP uses: its 49,152 tokens were
// meant to hold 256 bytes and two special tokens besides.
const bpeMerges = 49152 - 256 - 2

// Bounds on the bytes of files and on the lines of lists, beyond every published
// vocabulary and small enough for the memory that they become.
const (
	maxBPESize       = 16 << 20 // unpacked; CLIP's: 3.1 MB
	maxVocabSize     = 32 << 20 // of vocab.json, merges.txt and vocab.txt; CLIP's: 0.9 MB
	maxTokenizerSize = 64 << 20 // of tokenizer.json; Gemma's: 34 MB
	maxModelSize     = 8 << 20  // of sentencepiece models and Hugging Face's configs; XLM-R's: 5 MB
	maxLines         = 1 << 20  // CLIP's merges: 48,894
)

//go:embed bpe_simple_vocab_16e6.txt.gz
var embeddedBPE []byte

var defaultVocabulary = sync.OnceValue(func() *vocabulary {
	v, err := parseBPE(embeddedBPE)
	if err != nil {
		panic(err) // the file is part of the program
	}
	return v
})

// Default returns the tokenizer of OpenAI's CLIP models and of most others:
// 49,408 tokens, lower-case cleaning.
func Default() *Tokenizer {
	return defaultVocabulary().tokenizer()
}

// Load returns the tokenizer whose files lie at the root of fsys: vocab.json and
// merges.txt in the format of Hugging Face's CLIPTokenizer or, where there is
// neither, a bpe_simple_vocab_16e6.txt.gz. Its cleaning is [CleanLower].
//
// Errors name the file. They wrap [fs.ErrNotExist] if fsys holds no vocabulary,
// the error of a read that failed, and [ErrVocabulary] otherwise.
func Load(fsys fs.FS) (t *Tokenizer, err error) {
	defer guard.Catch(&err)
	files := make(map[string][]byte)
	for _, name := range []string{vocabFile, mergesFile, bpeFile} {
		data, found, err := readFile(fsys, name, maxVocabSize)
		if err != nil {
			return nil, err
		}
		if found {
			files[name] = data
		}
	}
	vocab, hasVocab := files[vocabFile]
	merges, hasMerges := files[mergesFile]
	bpe, hasBPE := files[bpeFile]
	var v *vocabulary
	switch {
	case hasVocab && hasMerges:
		v, err = parseHuggingFace(vocab, merges)
	case hasVocab:
		err = fmt.Errorf("%w: %s without %s", ErrVocabulary, vocabFile, mergesFile)
	case hasMerges:
		err = fmt.Errorf("%w: %s without %s", ErrVocabulary, mergesFile, vocabFile)
	case hasBPE:
		v, err = parseBPE(bpe)
	default:
		err = fmt.Errorf("tokenizer: no %s with %s and no %s: %w", vocabFile, mergesFile, bpeFile, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	return v.tokenizer(), nil
}

// readFile reads a file that may be missing and has at most limit bytes. A pipe
// or device is not opened, since that could block.
func readFile(fsys fs.FS, name string, limit int64) (data []byte, found bool, err error) {
	info, err := fs.Stat(fsys, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, nil
	case err == nil && !info.Mode().IsRegular():
		return nil, false, fmt.Errorf("%w: %s is no regular file", ErrVocabulary, name)
	case err == nil && info.Size() > limit:
		return nil, false, fmt.Errorf("%w: %s has %d bytes, at most %d expected", ErrVocabulary, name, info.Size(), limit)
	case err == nil:
		data, err = fs.ReadFile(fsys, name)
	}
	if err != nil {
		return nil, false, fmt.Errorf("tokenizer: %w", err)
	}
	return data, true, nil
}

// mergeLine is one line of a list of merges.
type mergeLine struct {
	left, right string
	number      int // of the line, from 1
}

// parseMerges reads lines of two tokens each, the first of which is line number
// first of the file.
func parseMerges(text, file string, first int) ([]mergeLine, error) {
	n := strings.Count(text, "\n") + 1
	if n > maxLines {
		return nil, fmt.Errorf("%w: %s: %d lines, at most %d expected", ErrVocabulary, file, n, maxLines)
	}
	merges := make([]mergeLine, 0, n)
	for line := range strings.SplitSeq(text, "\n") {
		fields, number := strings.Fields(line), first+len(merges)
		if len(fields) != 2 {
			return nil, fmt.Errorf("%w: %s:%d: %.60q is no merge of two tokens", ErrVocabulary, file, number, line)
		}
		merges = append(merges, mergeLine{fields[0], fields[1], number})
	}
	return merges, nil
}

// parseBPE reads OpenAI's vocabulary: a gzip'd list of merges, from which the
// tokens follow.
func parseBPE(data []byte) (*vocabulary, error) {
	unzip, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: not a gzip file: %w", ErrVocabulary, bpeFile, err)
	}
	text, err := io.ReadAll(io.LimitReader(unzip, maxBPESize+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: damaged or cut short: %w", ErrVocabulary, bpeFile, err)
	}
	if len(text) > maxBPESize {
		return nil, fmt.Errorf("%w: %s: unpacks to more than %d MiB", ErrVocabulary, bpeFile, maxBPESize>>20)
	}
	lines := strings.SplitN(strings.TrimRight(string(text), "\n"), "\n", 1+bpeMerges+1)
	if len(lines) < 1+bpeMerges {
		return nil, fmt.Errorf("%w: %s: %d lines, want a heading and %d merges", ErrVocabulary, bpeFile, len(lines), bpeMerges)
	}
	merges, err := parseMerges(strings.Join(lines[1:1+bpeMerges], "\n"), bpeFile, 2)
	if err != nil {
		return nil, err
	}
	return newVocabulary(bpeTokens(merges), bpeFile, merges, bpeFile)
}

// bpeTokens lists the tokens that merges imply: bytes, the printable ones of
// Latin-1 first, bytes that end a word, merges, start and end of text.
func bpeTokens(merges []mergeLine) []string {
	alphabet := slices.Clone(subword.ByteAlphabet[:])
	slices.Sort(alphabet)
	tokens := make([]string, 0, 2*len(alphabet)+len(merges)+2)
	for _, char := range alphabet {
		tokens = append(tokens, string(char))
	}
	for _, char := range alphabet {
		tokens = append(tokens, string(char)+endOfWord)
	}
	for _, m := range merges {
		tokens = append(tokens, m.left+m.right)
	}
	return append(tokens, specialNames[0][0], specialNames[1][0])
}

// parseMergesFile reads a merges.txt, which may start with its version.
func parseMergesFile(data []byte) ([]mergeLine, error) {
	text, first := strings.TrimRight(string(data), "\r\n"), 1
	if strings.HasPrefix(text, "#version") {
		var more bool
		if _, text, more = strings.Cut(text, "\n"); !more {
			return nil, nil
		}
		first = 2
	}
	return parseMerges(text, mergesFile, first)
}

// parseHuggingFace reads a vocab.json, which maps tokens to ids, and its
// merges.txt.
func parseHuggingFace(vocabJSON, mergesText []byte) (*vocabulary, error) {
	var ids map[string]int64
	if err := json.Unmarshal(vocabJSON, &ids); err != nil {
		return nil, fmt.Errorf("%w: %s: not a JSON object of token ids: %w", ErrVocabulary, vocabFile, err)
	}
	tokens, used := make([]string, len(ids)), make([]bool, len(ids))
	for token, id := range ids {
		if id < 0 || id >= int64(len(ids)) {
			return nil, fmt.Errorf("%w: %s: id %d of %q, want 0 to %d for %d tokens", ErrVocabulary, vocabFile,
				id, token, len(ids)-1, len(ids))
		}
		if used[id] {
			return nil, fmt.Errorf("%w: %s: %q and %q have the same id %d", ErrVocabulary, vocabFile, token, tokens[id], id)
		}
		tokens[id], used[id] = token, true
	}
	merges, err := parseMergesFile(mergesText)
	if err != nil {
		return nil, err
	}
	v, err := newVocabulary(tokens, vocabFile, merges, mergesFile)
	if err != nil {
		return nil, err
	}
	return v, v.checkReachable()
}
