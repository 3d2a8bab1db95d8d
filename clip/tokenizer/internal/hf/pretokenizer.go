package hf

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/subword"
)

// piece is a part of a text that the model sees by itself.
type piece struct {
	text string
	lead int // bytes that stem from the text's first character; 0 unless it starts there
}

// preTokenizer splits pieces into smaller ones; empty ones are dropped.
type preTokenizer func([]piece) []piece

// split cuts every piece by a pattern.
func split(find pattern, b behavior) preTokenizer {
	return func(pieces []piece) (out []piece) {
		for _, p := range pieces {
			for _, s := range b.apply(find(p.text)) {
				if s.start < s.end {
					out = append(out, piece{p.text[s.start:s.end], max(0, p.lead-s.start)})
				}
			}
		}
		return out
	}
}

// each changes the text of every piece.
func each(change func(p piece) string) preTokenizer {
	return func(pieces []piece) []piece {
		out := make([]piece, len(pieces))
		for i, p := range pieces {
			out[i] = piece{change(p), p.lead}
		}
		return out
	}
}

func sequence(steps ...preTokenizer) preTokenizer {
	return func(pieces []piece) []piece {
		for _, step := range steps {
			pieces = step(pieces)
		}
		return pieces
	}
}

// parsePreTokenizer reads the pre_tokenizer of a tokenizer.json; null is nil.
func parsePreTokenizer(data json.RawMessage) (preTokenizer, error) {
	kind, err := kindOf(data)
	if err != nil || kind == "" {
		return nil, err
	}
	switch kind {
	case "Sequence":
		return parsePreTokenizers(data)
	case "ByteLevel":
		return parseByteLevel(data)
	case "Metaspace":
		return parseMetaspace(data)
	case "Whitespace":
		return splitWords, strict(data, &struct{}{})
	case "WhitespaceSplit":
		return split(runes(unicode.IsSpace), "Removed"), strict(data, &struct{}{})
	case "BertPreTokenizer":
		return sequence(split(runes(unicode.IsSpace), "Removed"), split(runes(isPunctuation), "Isolated")), strict(data, &struct{}{})
	case "Punctuation":
		c := struct{ Behavior behavior }{"Isolated"}
		err := strict(data, &c)
		return split(runes(isPunctuation), c.Behavior), err
	case "Digits":
		var c struct {
			Individual bool `json:"individual_digits"`
		}
		err := strict(data, &c)
		if c.Individual {
			return split(runes(unicode.IsNumber), "Isolated"), err
		}
		return split(runes(unicode.IsNumber), "Contiguous"), err
	case "CharDelimiterSplit":
		var c struct{ Delimiter string }
		err := strict(data, &c)
		return split(runes(func(r rune) bool { return string(r) == c.Delimiter }), "Removed"), err
	case "Split":
		return parseSplit(data)
	}
	return nil, fmt.Errorf("pre_tokenizer %q is not supported", kind)
}

func parsePreTokenizers(data json.RawMessage) (preTokenizer, error) {
	var c struct{ Pretokenizers []json.RawMessage }
	if err := strict(data, &c); err != nil {
		return nil, err
	}
	var steps []preTokenizer
	for _, raw := range c.Pretokenizers {
		p, err := parsePreTokenizer(raw)
		if err != nil {
			return nil, err
		}
		if p != nil {
			steps = append(steps, p)
		}
	}
	return sequence(steps...), nil
}

func parseSplit(data json.RawMessage) (preTokenizer, error) {
	var c struct {
		Pattern  patternJSON
		Behavior behavior
		Invert   bool
	}
	if err := strict(data, &c); err != nil {
		return nil, err
	}
	find, err := c.Pattern.compile()
	if err != nil || !c.Invert {
		return split(find, c.Behavior), err
	}
	return split(func(text string) []span {
		spans := find(text)
		for i := range spans {
			spans[i].match = !spans[i].match
		}
		return spans
	}, c.Behavior), nil
}

// gpt2 are the words of GPT-2 and RoBERTa.
var gpt2, _ = regex(`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`)

func parseByteLevel(data json.RawMessage) (preTokenizer, error) {
	c := struct {
		AddPrefixSpace bool `json:"add_prefix_space"`
		TrimOffsets    bool `json:"trim_offsets"` // no matter for ids
		UseRegex       bool `json:"use_regex"`
	}{UseRegex: true}
	if err := strict(data, &c); err != nil {
		return nil, err
	}
	return newByteLevel(c.AddPrefixSpace, c.UseRegex), nil
}

func newByteLevel(addPrefixSpace, useRegex bool) preTokenizer {
	var steps []preTokenizer
	if addPrefixSpace {
		steps = append(steps, each(func(p piece) string {
			if strings.HasPrefix(p.text, " ") {
				return p.text
			}
			return " " + p.text
		}))
	}
	if useRegex {
		steps = append(steps, split(gpt2, "Isolated"))
	}
	return sequence(append(steps, each(func(p piece) string { return byteLevel(p.text) }))...)
}

func parseMetaspace(data json.RawMessage) (preTokenizer, error) {
	c, err := readMetaspace(data)
	if err != nil {
		return nil, err
	}
	mark := each(func(p piece) string {
		text := strings.ReplaceAll(p.text, " ", c.Replacement)
		wants := c.PrependScheme == "always" || c.PrependScheme == "first" && p.lead > 0
		if wants && !strings.HasPrefix(text, c.Replacement) {
			text = c.Replacement + text
		}
		return text
	})
	if c.Split != nil && !*c.Split {
		return mark, nil
	}
	return sequence(mark, split(runes(func(r rune) bool { return string(r) == c.Replacement }), "MergedWithNext")), nil
}

type metaspace struct {
	Replacement    string
	AddPrefixSpace *bool  `json:"add_prefix_space"`
	PrependScheme  string `json:"prepend_scheme"`
	Split          *bool
	StrRep         string `json:"str_rep"` // of old files; the replacement
}

func readMetaspace(data json.RawMessage) (metaspace, error) {
	c := metaspace{PrependScheme: "always"}
	if err := strict(data, &c); err != nil {
		return c, err
	}
	if c.AddPrefixSpace != nil && !*c.AddPrefixSpace {
		c.PrependScheme = "never"
	}
	switch c.PrependScheme {
	case "always", "first", "never":
	default:
		return c, fmt.Errorf("Metaspace: prepend_scheme %q is not supported", c.PrependScheme)
	}
	if utf8.RuneCountInString(c.Replacement) != 1 {
		return c, fmt.Errorf("Metaspace: replacement %q is not one character", c.Replacement)
	}
	return c, nil
}

// splitWords splits into words and runs of what is neither word nor space, as
// \w+|[^\w\s]+ of Rust's regex crate does.
func splitWords(pieces []piece) (out []piece) {
	class := func(r rune) int {
		switch {
		case isWord(r):
			return 1
		case unicode.IsSpace(r):
			return 0
		}
		return 2
	}
	for _, p := range pieces {
		start, last := 0, 0
		for i, r := range p.text + " " {
			if now := class(r); now != last {
				if last != 0 {
					out = append(out, piece{p.text[start:i], max(0, p.lead-start)})
				}
				start, last = i, now
			}
		}
	}
	return out
}

// isWord is \w of Unicode's UTS #18.
func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nl, unicode.Nd, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}

func isPunctuation(r rune) bool {
	return r < 0x80 && strings.ContainsRune("$+<=>^`|~", r) || unicode.IsPunct(r)
}

// byteLevel spells the bytes of a text in visible characters.
func byteLevel(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(subword.ByteAlphabet[s[i]])
	}
	return b.String()
}
