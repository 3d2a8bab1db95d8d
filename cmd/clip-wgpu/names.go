package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A file's name is bytes, which need not be UTF-8. Two names look different in every
// output: JSON has them as rawText, lines for people as shown, CSV and TSV as they are.

// rawText is a name or text in JSON, in the form of Python's os.fsdecode: a byte
// 0xNN that is not UTF-8 is the lone surrogate \udcNN, which json.loads and
// os.fsencode turn back. Text has no such surrogates of its own.
type rawText string

// MarshalJSON implements json.Marshaler.
func (s rawText) MarshalJSON() ([]byte, error) {
	out := []byte{'"'}
	for rest := string(s); rest != ""; {
		n := validPrefix(rest)
		var b bytes.Buffer
		if err := newJSONLines(&b).Encode(rest[:n]); err != nil {
			return nil, err
		}
		out = append(out, b.Bytes()[1:b.Len()-2]...) // without its quotes and line end
		if rest = rest[n:]; rest != "" {
			out = fmt.Appendf(out, `\udc%02x`, rest[0])
			rest = rest[1:]
		}
	}
	return append(out, '"'), nil
}

// validPrefix is how many bytes at the beginning of s are UTF-8.
func validPrefix(s string) int {
	for i, r := range s {
		if _, size := utf8.DecodeRuneInString(s[i:]); r == utf8.RuneError && size == 1 {
			return i
		}
	}
	return len(s)
}

// shown is a name for people: as it is or, where it would break a line, is not
// UTF-8 or looks quoted, in Go's quotes.
func shown(name string) string {
	breaks := func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }
	if name == "" || name[0] == '"' || !utf8.ValidString(name) || strings.ContainsFunc(name, breaks) {
		return strconv.Quote(name)
	}
	return name
}

// inputError is the error of one input.
type inputError struct {
	id  string // an image's path or a text
	err error
}

// maxShownID bounds the bytes of a text in a message. Paths are shorter.
const maxShownID = 8 << 10

func (e *inputError) Error() string {
	id := e.id
	if len(id) > maxShownID {
		id = strings.ToValidUTF8(id[:maxShownID], "") + "…"
	}
	return shown(id) + ": " + cause(e.err).Error()
}

func (e *inputError) Unwrap() error { return e.err }
