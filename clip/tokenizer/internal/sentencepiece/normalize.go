package sentencepiece

import (
	"strings"
	"unicode/utf8"
)

func runeLen(s string) int {
	_, size := utf8.DecodeRuneInString(s)
	return size
}

// prefix returns what the start of a text becomes, and its length in bytes.
func (m *Model) prefix(text string) (string, int) {
	if length, _ := m.symbols.Longest(text); length > 0 {
		return text[:length], length
	}
	if replacement, length := m.chars.Longest(text); length > 0 {
		return replacement, length
	}
	size := runeLen(text)
	return text[:size], size
}

// normalize maps characters, strips and joins blanks and makes them visible.
func (m *Model) normalize(text string) string {
	s := m.spec
	if s.removeExtraSpace {
		for text != "" {
			to, size := m.prefix(text)
			if to != " " {
				break
			}
			text = text[size:]
		}
	}
	if text == "" {
		return ""
	}
	blank := " "
	if s.escapeSpace {
		blank = space
	}
	var b strings.Builder
	if s.addDummyPrefix && !s.suffix {
		b.WriteString(blank)
	}
	afterBlank := s.removeExtraSpace
	for text != "" {
		to, size := m.prefix(text)
		text = text[size:]
		if afterBlank {
			to = strings.TrimLeft(to, " ")
		}
		if to != "" {
			b.WriteString(strings.ReplaceAll(to, " ", blank))
			afterBlank = s.removeExtraSpace && strings.HasSuffix(to, " ")
		}
	}
	out := b.String()
	if s.removeExtraSpace {
		for strings.HasSuffix(out, blank) {
			out = out[:len(out)-len(blank)]
		}
	}
	if s.addDummyPrefix && s.suffix {
		out += blank
	}
	return out
}

// writeBytes writes bytes as UTF-8, U+FFFD for each that is none.
func writeBytes(b *strings.Builder, bytes []byte) {
	for len(bytes) > 0 {
		r, size := utf8.DecodeRune(bytes)
		b.WriteRune(r)
		bytes = bytes[size:]
	}
}
