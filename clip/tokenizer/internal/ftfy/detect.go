package ftfy

import (
	"strings"
	"unicode/utf8"
)

// clue says which part of a UTF-8 sequence a character may be when the sequence
// was read in one of the Latin-1-like charsets.
type clue uint8

const (
	leadOf2 clue = 1 << iota
	leadOf3
	leadOf4
	continuation
	// strict continuations rarely stand for themselves beside mojibake, unlike
	// spaces, dashes, quotation marks, bullets and ellipses.
	strictContinuation
)

// buildClues derives the clues from what the bytes of UTF-8 are in charsets.
func buildClues(charsets []*charset) map[rune]clue {
	clues := map[rune]clue{' ': continuation} // for 0xA0, which programs turn into a space
	mark := func(c *charset, first, last byte, kind clue) {
		for b := int(first); b <= int(last); b++ {
			clues[c.decode[b]] |= kind
		}
	}
	for _, c := range charsets {
		mark(c, 0x80, 0xBF, continuation|strictContinuation)
		mark(c, 0xC2, 0xDF, leadOf2)
		mark(c, 0xE0, 0xEF, leadOf3)
		// Other four-byte sequences are unassigned or private characters.
		mark(c, 0xF0, 0xF0, leadOf4)
		mark(c, 0xF3, 0xF3, leadOf4)
	}
	for _, r := range "–—―‘’‚“”„•…" {
		clues[r] &^= strictContinuation
	}
	return clues
}

// fixEmbedded repairs the stretches of text that look like UTF-8 in a wrong
// encoding although the whole text is in none.
func fixEmbedded(text string) string {
	clues := built().clues
	var b strings.Builder
	before, pos := clue(0), 0
	for pos < len(text) {
		size := 0
		if before&strictContinuation == 0 {
			size = mojibakeLen(text[pos:])
		}
		if size == 0 {
			_, size = utf8.DecodeRuneInString(text[pos:])
			b.WriteString(text[pos : pos+size])
		} else {
			part := text[pos : pos+size]
			if size < len(text) && isBad(part) {
				part = fixEncoding(part)
			}
			b.WriteString(part)
		}
		pos += size
		last, _ := utf8.DecodeLastRuneInString(text[:pos])
		before = clues[last]
	}
	return b.String()
}

// mojibakeLen returns the length in bytes of the misread UTF-8 sequences at the
// start of text.
func mojibakeLen(text string) int {
	total := 0
	for {
		size := sequenceLen(text[total:])
		if size == 0 {
			return total
		}
		total += size
	}
}

// sequenceLen returns the length in bytes of the one misread UTF-8 sequence at
// the start of text, 0 if there is none.
func sequenceLen(text string) int {
	want, count := 0, 0
	for i, r := range text {
		kind := built().clues[r]
		switch {
		case i > 0 && count == want:
			return i
		case i > 0:
			if kind&continuation == 0 {
				return 0
			}
		case kind&leadOf2 != 0:
			want = 2
		case kind&leadOf3 != 0:
			want = 3
		case kind&leadOf4 != 0:
			want = 4
		default:
			return 0
		}
		count++
	}
	if count == want {
		return len(text)
	}
	return 0
}
