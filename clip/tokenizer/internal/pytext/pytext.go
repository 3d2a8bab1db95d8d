// Package pytext holds the parts of Python's text handling that decide which
// tokens a caption becomes and that Go's standard library does differently:
// str.split, str.lower, bytes.decode("utf-8", "replace"), html.unescape and
// unicodedata.normalize("NFC", …).
//
// The reference is CPython 3.11 with its Unicode 14 database.
package pytext

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// unicode15 holds the marks, letters and format characters that Unicode 15
// added. Python 3.11 treats them as unassigned, so they have no case, are not
// ignored around a final sigma and never reorder or combine.
var unicode15 = &unicode.RangeTable{
	R16: []unicode.Range16{{Lo: 0x0CF3, Hi: 0x0CF3, Stride: 1}, {Lo: 0x0ECE, Hi: 0x0ECE, Stride: 1}},
	R32: []unicode.Range32{
		{Lo: 0x10EFD, Hi: 0x10EFF, Stride: 1},
		{Lo: 0x1123F, Hi: 0x11241, Stride: 1},
		{Lo: 0x11F00, Hi: 0x11F59, Stride: 1},
		{Lo: 0x13439, Hi: 0x13455, Stride: 1},
		{Lo: 0x1DF25, Hi: 0x1DF2A, Stride: 1},
		{Lo: 0x1E030, Hi: 0x1E08F, Stride: 1},
		{Lo: 0x1E4D0, Hi: 0x1E4F9, Stride: 1},
	},
}

// IsSpace reports whether Python's str.isspace holds for r: Unicode white
// space and the four ASCII information separators.
func IsSpace(r rune) bool {
	return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f
}

// Strip removes white space from both ends, as str.strip does.
func Strip(s string) string { return strings.TrimFunc(s, IsSpace) }

// CollapseSpace returns " ".join(s.split()).
func CollapseSpace(s string) string {
	return strings.Join(strings.FieldsFunc(s, IsSpace), " ")
}

// Lower is str.lower: the full Unicode mapping, in which İ becomes two
// characters and Σ at the end of a word becomes ς.
func Lower(s string) string {
	if !strings.ContainsAny(s, "İΣ") {
		return strings.ToLower(s)
	}
	var b strings.Builder
	b.Grow(len(s))
	afterCased := false
	for i, r := range s {
		switch {
		case r == 'İ':
			b.WriteString("i\u0307")
		case r == 'Σ' && afterCased && !startsCased(s[i+utf8.RuneLen(r):]):
			b.WriteRune('ς')
		default:
			b.WriteRune(unicode.ToLower(r))
		}
		if !caseIgnorable(r) {
			afterCased = cased(r)
		}
	}
	return b.String()
}

// startsCased reports whether the first character of s that case rules do not
// ignore has case.
func startsCased(s string) bool {
	for _, r := range s {
		if !caseIgnorable(r) {
			return cased(r)
		}
	}
	return false
}

// cased is Unicode's Cased property (chapter 3.13, D135).
func cased(r rune) bool {
	return unicode.In(r, unicode.Lu, unicode.Ll, unicode.Lt, unicode.Other_Lowercase, unicode.Other_Uppercase) &&
		!unicode.Is(unicode15, r)
}

// caseIgnorable is Unicode's Case_Ignorable property (chapter 3.13, D136). The
// listed characters are those whose Word_Break is MidLetter, MidNumLet or
// Single_Quote.
func caseIgnorable(r rune) bool {
	if strings.ContainsRune("'.:·\u0387\u055f\u05f4‘’\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a", r) {
		return true
	}
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) && !unicode.Is(unicode15, r)
}

// DecodeUTF8 is bytes.decode("utf-8", "replace"): every maximal start of a
// well-formed sequence, and every other stray byte, becomes one U+FFFD
// (Unicode chapter 3.9, "U+FFFD Substitution of Maximal Subparts").
func DecodeUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			n = maximalSubpart(s)
		}
		b.WriteRune(r)
		s = s[n:]
	}
	return b.String()
}

// maximalSubpart returns how many bytes at the start of the ill-formed s one
// replacement character stands for, at least 1.
func maximalSubpart(s string) int {
	// A prefix is the start of something well-formed exactly when one of the
	// two extreme completions decodes.
	for n := min(len(s), utf8.UTFMax-1); n > 1; n-- {
		if completes(s[:n], "\x80") || completes(s[:n], "\xbf") {
			return n
		}
	}
	return 1
}

// completes reports whether prefix, followed by one or more of continuation, is one
// well-formed UTF-8 character.
func completes(prefix, continuation string) bool {
	for n := len(prefix) + 1; n <= utf8.UTFMax; n++ {
		prefix += continuation
		if _, size := utf8.DecodeRuneInString(prefix); size == n {
			return true
		}
	}
	return false
}
