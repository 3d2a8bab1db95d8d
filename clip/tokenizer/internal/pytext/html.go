package pytext

import (
	"errors"
	"html"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// Unescape is Python's html.unescape: HTML 5 character references, the old
// names without a semicolon also when they only start a longer word.
func Unescape(s string) string {
	if !strings.Contains(s, "&") {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for {
		before, after, found := strings.Cut(s, "&")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		text, size := reference(after)
		b.WriteString(text)
		s = after[size:]
	}
}

// Entity returns the text of an HTML 5 entity, named exactly: with its
// semicolon ("eacute;"), or without one for the 106 names that may omit it.
func Entity(name string) (string, bool) {
	// The only two names that the table of Go's html package lacks.
	switch name {
	case "nGt;":
		return "≫⃒", true
	case "nLt;":
		return "≪⃒", true
	}
	text := html.UnescapeString("&" + name)
	if strings.HasSuffix(name, ";") {
		// A semicolon left over means that no more than a prefix was known.
		return text, text == ";" || !strings.HasSuffix(text, ";")
	}
	return text, text != "&"+name && utf8.RuneCountInString(text) == 1
}

// reference decodes the character reference whose "&" is just before s and
// returns its text and how many bytes of s it took. What is no reference comes
// back as it was, with its "&".
func reference(s string) (text string, size int) {
	if strings.HasPrefix(s, "#") {
		return numericReference(s)
	}
	size = nameLen(s)
	name := s[:size]
	if size == 0 {
		return "&", 0
	}
	if strings.HasPrefix(s[size:], ";") {
		size++
	}
	if text, ok := Entity(s[:size]); ok {
		return text, size
	}
	const longest, shortest = 6, 2 // bytes of a name without semicolon
	for n := min(len(name), longest); n >= shortest; n-- {
		if text, ok := Entity(name[:n]); ok {
			return text, n
		}
	}
	return "&" + s[:size], size
}

// nameLen returns the length in bytes of the at most 32 characters at the
// start of s that Python takes for an entity's name.
func nameLen(s string) int {
	count := 0
	for i, r := range s {
		if count == 32 || strings.ContainsRune("\t\n\f <&#;", r) {
			return i
		}
		count++
	}
	return len(s)
}

// numericReference decodes "#123;" or "#x7b;", the semicolon optional.
func numericReference(s string) (text string, size int) {
	digits, base, set := s[1:], 10, "0123456789"
	if digits != "" && digits[0]|0x20 == 'x' {
		digits, base, set = digits[1:], 16, set+"abcdefABCDEF"
	}
	rest := strings.TrimLeft(digits, set)
	digits = digits[:len(digits)-len(rest)]
	if digits == "" {
		return "&", 0
	}
	code, err := strconv.ParseUint(digits, base, 32)
	if errors.Is(err, strconv.ErrRange) {
		code = utf8.MaxRune + 1
	}
	return charRef(code), len(s) - len(strings.TrimPrefix(rest, ";"))
}

// charRef maps a numeric reference as HTML 5 says: windows-1252 for the C1
// range as far as it assigns a character, U+FFFD for what is no character, nothing for controls and
// noncharacters.
func charRef(code uint64) string {
	switch {
	case code == 0, 0xD800 <= code && code <= 0xDFFF, code > utf8.MaxRune:
		return "\uFFFD"
	case 0x80 <= code && code <= 0x9F:
		if r := charmap.Windows1252.DecodeByte(byte(code)); r != utf8.RuneError {
			return string(r)
		}
	case code < 0x20 && !strings.ContainsRune("\t\n\f\r", rune(code)),
		code == 0x7F, 0xFDD0 <= code && code <= 0xFDEF, code&0xFFFE == 0xFFFE:
		return ""
	}
	return string(rune(code))
}
