package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Parser reads JSON of a known structure token by token. It is for long texts of
// strangers: it refuses duplicate keys, which encoding/json does not notice, and
// bounds the memory that a text can claim. Its errors are a *ParseError where the text
// is JSON, else encoding/json's.
type Parser struct {
	text               []byte
	dec                *json.Decoder
	maxToken, maxNames int
}

// ParseError is what is wrong with JSON that a Parser reads.
type ParseError struct{ Reason string }

func (e *ParseError) Error() string { return e.Reason }

func refuse(format string, args ...any) error {
	return &ParseError{fmt.Sprintf(format, args...)}
}

// NewParser makes a parser of text. A string or number may have maxToken bytes, an
// object maxNames keys.
func NewParser(text []byte, maxToken, maxNames int) *Parser {
	p := &Parser{text: text, maxToken: maxToken, maxNames: maxNames}
	p.dec = json.NewDecoder(&feed{p: p})
	p.dec.UseNumber()
	return p
}

// feed is the decoder's input. The decoder grows its buffer until it holds
// the next token; feed ends that at maxToken.
type feed struct {
	p    *Parser
	read int
}

func (f *feed) Read(b []byte) (int, error) {
	if f.read-int(f.p.dec.InputOffset()) > f.p.maxToken {
		return 0, refuse("a string or number is longer than %d bytes", f.p.maxToken)
	}
	n := copy(b, f.p.text[f.read:])
	if n == 0 {
		return 0, io.EOF
	}
	f.read += n
	return n, nil
}

// Object reads {"key": value, ...}; value must consume one value a call.
func (p *Parser) Object(value func(key string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	seen := map[string]struct{}{}
	for p.dec.More() {
		key, err := p.String()
		if err != nil {
			return err
		}
		if _, ok := seen[key]; ok {
			return refuse("duplicate name %.120q", key)
		}
		if len(seen) == p.maxNames {
			return refuse("more than %d names", p.maxNames)
		}
		seen[key] = struct{}{}
		if err := value(key); err != nil {
			return err
		}
	}
	return p.delim('}')
}

// Ints reads an array of at most most numbers, each an integer from 0 up.
func (p *Parser) Ints(most int) ([]int, error) {
	if err := p.delim('['); err != nil {
		return nil, err
	}
	list := []int{}
	for p.dec.More() {
		if len(list) == most {
			return nil, refuse("more than %d numbers", most)
		}
		token, err := p.token()
		if err != nil {
			return nil, err
		}
		number, ok := token.(json.Number)
		if !ok {
			return nil, unexpected("a number", token)
		}
		v, err := strconv.ParseUint(number.String(), 10, strconv.IntSize-1)
		if err != nil {
			return nil, refuse("%.120s is not an integer from 0 to 2^%d-1", number, strconv.IntSize-1)
		}
		list = append(list, int(v))
	}
	return list, p.delim(']')
}

// String reads a string.
func (p *Parser) String() (string, error) {
	token, err := p.token()
	if err != nil {
		return "", err
	}
	s, ok := token.(string)
	if !ok {
		return "", unexpected("a string", token)
	}
	return s, nil
}

// Skip reads one value of any kind.
func (p *Parser) Skip() error {
	var ignored json.RawMessage
	return p.dec.Decode(&ignored)
}

// End checks that nothing but white space follows.
func (p *Parser) End() error {
	if rest := bytes.TrimLeft(p.text[p.dec.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return refuse("%q follows the closing brace", rest[:1])
	}
	return nil
}

func (p *Parser) delim(want json.Delim) error {
	token, err := p.token()
	if err == nil && token != want {
		err = unexpected("'"+want.String()+"'", token)
	}
	return err
}

func (p *Parser) token() (json.Token, error) {
	token, err := p.dec.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return token, err
}

func unexpected(want string, got json.Token) error {
	switch got := got.(type) {
	case nil:
		return refuse("%s expected, got null", want)
	case string:
		return refuse("%s expected, got %.120q", want, got)
	}
	return refuse("%s expected, got '%.120s'", want, fmt.Sprint(got))
}
