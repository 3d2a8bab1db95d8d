package pytext

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// NFC is unicodedata.normalize("NFC", s). Other than norm.NFC it leaves runs of
// more than 30 combining marks whole (x/text breaks them up with U+034F, the
// Stream-Safe Text Process), and knows no character newer than Unicode 14.
func NFC(s string) string { return normalize(s, norm.NFC, norm.NFD, true) }

// NFD is unicodedata.normalize("NFD", s). It differs from norm.NFD as NFC does from
// norm.NFC.
func NFD(s string) string { return normalize(s, norm.NFD, norm.NFD, false) }

// NFKC is unicodedata.normalize("NFKC", s). It differs from norm.NFKC as NFC does from
// norm.NFC.
func NFKC(s string) string { return normalize(s, norm.NFKC, norm.NFKD, true) }

// NFKD is unicodedata.normalize("NFKD", s). It differs from norm.NFKD as NFC does from
// norm.NFC.
func NFKD(s string) string { return normalize(s, norm.NFKD, norm.NFKD, false) }

// normalize returns s in a normalization form. decomposition is the form that form
// starts from: NFD for NFC and NFD, NFKD for NFKC and NFKD. composed tells whether
// characters are composed after that.
func normalize(s string, form, apart norm.Form, composed bool) string {
	if form.IsNormalString(s) && !strings.ContainsFunc(s, isUnicode15) {
		return s
	}
	chars := decompose(s, apart)
	if composed {
		return string(compose(chars))
	}
	var b strings.Builder
	for _, c := range chars {
		b.WriteRune(c.r)
	}
	return b.String()
}

func isUnicode15(r rune) bool { return unicode.Is(unicode15, r) }

// char is a fully decomposed character with its canonical combining class.
type char struct {
	r   rune
	ccc uint8
}

// decompose returns s in the decomposition of form, NFD or NFKD, each run of
// combining marks in canonical order.
func decompose(s string, form norm.Form) []char {
	chars := make([]char, 0, len(s))
	for _, r := range s {
		if isUnicode15(r) {
			chars = append(chars, char{r, 0})
			continue
		}
		decomposed := form.String(string(r))
		for i, d := range decomposed {
			chars = append(chars, char{d, norm.NFD.PropertiesString(decomposed[i:]).CCC()})
		}
	}
	for start := 0; start < len(chars); start++ {
		end := start
		for end < len(chars) && chars[end].ccc != 0 {
			end++
		}
		slices.SortStableFunc(chars[start:end], func(a, b char) int { return int(a.ccc) - int(b.ccc) })
		start = end
	}
	return chars
}

// compose applies the canonical composition algorithm (Unicode chapter 3.11).
func compose(chars []char) []rune {
	out := make([]rune, 0, len(chars))
	starter := -1         // index in out of the last character of class 0
	adjacent := false     // whether nothing stands between it and the next one
	lastClass := uint8(0) // class of the character before, if not adjacent
	for _, c := range chars {
		if starter >= 0 && (adjacent || lastClass < c.ccc) {
			if r, ok := composePair(out[starter], c.r); ok {
				out[starter] = r
				continue
			}
		}
		if c.ccc == 0 {
			starter = len(out)
		}
		adjacent, lastClass = c.ccc == 0, c.ccc
		out = append(out, c.r)
	}
	return out
}

// composePair returns the primary composite of two characters, if there is one.
func composePair(a, b rune) (rune, bool) {
	if isUnicode15(a) || isUnicode15(b) {
		return 0, false
	}
	composed := norm.NFC.String(string(a) + string(b))
	r, size := utf8.DecodeRuneInString(composed)
	return r, size == len(composed)
}
