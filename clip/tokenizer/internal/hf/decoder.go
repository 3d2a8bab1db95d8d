package hf

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/pytext"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/subword"
)

// decoder turns tokens into parts of a text.
type decoder func(tokens []string) []string

// eachToken changes tokens one by one.
func eachToken(change func(i int, token string) string) decoder {
	return func(tokens []string) []string {
		out := make([]string, len(tokens))
		for i, token := range tokens {
			out[i] = change(i, token)
		}
		return out
	}
}

// parseDecoder reads the decoder of a tokenizer.json; null puts blanks between
// tokens.
func parseDecoder(data json.RawMessage) (decoder, error) {
	kind, err := kindOf(data)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "":
		return func(tokens []string) []string { return []string{strings.Join(tokens, " ")} }, nil
	case "Sequence":
		return parseDecoders(data)
	case "ByteLevel":
		return decodeByteLevel, nil
	case "ByteFallback":
		return decodeBytes, strict(data, &struct{}{})
	case "Fuse":
		return func(tokens []string) []string { return []string{strings.Join(tokens, "")} }, strict(data, &struct{}{})
	case "Replace":
		n, err := parseReplace(data)
		return eachToken(func(_ int, token string) string { return n(token) }), err
	case "Metaspace":
		c, err := readMetaspace(data)
		return eachToken(func(i int, token string) string {
			if i == 0 && c.PrependScheme != "never" {
				return strings.ReplaceAll(token, c.Replacement, "")
			}
			return strings.ReplaceAll(token, c.Replacement, " ")
		}), err
	case "Strip":
		var c struct {
			Content     string
			Start, Stop int
		}
		err := strict(data, &c)
		return eachToken(func(_ int, token string) string { return stripTimes(token, c.Content, c.Start, c.Stop) }), err
	case "WordPiece":
		return parseWordPieceDecoder(data)
	case "BPEDecoder":
		var c struct{ Suffix string }
		err := strict(data, &c)
		return func(tokens []string) []string {
			return eachToken(func(i int, token string) string {
				return strings.ReplaceAll(token, c.Suffix, map[bool]string{true: "", false: " "}[i == len(tokens)-1])
			})(tokens)
		}, err
	}
	return nil, fmt.Errorf("decoder %q is not supported", kind)
}

// parseWordPieceDecoder reads BERT's: a token that does not go on with a word is apart.
func parseWordPieceDecoder(data json.RawMessage) (decoder, error) {
	c := struct {
		Prefix  string
		Cleanup bool
	}{"##", true}
	err := strict(data, &c)
	return eachToken(func(i int, token string) string {
		if i > 0 {
			if inner, ok := strings.CutPrefix(token, c.Prefix); ok {
				token = inner
			} else {
				token = " " + token
			}
		}
		if c.Cleanup {
			token = tidy(token)
		}
		return token
	}), err
}

func parseDecoders(data json.RawMessage) (decoder, error) {
	var c struct{ Decoders []json.RawMessage }
	if err := strict(data, &c); err != nil {
		return nil, err
	}
	var steps []decoder
	for _, raw := range c.Decoders {
		d, err := parseDecoder(raw)
		if err != nil {
			return nil, err
		}
		steps = append(steps, d)
	}
	return func(tokens []string) []string {
		for _, step := range steps {
			tokens = step(tokens)
		}
		return tokens
	}, nil
}

func decodeByteLevel(tokens []string) []string {
	var b []byte
	for _, token := range tokens {
		start := len(b)
		for _, r := range token {
			c, ok := subword.AlphabetBytes[r]
			if !ok { // not spelled in the byte alphabet: as it is
				b = append(b[:start], token...)
				break
			}
			b = append(b, c)
		}
	}
	return []string{pytext.DecodeUTF8(string(b))}
}

// decodeBytes joins runs of tokens like <0x41>; a run that is not UTF-8 becomes
// a U+FFFD for each.
func decodeBytes(tokens []string) (out []string) {
	var run []byte
	flush := func() {
		switch {
		case len(run) == 0:
		case utf8.Valid(run):
			out = append(out, string(run))
		default:
			for range run {
				out = append(out, "\uFFFD")
			}
		}
		run = run[:0]
	}
	for _, token := range tokens {
		if len(token) == 6 && strings.HasPrefix(token, "<0x") && strings.HasSuffix(token, ">") {
			if b, err := strconv.ParseUint(token[3:5], 16, 8); err == nil {
				run = append(run, byte(b))
				continue
			}
		}
		flush()
		out = append(out, token)
	}
	flush()
	return out
}

func stripTimes(s, content string, start, stop int) string {
	for ; start > 0 && content != "" && strings.HasPrefix(s, content); start-- {
		s = s[len(content):]
	}
	for ; stop > 0 && content != "" && strings.HasSuffix(s, content); stop-- {
		s = s[:len(s)-len(content)]
	}
	return s
}

// tidy takes out blanks that the split put before English punctuation.
func tidy(s string) string {
	for _, r := range [][2]string{{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"},
		{" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}} {
		s = strings.ReplaceAll(s, r[0], r[1])
	}
	return s
}
