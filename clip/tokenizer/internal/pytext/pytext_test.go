package pytext

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

// The right-hand sides of these tables are what CPython 3.11 returns.

func TestLower(t *testing.T) {
	for in, want := range map[string]string{
		"ÀÉ Straße ǅ Ⓐ Ⅷ":          "àé straße ǆ ⓐ ⅷ",
		"İI":                       "i\u0307i",
		"ΣΑΣ Σ ΟΔΟΣ":               "σας σ οδος",
		"ΑΣ' ΑΣ'Α ΑΣ. ΑΣ.Α":        "ας' ασ'α ας. ασ.α",
		"Α'Σ ʰΣ ͅΣ":                "α'ς ʰσ ͅσ",
		"ΑΣ\u00adΑ ΑΣ\u0301":       "ασ\u00adα ας\u0301",
		"\U0001E030Σ Α\U0001E030Σ": "\U0001E030σ α\U0001E030σ", // cased and ignorable since Unicode 15
	} {
		assert.Equal(t, want, Lower(in), "%+q", in)
	}
}

func TestSpace(t *testing.T) {
	assert.Equal(t, "a b c", CollapseSpace("\x1ca\u3000\u0085b\x1f\u2028c\v"))
	assert.Equal(t, "a\u200b \ufeff", CollapseSpace("a\u200b\t\ufeff"))
	assert.Equal(t, "a  b", Strip("\u00a0\x1da  b\u2003"))
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		"AT&T &lt;b&gt; &amp;amp;":           "AT&T <b> &amp;",
		"&eacute &eacutex &Eacute;":          "é éx É",
		"&notit; &notin; &notin &hearts":     "¬it; ∉ ¬in &hearts",
		"&nGt;&nLt;&semi;&fjlig;":            "≫⃒≪⃒;fj",
		"&a &gt &g;t &; & &é; &ampé":         "&a > &g;t &; & &é; &é",
		"&#39;&#x27&#X41;&#65x &#; &#x; &#":  "''AAx &#; &#x; &#",
		"&#0;&#xD800;&#x110000;&#9" + nines:  "\uFFFD\uFFFD\uFFFD\uFFFD",
		"&#128;&#x81;&#150;&#13;|":           "€\u0081–\r|",
		"&#1;&#11;&#127;&#xFDD0;&#x1FFFF;|":  "|",
		"&" + strings.Repeat("x", 40) + "lt": "&" + strings.Repeat("x", 40) + "lt",
	} {
		assert.Equal(t, want, Unescape(in), "%+q", in)
	}
}

const nines = "9999999999999999999999999999999999999999"

func TestEntity(t *testing.T) {
	for name, want := range map[string]string{"eacute;": "é", "eacute": "é", "AMP": "&", "semi;": ";", "acE;": "∾̳"} {
		got, ok := Entity(name)
		assert.True(t, ok, name)
		assert.Equal(t, want, got, name)
	}
	for _, name := range []string{"", ";", "hearts", "EACUTE;", "eacutex;", "ltx", "a"} {
		_, ok := Entity(name)
		assert.False(t, ok, name)
	}
}

func TestDecodeUTF8(t *testing.T) {
	for in, want := range map[string]string{
		"é😀":                           "é😀",
		"a\xffb":                       "a\uFFFDb",
		"\xe2\x82x\xf0\x9f\x98":        "\uFFFDx\uFFFD",
		"\xe0\x80\xed\xa0\x80":         "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD",
		"\xc0\x80\xf4\x90\x80\x80":     "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD",
		"\xf0\x9f\x98\xf0\x9f\x98\x80": "\uFFFD😀",
	} {
		got := DecodeUTF8(in)
		assert.Equal(t, want, got, "%+q", in)
		assert.True(t, utf8.ValidString(got))
	}
}

func TestNFC(t *testing.T) {
	for in, want := range map[string]string{
		"e\u0301 a\u0323\u0302":           "é ậ",
		"a\u0302\u0323 \u212b \u0958":     "ậ Å \u0915\u093c",
		"\u1100\u1161\u11a8 \uac00\u11a8": "각 각",
		"x\u0301\u0300\u0316":             "x\u0316\u0301\u0300",
		"\u0301e":                         "\u0301e",
		"a\U0001E4EC\u0323":               "a\U0001E4EC\u0323", // U+1E4EC combines since Unicode 15
	} {
		assert.Equal(t, want, NFC(in), "%+q", in)
	}
	marks := strings.Repeat("\u0301", 50)
	assert.Equal(t, "é"+marks[2:], NFC("e"+marks), "no U+034F after 30 marks")
}
