package tokenizer

import (
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"
)

// contractions are the English endings that are words of their own.
var contractions = []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}

// words yields the words of text: special tokens, contractions, runs of
// letters, single numbers, runs of anything else but white space.
func (v *vocabulary) words(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for len(text) > 0 {
			size := v.wordLen(text)
			if size == 0 {
				_, skipped := utf8.DecodeRuneInString(text)
				text = text[skipped:]
				continue
			}
			if !yield(text[:size]) {
				return
			}
			text = text[size:]
		}
	}
}

// wordLen returns the length in bytes of the word at the start of text, 0 if
// there is none.
func (v *vocabulary) wordLen(text string) int {
	for _, literals := range [][]string{v.specials[:], contractions} {
		for _, literal := range literals {
			if size := foldPrefix(text, literal); size > 0 {
				return size
			}
		}
	}
	first, size := utf8.DecodeRuneInString(text)
	class := classOf(first)
	switch class {
	case gap:
		return 0
	case number:
		return size
	}
	if end := strings.IndexFunc(text, func(r rune) bool { return classOf(r) != class }); end >= 0 {
		return end
	}
	return len(text)
}

// foldPrefix returns the length in bytes of literal at the start of text in any
// case, 0 if it is not there. Unicode's case folding makes "ſ" an "s".
func foldPrefix(text, literal string) int {
	if text[0] != literal[0] {
		return 0
	}
	size := 0
	for _, want := range literal {
		r, n := utf8.DecodeRuneInString(text[size:])
		if !strings.EqualFold(string(r), string(want)) {
			return 0
		}
		size += n
	}
	return size
}

// class sorts characters for splitting.
type class int

const (
	gap class = iota
	letter
	number
	other
)

func classOf(r rune) class {
	switch {
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return number
	// U+0345, a combining mark whose case variants are letters, is neither a
	// letter nor anything else to the regex module when it ignores case.
	case unicode.IsSpace(r), r == '\u0345':
		return gap
	}
	return other
}
