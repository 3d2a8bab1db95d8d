// Package tokenizer turns text into the token ids that CLIP's text tower reads.
//
// It computes exactly what SimpleTokenizer in open_clip's tokenizer.py does:
// the text is cleaned (ftfy's repairs, HTML entities, white space, case), split
// into words, and each word's UTF-8 bytes are joined by byte-pair encoding. The
// package needs neither cgo nor a GPU.
//
// Which characters are letters, white space or lower case is decided as in the
// reference environment: CPython 3.11 (Unicode 14) with the regex module
// 2022.10.31 (Unicode 15). Go 1.26 has Unicode 15, too; with a later Go only
// characters newer than that may split differently.
package tokenizer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/pytext"
)

// DefaultContextLength is the row length, in tokens, of OpenAI's CLIP models.
const DefaultContextLength = 77

// ErrTokenID reports an id that is not in the vocabulary.
var ErrTokenID = errors.New("token id outside the vocabulary")

// Tokenizer encodes and decodes text. It never changes after it was made and is
// safe for concurrent use.
type Tokenizer struct {
	vocab *vocabulary
	clean Clean
}

// WithClean returns a tokenizer with the same vocabulary and another cleaning
// of the text. The error names the cleanings there are.
func (t *Tokenizer) WithClean(clean Clean) (*Tokenizer, error) {
	if _, ok := cleanings[clean]; !ok {
		return nil, fmt.Errorf("tokenizer: unknown text cleaning %q, want %s, %s, %s or %s", string(clean),
			CleanLower, CleanCanonicalize, CleanWhitespace, CleanWhitespaceUnderscore)
	}
	return &Tokenizer{vocab: t.vocab, clean: clean}, nil
}

// VocabSize returns the number of tokens; ids are 0 to VocabSize()-1.
func (t *Tokenizer) VocabSize() int { return len(t.vocab.tokens) }

// SOT returns the id of the start-of-text token.
func (t *Tokenizer) SOT() int32 { return t.vocab.sot }

// EOT returns the id of the end-of-text token.
func (t *Tokenizer) EOT() int32 { return t.vocab.eot }

// Fits returns an error wrapping [ErrVocabulary] unless every id is below
// vocabSize, the number of rows of a model's token embedding.
func (t *Tokenizer) Fits(vocabSize int) error {
	if t.VocabSize() <= vocabSize {
		return nil
	}
	return fmt.Errorf("%w: %s has %d tokens, but the model's vocab_size is %d",
		ErrVocabulary, t.vocab.file, t.VocabSize(), vocabSize)
}

// Encode returns the ids of the cleaned text without start and end of text. A
// literal start- or end-of-text token in it becomes that id. Bytes that are not
// UTF-8 count as U+FFFD, as Python's decode("utf-8", "replace") reads them.
func (t *Tokenizer) Encode(text string) []int32 {
	cleaned := cleanings[t.clean](pytext.DecodeUTF8(text))
	var ids []int32
	for word := range t.vocab.words(cleaned) {
		ids = t.vocab.encodeWord(ids, word)
	}
	return ids
}

// Tokenize returns one row of contextLength ids per text: start of text, the
// text's ids, end of text, zeros. Of a text that is too long the first ids are
// kept, and the last one of its row is end of text. A contextLength below 1
// means [DefaultContextLength].
func (t *Tokenizer) Tokenize(texts []string, contextLength int) [][]int32 {
	if contextLength < 1 {
		contextLength = DefaultContextLength
	}
	rows := make([][]int32, len(texts))
	for i, text := range texts {
		ids := append([]int32{t.vocab.sot}, t.Encode(text)...)
		ids = append(ids, t.vocab.eot)
		rows[i] = make([]int32, contextLength)
		if copy(rows[i], ids) < len(ids) {
			rows[i][contextLength-1] = t.vocab.eot
		}
	}
	return rows
}

// Decode returns the text of the ids, special tokens spelled out and a space
// after each word. Bytes that form no UTF-8 become U+FFFD. The error wraps
// [ErrTokenID] and names the position of an id that is not in the vocabulary.
func (t *Tokenizer) Decode(ids []int32) (string, error) {
	var b strings.Builder
	for i, id := range ids {
		if id < 0 || int(id) >= t.VocabSize() {
			return "", fmt.Errorf("tokenizer: %w: id %d at position %d, want 0 to %d",
				ErrTokenID, id, i, t.VocabSize()-1)
		}
		b.WriteString(t.vocab.tokens[id])
	}
	return strings.ReplaceAll(pytext.DecodeUTF8(b.String()), endOfWord, " "), nil
}
