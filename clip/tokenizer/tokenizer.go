// Package tokenizer turns text into the token ids that CLIP's text tower reads.
//
// It computes exactly what SimpleTokenizer, HFTokenizer and TikTokenTokenizer in
// open_clip's tokenizer.py do: the text is cleaned (ftfy's repairs, HTML entities,
// white space, case) and split into the tokens of a vocabulary: CLIP's own, that of
// a Hugging Face tokenizer.json, of a sentencepiece model or of tiktoken's ranks.
// The package needs neither cgo nor a GPU.
//
// Which characters are letters, white space or lower case is decided as in the
// reference environment: CPython 3.11 (Unicode 14) with the regex module
// 2022.10.31 (Unicode 15). Go 1.26 has Unicode 15, too; with a later Go only
// characters newer than that may split differently. (Hugging Face's Rust library
// has tables as old as Unicode 8 for punctuation and marks: characters newer than
// that may split differently from it.)
package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/pytext"
	"github.com/clip-wgpu/clip-wgpu/internal/guard"
)

// DefaultContextLength is the row length, in tokens, of OpenAI's CLIP models.
const DefaultContextLength = 77

// ErrTokenID reports an id that is not in the vocabulary.
var ErrTokenID = errors.New("token id outside the vocabulary")

// Tokenizer encodes and decodes text. It never changes after it was made and is
// safe for concurrent use.
type Tokenizer struct {
	coder coder
	file  string // where the tokens are from, for errors
	clean Clean  // none when empty
	frame frame

	language string // the token within the frame that says what texts are in; empty without
}

// coder is a vocabulary with its way to split text.
type coder interface {
	// Encode returns the ids of a cleaned text, which is UTF-8, without special
	// tokens around them.
	Encode(text string) []int32
	// Decode returns the text of ids that are tokens.
	Decode(ids []int32) string
	Token(id int32) (string, bool)
	Find(token string) (int32, bool)
	// VocabSize is the highest id and one.
	VocabSize() int
}

// none is an id that no token has.
const none = -1

// frame is what a row holds besides the text's ids.
type frame struct {
	prefix, suffix []int32
	pad            int32
	sot, eot       int32 // none without
	sep            int32 // replaced by padding; none without
	last           int32 // at the end of the row, after the padding; none without
	keepEnd        bool  // a text that is too long loses its start
}

// WithClean returns a tokenizer with the same vocabulary and another cleaning
// of the text. The error names the cleanings there are.
func (t *Tokenizer) WithClean(clean Clean) (*Tokenizer, error) {
	if _, ok := cleanings[clean]; !ok {
		return nil, fmt.Errorf("tokenizer: unknown text cleaning %q, want %s, %s, %s or %s", string(clean),
			CleanLower, CleanCanonicalize, CleanWhitespace, CleanWhitespaceUnderscore)
	}
	cleaned := *t
	cleaned.clean = clean
	return &cleaned, nil
}

// VocabSize returns the number of tokens; ids are 0 to VocabSize()-1. (A
// tokenizer.json may leave some out.)
func (t *Tokenizer) VocabSize() int { return t.coder.VocabSize() }

// SOT returns the id of the start-of-text token (Hugging Face's bos or cls
// token), -1 if there is none.
func (t *Tokenizer) SOT() int32 { return t.frame.sot }

// EOT returns the id of the end-of-text token (Hugging Face's eos or sep token),
// -1 if there is none.
func (t *Tokenizer) EOT() int32 { return t.frame.eot }

// Fits returns an error wrapping [ErrVocabulary] unless every id that a text can
// have is below vocabSize, the number of rows of a model's token embedding. Only
// tokens named in brackets, such as the <extra_id_0> of T5's vocabularies, may
// lie beyond it, as published models have them.
func (t *Tokenizer) Fits(vocabSize int) error {
	own := slices.Concat(t.frame.prefix, t.frame.suffix, []int32{t.frame.pad, t.frame.last})
	beyond := slices.Max(own) >= int32(vocabSize)
	for id := vocabSize; id < t.VocabSize() && !beyond; id++ {
		token, ok := t.coder.Token(int32(id))
		beyond = ok && !isNamed(strings.TrimPrefix(token, "\u2581"))
	}
	if !beyond {
		return nil
	}
	return fmt.Errorf("%w: %s has %d tokens, but the model's vocab_size is %d",
		ErrVocabulary, t.file, t.VocabSize(), vocabSize)
}

// Encode returns the ids of the cleaned text without start and end of text. A
// literal special token in it becomes that id. Bytes that are not UTF-8 count as
// U+FFFD, as Python's decode("utf-8", "replace") reads them.
func (t *Tokenizer) Encode(text string) []int32 {
	text = pytext.DecodeUTF8(text)
	if t.clean != "" {
		text = cleanings[t.clean](text)
	}
	return t.coder.Encode(text)
}

// TextError is the error of one of several texts.
type TextError struct {
	Index int // of the text
	Err   error
}

func (e *TextError) Error() string { return fmt.Sprintf("text %d: %v", e.Index, e.Err) }

// Unwrap returns Err.
func (e *TextError) Unwrap() error { return e.Err }

// Row is a text as a text tower reads it.
type Row struct {
	IDs       []int32 // as many as the context length
	Filled    int     // how many of them come before the padding
	Truncated int     // how many ids of the text were left out because the context is too short
}

// Row returns the row of one text, for CLIP's own tokenizer: start of text, the
// text's ids, end of text, zeros. Of a text that is too long the first ids are
// kept, and the last one of its row is end of text. A contextLength below 1 means
// [DefaultContextLength].
//
// Every text can be tokenized, so that an error means a defect of this package.
func (t *Tokenizer) Row(text string, contextLength int) (Row, error) {
	if contextLength < 1 {
		contextLength = DefaultContextLength
	}
	ids, err := t.encode(text)
	if err != nil {
		return Row{}, err
	}
	row := t.frame.around(ids, contextLength)
	r := Row{Filled: len(row), Truncated: max(0, t.frame.special()+len(ids)-contextLength)}
	for len(row) < contextLength {
		row = append(row, t.frame.pad)
	}
	if t.frame.last != none {
		row[contextLength-1] = t.frame.last
	}
	r.IDs = row
	return r, nil
}

// Tokenize returns one [Tokenizer.Row] of contextLength ids per text. Its error is a
// *[TextError] about the first text that has one.
func (t *Tokenizer) Tokenize(texts []string, contextLength int) ([][]int32, error) {
	return t.rows(texts, contextLength, func(r Row) []int32 { return r.IDs })
}

// Unpadded returns the rows of Tokenize without the padding at their ends (the
// pad=False of open_clip's tokenizers). Its errors are those of Tokenize.
func (t *Tokenizer) Unpadded(texts []string, contextLength int) ([][]int32, error) {
	return t.rows(texts, contextLength, func(r Row) []int32 { return r.IDs[:r.Filled:r.Filled] })
}

func (t *Tokenizer) rows(texts []string, contextLength int, ids func(Row) []int32) ([][]int32, error) {
	rows := make([][]int32, len(texts))
	for i, text := range texts {
		row, err := t.Row(text, contextLength)
		if err != nil {
			return nil, &TextError{i, err}
		}
		rows[i] = ids(row)
	}
	return rows, nil
}

// encode is Encode, but a panic becomes an error.
func (t *Tokenizer) encode(text string) (ids []int32, err error) {
	defer guard.Catch(&err)
	return t.Encode(text), nil
}

// special counts the ids around a text's own.
func (f *frame) special() int {
	n := len(f.prefix) + len(f.suffix)
	if f.last != none {
		n++
	}
	return n
}

// around returns ids between the special tokens, cut to the length.
func (f *frame) around(ids []int32, length int) []int32 {
	maxIDs := max(0, length-f.special())
	if f.last != none {
		length--
	}
	if len(ids) > maxIDs && f.keepEnd {
		ids = ids[len(ids)-maxIDs:]
	} else if len(ids) > maxIDs {
		ids = ids[:maxIDs]
	}
	row := slices.Concat(f.prefix, ids, f.suffix)
	if len(row) > length { // not even the special tokens fit
		row = row[len(row)-length:]
	}
	if f.sep != none {
		for i, id := range row {
			if id == f.sep {
				row[i] = f.pad
			}
		}
	}
	return row
}

// Decode returns the text of the ids. CLIP's own tokenizer spells out special
// tokens and puts a space after each word; others do as their own decoder does.
// Bytes that form no UTF-8 become U+FFFD. The error wraps [ErrTokenID] and names
// the position of an id that is not in the vocabulary.
func (t *Tokenizer) Decode(ids []int32) (text string, err error) {
	defer guard.Catch(&err)
	for i, id := range ids {
		if _, ok := t.coder.Token(id); !ok {
			return "", fmt.Errorf("tokenizer: %w: id %d at position %d, want 0 to %d",
				ErrTokenID, id, i, t.VocabSize()-1)
		}
	}
	return t.coder.Decode(ids), nil
}
