package ftfy

import (
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// charset is a one-byte encoding that UTF-8 gets mistaken for.
type charset struct {
	decode [256]rune
	encode map[rune]byte
	// sloppy encodings stand in for Windows code pages: U+FFFD encodes as byte
	// 0x1A, which keeps a place for a character that was lost on the way.
	sloppy bool
	// keepSpaces is set where restoring 0xA0 would hit an en dash and a space.
	keepSpaces bool
}

// substitute is the byte that U+FFFD has in a sloppy charset.
const substitute = 0x1A

func newCharset(table *charmap.Charmap) *charset {
	c := &charset{encode: make(map[rune]byte, 256)}
	for i := range c.decode {
		c.decode[i] = table.DecodeByte(byte(i))
		if c.decode[i] == utf8.RuneError { // unassigned: as in Latin-1
			c.decode[i] = rune(i)
		}
	}
	for i, r := range c.decode {
		c.encode[r] = byte(i)
	}
	return c
}

func newSloppyCharset(table *charmap.Charmap) *charset {
	c := newCharset(table)
	c.sloppy = true
	delete(c.encode, substitute)
	c.decode[substitute] = utf8.RuneError
	c.encode[utf8.RuneError] = substitute
	return c
}

// bytes returns text in the charset, or false if a character is not in it.
func (c *charset) bytes(text string) ([]byte, bool) {
	out := make([]byte, 0, utf8.RuneCountInString(text))
	for _, r := range text {
		b, ok := c.encode[r]
		if !ok {
			return nil, false
		}
		out = append(out, b)
	}
	return out, true
}

// tables is what the package builds on first use.
type tables struct {
	charsets    []*charset // in the order in which they are tried
	windows1252 *charset
	clues       map[rune]clue
}

var built = sync.OnceValue(func() *tables {
	windows1252 := newSloppyCharset(charmap.Windows1252)
	latin := []*charset{
		newCharset(charmap.ISO8859_1),
		windows1252,
		newSloppyCharset(charmap.Windows1251),
		newSloppyCharset(charmap.Windows1250),
		newSloppyCharset(charmap.Windows1253),
		newSloppyCharset(charmap.Windows1254),
		newSloppyCharset(charmap.Windows1257),
	}
	macRoman := newCharset(charmap.Macintosh)
	macRoman.keepSpaces = true
	return &tables{
		charsets:    append(latin, newCharset(charmap.ISO8859_2), macRoman, newCharset(charmap.CodePage437)),
		windows1252: windows1252,
		clues:       buildClues(latin),
	}
})

// fixEncoding undoes mojibake, layer by layer.
func fixEncoding(text string) string {
	for {
		fixed := fixEncodingStep(text)
		if fixed == text {
			return text
		}
		text = fixed
	}
}

// fixEncodingStep takes at most one layer of mojibake off.
func fixEncodingStep(text string) string {
	if !isBad(text) {
		return text
	}
	for _, c := range built().charsets {
		if fixed, ok := c.redecode(text); ok {
			return fixed
		}
	}
	if fixed := fixEmbedded(text); fixed != text {
		return fixed
	}
	return fixC1(text)
}

// redecode reads text's bytes in the charset as UTF-8, after putting back what
// is often lost from such bytes.
func (c *charset) redecode(text string) (string, bool) {
	encoded, ok := c.bytes(text)
	if !ok {
		return "", false
	}
	if !c.keepSpaces {
		encoded = restoreA0(encoded)
	}
	if c.sloppy {
		encoded = replaceLossy(encoded)
	}
	return decodeUTF8(encoded)
}

// fixC1 reads C1 control characters as windows-1252, as web browsers do.
func fixC1(text string) string {
	return strings.Map(func(r rune) rune {
		if 0x80 <= r && r <= 0x9F {
			return built().windows1252.decode[r]
		}
		return r
	}, text)
}
