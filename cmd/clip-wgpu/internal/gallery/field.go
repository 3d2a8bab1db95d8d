package gallery

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// field is a line of text that is being edited.
type field struct {
	text  []rune
	caret int // runes before it
}

// maxText is more than any model takes.
const maxText = 1000

func (f *field) String() string { return string(f.text) }

func (f *field) clear() { f.text, f.caret = nil, 0 }

// insert writes at the caret, lines as one, and says whether anything was written.
func (f *field) insert(s string) bool {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || r == utf8.RuneError:
			return -1
		}
		return r
	}, s)
	typed := []rune(s)
	typed = typed[:min(len(typed), maxText-len(f.text))]
	text := append([]rune{}, f.text[:f.caret]...)
	f.text = append(append(text, typed...), f.text[f.caret:]...)
	f.caret += len(typed)
	return len(typed) > 0
}

// remove takes out the runes from the caret to another place.
func (f *field) remove(to int) bool {
	from := f.caret
	if to < from {
		from, to = to, from
	}
	f.text = append(append([]rune{}, f.text[:from]...), f.text[to:]...)
	f.caret = from
	return from < to
}

// left is the place before the caret by a rune or a word, right the one after.
func (f *field) left(word bool) int {
	i := f.caret
	for word && i > 0 && f.text[i-1] == ' ' {
		i--
	}
	for word && i > 1 && f.text[i-1] != ' ' && f.text[i-2] != ' ' {
		i--
	}
	return max(i-1, 0)
}

func (f *field) right(word bool) int {
	i := f.caret
	for word && i < len(f.text) && f.text[i] == ' ' {
		i++
	}
	for word && i+1 < len(f.text) && f.text[i] != ' ' && f.text[i+1] != ' ' {
		i++
	}
	return min(i+1, len(f.text))
}
