package ftfy

import (
	"bytes"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Go's regexps match characters, not bytes: the ones here run over a Latin-1
// reading of the bytes, in which every byte is the character of its value.

// spacedUTF8 matches UTF-8 sequences in which 0xA0 became a space, as far as
// they are likelier than the space itself.
var spacedUTF8 = regexp.MustCompile(`[\xc2\xc3\xc5\xce\xd0\xd9] ` +
	`|[\xe2\xe3] [\x80-\x84\x86-\x9f\xa1-\xbf]` +
	`|[\xe0-\xe3][\x80-\x84\x86-\x9f\xa1-\xbf] ` +
	`|\xf0 [\x80-\xbf][\x80-\xbf]` +
	`|\xf0[\x80-\xbf] [\x80-\xbf]` +
	`|\xf0[\x80-\xbf][\x80-\xbf] `)

// lossyUTF8 matches UTF-8 and CESU-8 sequences some of whose bytes were lost:
// they are now the substitute byte, or one of them a question mark.
var lossyUTF8 = regexp.MustCompile(`[\xc2-\xdf]\x1a` +
	`|[\xc2\xc3]\?` +
	`|\xed[\xa0-\xaf][\x1a?]\xed[\xb0-\xbf][\x1a?\x80-\xbf]` +
	`|\xed[\xa0-\xaf][\x1a?\x80-\xbf]\xed[\xb0-\xbf][\x1a?]` +
	`|[\xe0-\xef][\x1a?][\x1a\x80-\xbf]` +
	`|[\xe0-\xef][\x1a\x80-\xbf][\x1a?]` +
	`|[\xf0-\xf4][\x1a?][\x1a\x80-\xbf][\x1a\x80-\xbf]` +
	`|[\xf0-\xf4][\x1a\x80-\xbf][\x1a?][\x1a\x80-\xbf]` +
	`|[\xf0-\xf4][\x1a\x80-\xbf][\x1a\x80-\xbf][\x1a?]` +
	`|\x1a`)

// latin1String reads bytes as Latin-1.
func latin1String(b []byte) string {
	var s strings.Builder
	s.Grow(2 * len(b))
	for _, c := range b {
		s.WriteRune(rune(c))
	}
	return s.String()
}

// latin1Bytes undoes latin1String.
func latin1Bytes(s string) []byte {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return b
}

// restoreA0 puts 0xA0 back where it became a space and the bytes would be UTF-8
// otherwise. A lone "\xc3 " keeps its space, since "à" is a word, unless it
// starts one of the Portuguese words às, àquele, àquela, àquilo.
func restoreA0(b []byte) []byte {
	s := latin1String(b)
	if !spacedUTF8.MatchString(s) {
		return b
	}
	const aGrave = "\u00c3 "
	var words strings.Builder
	for {
		before, after, found := strings.Cut(s, aGrave)
		words.WriteString(before)
		if !found {
			break
		}
		words.WriteString("\u00c3")
		if !startsWithAny(after, " ", "quele", "quela", "quilo", "s ") {
			words.WriteString("\u00a0")
		}
		words.WriteString(" ")
		s = after
	}
	return latin1Bytes(spacedUTF8.ReplaceAllStringFunc(words.String(), func(match string) string {
		return strings.ReplaceAll(match, " ", "\u00a0")
	}))
}

func startsWithAny(s string, prefixes ...string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}

// replaceLossy puts U+FFFD in place of sequences that lost bytes.
func replaceLossy(b []byte) []byte {
	if !bytes.ContainsAny(b, "\x1a?") {
		return b
	}
	replacement := latin1String([]byte("\uFFFD"))
	return latin1Bytes(lossyUTF8.ReplaceAllLiteralString(latin1String(b), replacement))
}

// decodeUTF8 decodes UTF-8, CESU-8 (surrogate pairs of three bytes each) and
// Java's two-byte NUL. It fails on anything else.
//
// ftfy's patterns accept the line feed at the end of a segment for the last
// byte of a NUL or of a pair, and so must this.
func decodeUTF8(b []byte) (string, bool) {
	if utf8.Valid(b) {
		return string(b), true
	}
	var s strings.Builder
	for len(b) > 0 {
		if r, size := utf8.DecodeRune(b); r != utf8.RuneError || size > 1 {
			s.WriteRune(r)
			b = b[size:]
			continue
		}
		r, size := decodeVariant(b)
		if size == 0 {
			return "", false
		}
		s.WriteRune(r)
		b = b[size:]
	}
	return s.String(), true
}

// decodeVariant decodes the NUL or surrogate pair at the start of b. The size
// is 0 if there is none.
func decodeVariant(b []byte) (r rune, size int) {
	if len(b) >= 2 && b[0] == 0xC0 && (b[1] == 0x80 || isLastLineFeed(b, 1)) {
		return 0, 2
	}
	if len(b) >= 6 && b[0] == 0xED && b[1]&0xF0 == 0xA0 && isContinuation(b[2]) &&
		b[3] == 0xED && b[4]&0xF0 == 0xB0 && (isContinuation(b[5]) || isLastLineFeed(b, 5)) {
		high := rune(b[1]&0x0F)<<6 | rune(b[2]&0x3F)
		low := rune(b[4]&0x0F)<<6 | rune(b[5]&0x3F)
		return 0x10000 + high<<10 + low, 6
	}
	return 0, 0
}

func isContinuation(b byte) bool { return b&0xC0 == 0x80 }

func isLastLineFeed(b []byte, i int) bool { return i == len(b)-1 && b[i] == '\n' }
