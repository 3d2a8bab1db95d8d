package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/pytext"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/subword"
)

// ErrVocabulary reports vocabulary files that cannot be used. The error's text
// names the file.
var ErrVocabulary = errors.New("tokenizer: unusable vocabulary")

// vocabulary is the tokens and merges of one model.
type vocabulary struct {
	file         string   // where the tokens are from, for errors
	tokens       []string // bytes of each token by id, endOfWord spelled out
	inner, final [256]int32
	merges       map[pair]merge
	specials     [2]string // start and end of text
	sot, eot     int32
}

func (v *vocabulary) tokenizer() *Tokenizer {
	return &Tokenizer{coder: v, file: v.file, clean: CleanLower, frame: frame{
		prefix: []int32{v.sot}, suffix: []int32{v.eot}, sot: v.sot, eot: v.eot, sep: none, last: none,
	}}
}

func (v *vocabulary) VocabSize() int { return len(v.tokens) }

func (v *vocabulary) Token(id int32) (string, bool) {
	if id < 0 || int(id) >= len(v.tokens) {
		return "", false
	}
	return v.tokens[id], true
}

func (v *vocabulary) Find(token string) (int32, bool) {
	id := slices.Index(v.tokens, token)
	return int32(id), id >= 0
}

func (v *vocabulary) Encode(text string) (ids []int32) {
	for word := range v.words(text) {
		ids = v.encodeWord(ids, word)
	}
	return ids
}

func (v *vocabulary) Decode(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(v.tokens[id])
	}
	return strings.ReplaceAll(pytext.DecodeUTF8(b.String()), endOfWord, " ")
}

// specialNames are the names of start and end of text in open_clip and in
// Hugging Face's files.
var specialNames = [2][]string{
	{"<start_of_text>", "<|startoftext|>"},
	{"<end_of_text>", "<|endoftext|>"},
}

// newVocabulary builds a vocabulary from tokens, listed by id and spelled in the
// byte alphabet, and merges, listed by rank. Errors name the two files.
func newVocabulary(tokens []string, tokenFile string, merges []mergeLine, mergeFile string) (*vocabulary, error) {
	v := &vocabulary{file: tokenFile, tokens: make([]string, len(tokens)), merges: make(map[pair]merge, len(merges))}
	ids := make(map[string]int32, len(tokens))
	for id, token := range tokens {
		bytes, ok := bytesOf(token)
		if !ok {
			return nil, fmt.Errorf("%w: %s: token %q is not spelled in CLIP's byte alphabet", ErrVocabulary, tokenFile, token)
		}
		v.tokens[id], ids[token] = bytes, int32(id)
	}
	for b, char := range subword.ByteAlphabet {
		inner, okInner := ids[string(char)]
		final, okFinal := ids[string(char)+endOfWord]
		if !okInner || !okFinal {
			return nil, fmt.Errorf("%w: %s: no token %q or no %q for byte 0x%02x", ErrVocabulary, tokenFile,
				string(char), string(char)+endOfWord, b)
		}
		v.inner[b], v.final[b] = inner, final
	}
	for rank, line := range merges {
		left, okLeft := ids[line.left]
		right, okRight := ids[line.right]
		id, okJoined := ids[line.left+line.right]
		if !okLeft || !okRight || !okJoined {
			return nil, fmt.Errorf("%w: %s:%d: %q and %q do not merge into a token of %s", ErrVocabulary, mergeFile,
				line.number, line.left, line.right, tokenFile)
		}
		v.merges[pair{left, right}] = merge{rank: int32(rank), id: id}
	}
	return v, v.findSpecials(ids)
}

func (v *vocabulary) findSpecials(ids map[string]int32) error {
	for i, id := range []*int32{&v.sot, &v.eot} {
		at := slices.IndexFunc(specialNames[i], func(name string) bool { _, ok := ids[name]; return ok })
		if at < 0 {
			return fmt.Errorf("%w: %s: no token %s", ErrVocabulary, v.file, strings.Join(specialNames[i], " or "))
		}
		v.specials[i] = specialNames[i][at]
		*id = ids[v.specials[i]]
	}
	return nil
}

// checkReachable returns an error if a token is neither a byte, nor what a merge
// makes, nor a name in brackets like the special tokens: merges are missing.
func (v *vocabulary) checkReachable() error {
	reachable := make([]bool, len(v.tokens))
	for b := range v.inner {
		reachable[v.inner[b]], reachable[v.final[b]] = true, true
	}
	for _, m := range v.merges {
		reachable[m.id] = true
	}
	for id, token := range v.tokens {
		if !reachable[id] && !isNamed(token) {
			return fmt.Errorf("%w: %s: no merge makes token %q (id %d) of %s", ErrVocabulary, mergesFile, token, id, v.file)
		}
	}
	return nil
}

// isNamed reports whether a token is a name in brackets, as special ones are.
func isNamed(token string) bool {
	return strings.HasPrefix(token, "<") && strings.HasSuffix(token, ">") ||
		strings.HasPrefix(token, "[") && strings.HasSuffix(token, "]")
}

// bytesOf returns the bytes that a token stands for.
func bytesOf(token string) (string, bool) {
	bytes := make([]byte, 0, len(token))
	for _, r := range token {
		b, ok := subword.AlphabetBytes[r]
		if !ok {
			return "", false
		}
		bytes = append(bytes, b)
	}
	return string(bytes), true
}
