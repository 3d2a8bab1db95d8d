// Package ftfy repairs damaged text the way version 6.3.1 of the Python
// library ftfy does with its default settings: it undoes mojibake (UTF-8 read
// in a one-byte encoding), stray HTML entities, curly quotes, ligatures, odd
// widths, line breaks and control characters.
//
// The algorithm and its character tables are Robyn Speer's
// (https://ftfy.readthedocs.io, Apache-2.0); the code is not.
package ftfy

import (
	"iter"
	"regexp"
	"slices"
	"strings"
	"sync"

	"golang.org/x/text/unicode/norm"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/pytext"
)

// maxSegment is the number of characters after which a line is cut in two
// segments, max_decode_length in ftfy.
const maxSegment = 1_000_000

// FixText is ftfy.fix_text. The text must be valid UTF-8. Each line is repaired
// by itself, except that a "<", which marks text as HTML, keeps the entities of
// its own line and all later ones.
func FixText(text string) string {
	var b strings.Builder
	unescape := true
	for segment := range segments(text) {
		unescape = unescape && !strings.Contains(segment, "<")
		b.WriteString(fixSegment(segment, unescape))
	}
	return b.String()
}

// segments yields the lines of text with their "\n", long lines in pieces of
// maxSegment characters.
func segments(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range strings.Lines(text) {
			for len(line) > 0 {
				end := pieceLen(line)
				if !yield(line[:end]) {
					return
				}
				line = line[end:]
			}
		}
	}
}

// pieceLen returns the length in bytes of the first maxSegment characters.
func pieceLen(line string) int {
	if len(line) <= maxSegment {
		return len(line)
	}
	count := 0
	for i := range line {
		if count == maxSegment {
			return i
		}
		count++
	}
	return len(line)
}

// fixSegment applies every repair until none of them changes the text.
func fixSegment(text string, unescape bool) string {
	for {
		unescaped := text
		if unescape {
			unescaped = unescapeHTML(text)
		}
		fixed := fixEncoding(unescaped)
		fixed = characterFixes().Replace(fixed)
		fixed = terminalEscape.ReplaceAllLiteralString(fixed, "")
		fixed = strings.Map(dropControl, fixed)
		fixed = pytext.NFC(fixed)
		if fixed == text {
			return text
		}
		if fixed == unescaped {
			fixed = skipAmpersands(fixed)
		}
		text = fixed
	}
}

// terminalEscape matches what sets colours on a terminal.
var terminalEscape = regexp.MustCompile(`\x1b\[[\p{Nd};]*[a-zA-Z]`)

// dropControl removes control characters other than white space, and format
// characters that no longer have a use.
func dropControl(r rune) rune {
	switch {
	case r <= 0x08, r == 0x0B, 0x0E <= r && r <= 0x1F, r == 0x7F,
		0x206A <= r && r <= 0x206F, r == 0xFEFF, 0xFFF9 <= r && r <= 0xFFFC:
		return -1
	}
	return r
}

// entity matches what may be an HTML entity or character reference.
var entity = regexp.MustCompile(`&#?[0-9A-Za-z]{1,24};`)

// unescapeHTML decodes entities that end in a semicolon, also those of
// lower-case names that someone put in capitals ("&NTILDE;").
func unescapeHTML(text string) string {
	if !strings.Contains(text, "&") {
		return text
	}
	return entity.ReplaceAllStringFunc(text, func(match string) string {
		if strings.HasPrefix(match, "&#") {
			if char := pytext.Unescape(match); !strings.Contains(char, ";") {
				return char
			}
			return match
		}
		name := match[1:]
		if char, ok := pytext.Entity(name); ok {
			return char
		}
		if name != strings.ToUpper(name) || pytext.Unescape(match) != match {
			return match
		}
		if char, ok := pytext.Entity(strings.ToLower(name)); ok {
			return strings.ToUpper(longUpper.Replace(char))
		}
		return match
	})
}

// longUpper has the capitals of named characters that strings.ToUpper lacks
// because they are more than one character long.
var longUpper = strings.NewReplacer(
	"ß", "SS", "ŉ", "ʼN", "ﬀ", "FF", "ﬁ", "FI", "ﬂ", "FL", "ﬃ", "FFI", "ﬄ", "FFL")

// nestedAmpersand matches an ampersand that was escaped three times or more.
var nestedAmpersand = regexp.MustCompile(`&(?:(?:amp|AMP|#0*38|#[xX]0*26);){3,}`)

// skipAmpersands does at once what many rounds of fixSegment would do to text
// where all that is left are deeply escaped ampersands ("&amp;amp;amp;…"): it
// takes as many layers off all of them as leave two on the shallowest. It keeps
// fixSegment linear; a round takes one layer off.
func skipAmpersands(text string) string {
	layers := len(text)
	for _, run := range nestedAmpersand.FindAllString(text, -1) {
		layers = min(layers, strings.Count(run, ";")-2)
	}
	if layers == len(text) {
		return text
	}
	return nestedAmpersand.ReplaceAllStringFunc(text, func(run string) string {
		return "&" + strings.SplitN(run, ";", layers+1)[layers]
	})
}

// ligatures are single characters for several Latin letters.
var ligatures = []string{
	"Ĳ", "IJ", "ĳ", "ij", "ŉ", "ʼn", "Ǳ", "DZ", "ǲ", "Dz", "ǳ", "dz", "Ǆ", "DŽ", "ǅ", "Dž", "ǆ", "dž",
	"Ǉ", "LJ", "ǈ", "Lj", "ǉ", "lj", "Ǌ", "NJ", "ǋ", "Nj", "ǌ", "nj",
	"ﬀ", "ff", "ﬁ", "fi", "ﬂ", "fl", "ﬃ", "ffi", "ﬄ", "ffl", "ﬅ", "ſt", "ﬆ", "st",
}

// lineBreaks become "\n". U+0085 is not among them: fixEncoding and the C1 rule
// have made it an ellipsis before.
var lineBreaks = []string{"\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n"}

// characterFixes joins the repairs that look at one character at a time:
// C1 controls read as windows-1252, ligatures, full and half width, curly
// quotes and line breaks, each applied to what the one before made.
var characterFixes = sync.OnceValue(func() *strings.Replacer {
	quotes := []string{"ʼ", "'", "“", `"`, "”", `"`, "„", `"`, "‟", `"`, "‘", "'", "’", "'", "‚", "'", "‛", "'"}
	uncurl := strings.NewReplacer(quotes...)
	pairs := slices.Concat(lineBreaks, quotes)
	for i := 0; i < len(ligatures); i += 2 {
		pairs = append(pairs, ligatures[i], uncurl.Replace(ligatures[i+1]))
	}
	for b := 0x80; b <= 0x9F; b++ {
		control := string(rune(b))
		pairs = append(pairs, control, uncurl.Replace(fixC1(control)))
	}
	pairs = append(pairs, "\u3000", " ")
	for r := rune(0xFF01); r <= 0xFFEF; r++ {
		if standard := norm.NFKC.String(string(r)); standard != string(r) {
			pairs = append(pairs, string(r), uncurl.Replace(standard))
		}
	}
	return strings.NewReplacer(pairs...)
})
