package ftfy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// The right-hand sides of these tables are what ftfy 6.3.1 returns.

func TestFixText(t *testing.T) {
	for in, want := range map[string]string{
		"":                               "",
		"plain text":                     "plain text",
		"âœ” No problems":                "✔ No problems",
		"voilÃ le travail":               "voilà le travail",
		"Ã\u00a0 la Ã s Ã quele Ã quel":  "à la às àquele à quel",
		"â€œ like this â€\ufffd":         `" like this ` + "\ufffd",
		"ÃƒÂ©tÃƒÂ©":                      "été",
		"Broken text&hellip; ﬂubberiﬁc!": "Broken text… flubberific!",
		"P&EACUTE;REZ &SZLIG; &nTILDE;":  "PÉREZ SS &nTILDE;",
		"&lt;b&gt;":                      "<b>",
		"<b> &eacute;\n&eacute;":         "<b> &eacute;\n&eacute;",
		"&eacute;\n<b> &eacute;":         "é\n<b> &eacute;",
		"&#59;&#39;&#129;":               "&#59;'\u0081",
		"ＬＯＵＤ　ＮＯＩＳＥＳ Ｕﾀｰﾝ":                "LOUD NOISES Uターン",
		"\x1b[36;44mblue\x1b[0m\x00\x7f":  "blue",
		"a\r\nb\rc\u2028d\u2029e":         "a\nb\nc\nd\ne",
		"“here’s” ‛a‟ ŉ":                  `"here's" 'a" 'n`,
		"e\u0301 a\ufeffb\ufffc":          "é ab",
		"в–Ћ вЂњfancyвЂќ":                 `▎ "fancy"`,
		"Ã©À\nfoo":                        "éfoo", // the line feed is lost in ftfy, too
		"Ã©í\u00a0½í¸\u0080":              "é😀",
		"naïve façade, 5 µm, ½ ÷ 2 × 3 °": "naïve façade, 5 µm, ½ ÷ 2 × 3 °",
	} {
		assert.Equal(t, want, FixText(in), "%+q", in)
	}
}

func TestSegments(t *testing.T) {
	long := strings.Repeat("é", maxSegment)
	assert.Equal(t, []string{"a\n", "\n", "b\r\n", "c"}, slices.Collect(segments("a\n\nb\r\nc")))
	assert.Equal(t, []string{long, "x\n", "y"}, slices.Collect(segments(long+"x\ny")))
	assert.Empty(t, slices.Collect(segments("")))
}

// TestSkipAmpersands checks that jumping over rounds of fixSegment ends where
// going through them does.
func TestSkipAmpersands(t *testing.T) {
	for _, layers := range []int{0, 1, 2, 3, 4, 7, 50} {
		in := "&" + strings.Repeat("amp;", layers) + "eacute; &" + strings.Repeat("#38;AMP;", layers/2) + "lt; Ã©"
		text := in
		for {
			next := fixEncoding(unescapeHTML(text))
			if next == text {
				break
			}
			text = next
		}
		assert.Equal(t, text, FixText(in), "%d layers", layers)
	}
	assert.Equal(t, "&amp;amp;x &amp;amp;amp;y", skipAmpersands("&amp;amp;amp;amp;x &amp;amp;amp;amp;amp;y"))
	assert.Equal(t, "&amp;amp;x", skipAmpersands("&amp;amp;x"))

	start := time.Now()
	assert.Equal(t, "é", FixText("&"+strings.Repeat("amp;", 100_000)+"eacute;"))
	assert.Less(t, time.Since(start), 10*time.Second)
}

func TestDecodeUTF8(t *testing.T) {
	for in, want := range map[string]string{
		"\xc3\xa9":                       "é",
		"a\xc0\x80b":                     "a\x00b",
		"\xed\xa0\xbd\xed\xb8\x80":       "😀",
		"\xed\x95\x9c":                   "한",
		"\xed\xa0\xbd\xed\xb8\n":         "\U0001F60A",
		"\xed\xa0\xbd\xed\xb8\x80\xc0\n": "😀\x00",
	} {
		got, ok := decodeUTF8([]byte(in))
		assert.True(t, ok, "%+q", in)
		assert.Equal(t, want, got, "%+q", in)
	}
	for _, in := range []string{"\xff", "\xc0", "\xc0\nx", "\xed\xa0\xbd", "\xed\xb8\x80", "\xed\xa0\xbd\xed\xb8", "\xe2\x82"} {
		_, ok := decodeUTF8([]byte(in))
		assert.False(t, ok, "%+q", in)
	}
}

func TestIsBad(t *testing.T) {
	for _, text := range []string{"Ã©", "â€™", "\u0085", "вЂ™", "ÐŸÑ€", "à¤¨", "√©", "β€™", "ā€", "fÃ ", "Â ", "œ!"} {
		assert.True(t, isBad(text), "%+q", text)
	}
	for _, text := range []string{"cafe?!", "café", "Привет", "日本語", "5 × 3", "“x”", "œuvre", "½", "x Â"} {
		assert.False(t, isBad(text), "%+q", text)
	}
}
