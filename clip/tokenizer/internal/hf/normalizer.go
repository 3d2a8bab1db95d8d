package hf

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"github.com/clipperhouse/uax29/v2/graphemes"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/pytext"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/subword"
)

// normalizer changes a text before it is split.
type normalizer func(string) string

// simpleNormalizers are those without options.
var simpleNormalizers = map[string]normalizer{
	"NFC": pytext.NFC, "NFD": pytext.NFD, "NFKC": pytext.NFKC, "NFKD": pytext.NFKD,
	"Lowercase": lower, "StripAccents": dropMarks, "Nmt": nmt, "ByteLevel": byteLevel,
}

// parseNormalizer reads the normalizer of a tokenizer.json; null is nil.
func parseNormalizer(data json.RawMessage) (normalizer, error) {
	kind, err := kindOf(data)
	if err != nil || kind == "" {
		return nil, err
	}
	if n, ok := simpleNormalizers[kind]; ok {
		return n, strict(data, &struct{}{})
	}
	switch kind {
	case "Sequence":
		return parseNormalizers(data)
	case "BertNormalizer":
		return parseBertNormalizer(data)
	case "Precompiled":
		return parsePrecompiled(data)
	case "Replace":
		return parseReplace(data)
	case "Prepend":
		var c struct{ Prepend string }
		err := strict(data, &c)
		return func(s string) string {
			if s == "" {
				return s
			}
			return c.Prepend + s
		}, err
	case "Strip":
		var c struct {
			Left  bool `json:"strip_left"`
			Right bool `json:"strip_right"`
		}
		err := strict(data, &c)
		return func(s string) string {
			if c.Left {
				s = strings.TrimLeftFunc(s, unicode.IsSpace)
			}
			if c.Right {
				s = strings.TrimRightFunc(s, unicode.IsSpace)
			}
			return s
		}, err
	}
	return nil, fmt.Errorf("normalizer %q is not supported", kind)
}

func parseNormalizers(data json.RawMessage) (normalizer, error) {
	var c struct{ Normalizers []json.RawMessage }
	if err := strict(data, &c); err != nil {
		return nil, err
	}
	var steps []normalizer
	for _, raw := range c.Normalizers {
		n, err := parseNormalizer(raw)
		if err != nil {
			return nil, err
		}
		if n != nil {
			steps = append(steps, n)
		}
	}
	return func(s string) string {
		for _, step := range steps {
			s = step(s)
		}
		return s
	}, nil
}

func parseReplace(data json.RawMessage) (normalizer, error) {
	var c struct {
		Pattern patternJSON
		Content string
	}
	if err := strict(data, &c); err != nil {
		return nil, err
	}
	find, err := c.Pattern.compile()
	return func(s string) string {
		var b strings.Builder
		for _, part := range find(s) {
			if part.match {
				b.WriteString(c.Content)
			} else {
				b.WriteString(s[part.start:part.end])
			}
		}
		return b.String()
	}, err
}

// parsePrecompiled reads sentencepiece's character map. As in the Rust library,
// and other than in sentencepiece, a replacement stands for the whole of a
// grapheme cluster of up to 5 bytes of which it replaces the start.
func parsePrecompiled(data json.RawMessage) (normalizer, error) {
	var c struct {
		Map string `json:"precompiled_charsmap"`
	}
	if err := strict(data, &c); err != nil {
		return nil, err
	}
	raw, err := base64.StdEncoding.DecodeString(c.Map)
	if err != nil {
		return nil, fmt.Errorf("precompiled_charsmap: %w", err)
	}
	chars, err := subword.ParseCharsMap(raw)
	return func(s string) string {
		var b strings.Builder
		for clusters := graphemes.FromString(s); clusters.Next(); {
			cluster := clusters.Value()
			if len(cluster) < 6 {
				if replacement, ok := chars.Shortest(cluster); ok {
					b.WriteString(replacement)
					continue
				}
			}
			for _, r := range cluster {
				if replacement, ok := chars.Shortest(string(r)); ok {
					b.WriteString(replacement)
				} else {
					b.WriteRune(r)
				}
			}
		}
		return b.String()
	}, err
}

// parseBertNormalizer reads what BERT does before WordPiece.
func parseBertNormalizer(data json.RawMessage) (normalizer, error) {
	c := struct {
		CleanText          bool  `json:"clean_text"`
		HandleChineseChars bool  `json:"handle_chinese_chars"`
		StripAccents       *bool `json:"strip_accents"`
		Lowercase          bool  `json:"lowercase"`
	}{CleanText: true, HandleChineseChars: true, Lowercase: true}
	err := strict(data, &c)
	return func(s string) string {
		if c.CleanText {
			s = strings.Map(cleanRune, s)
		}
		if c.HandleChineseChars {
			s = spaceCJK(s)
		}
		if c.StripAccents == nil && c.Lowercase || c.StripAccents != nil && *c.StripAccents {
			s = dropRunes(pytext.NFD(s), func(r rune) bool { return unicode.Is(unicode.Mn, r) })
		}
		if c.Lowercase {
			s = lower(s)
		}
		return s
	}, err
}

// cleanRune drops control characters and makes every white space a blank. Of
// the private use areas the library that Hugging Face asks knows the ends only.
func cleanRune(r rune) rune {
	switch {
	case r == '\t' || r == '\n' || r == '\r':
		return ' '
	case r == utf8Error || unicode.In(r, unicode.Cc, unicode.Cf):
		return -1
	case unicode.Is(unicode.Co, r) && (r == 0xE000 || r == 0xF8FF || r&0xFFFF == 0 || r&0xFFFF == 0xFFFD):
		return -1
	case unicode.IsSpace(r):
		return ' '
	}
	return r
}

const utf8Error = '\uFFFD'

// cjk are the characters that BERT makes words of their own; the gap before
// U+2B920 is the Rust library's.
var cjk = &unicode.RangeTable{
	R16: []unicode.Range16{{Lo: 0x3400, Hi: 0x4DBF, Stride: 1}, {Lo: 0x4E00, Hi: 0x9FFF, Stride: 1}, {Lo: 0xF900, Hi: 0xFAFF, Stride: 1}},
	R32: []unicode.Range32{{Lo: 0x20000, Hi: 0x2A6DF, Stride: 1}, {Lo: 0x2A700, Hi: 0x2B73F, Stride: 1},
		{Lo: 0x2B740, Hi: 0x2B81F, Stride: 1}, {Lo: 0x2B920, Hi: 0x2CEAF, Stride: 1}, {Lo: 0x2F800, Hi: 0x2FA1F, Stride: 1}},
}

func spaceCJK(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.Is(cjk, r) {
			b.WriteString(" " + string(r) + " ")
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// lower makes each character lower case by itself: no final sigma, and "İ" is
// "i" with a dot above.
func lower(s string) string {
	return strings.ReplaceAll(strings.Map(func(r rune) rune {
		if r == 'İ' {
			return r
		}
		return unicode.ToLower(r)
	}, s), "İ", "i\u0307")
}

func dropRunes(s string, drop func(rune) bool) string {
	return strings.Map(func(r rune) rune {
		if drop(r) {
			return -1
		}
		return r
	}, s)
}

func dropMarks(s string) string { return dropRunes(s, unicode.IsMark) }

// nmt is the cleaning of sentencepiece's nmt_nfkc.
func nmt(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 1 && r <= 8, r == 0xB, r >= 0xE && r <= 0x1F, r == 0x7F, r == 0x8F, r == 0x9F:
			return -1
		case r == '\t', r == '\n', r == 0xC, r == '\r', r == 0x1680, r >= 0x200B && r <= 0x200F,
			r == 0x2028, r == 0x2029, r == 0x2581, r == 0xFEFF, r == utf8Error:
			return ' '
		}
		return r
	}, s)
}
