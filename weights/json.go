package weights

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// jsonParser reads JSON of a known structure token by token, because
// encoding/json decodes into values without noticing duplicate keys.
type jsonParser struct {
	text []byte
	dec  *json.Decoder
}

func newJSONParser(text []byte) *jsonParser {
	p := &jsonParser{text: text}
	p.dec = json.NewDecoder(&feed{p: p})
	p.dec.UseNumber()
	return p
}

// feed is the decoder's input. The decoder grows its buffer until it holds
// the next token; feed ends that at maxToken.
type feed struct {
	p    *jsonParser
	read int
}

func (f *feed) Read(b []byte) (int, error) {
	if f.read-int(f.p.dec.InputOffset()) > maxToken {
		return 0, fail(ErrMalformed, "", "a string or number is longer than %d bytes", maxToken)
	}
	n := copy(b, f.p.text[f.read:])
	if n == 0 {
		return 0, io.EOF
	}
	f.read += n
	return n, nil
}

// object reads {"key": value, ...}; value must consume one value a call.
func (p *jsonParser) object(value func(key string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	seen := map[string]struct{}{}
	for p.dec.More() {
		key, err := p.string()
		if err != nil {
			return err
		}
		if _, ok := seen[key]; ok {
			return fail(ErrMalformed, "", "duplicate name %s", quote(key))
		}
		if len(seen) == maxNames {
			return fail(ErrMalformed, "", "more than %d names", maxNames)
		}
		seen[key] = struct{}{}
		if err := value(key); err != nil {
			return err
		}
	}
	return p.delim('}')
}

// stringMap reads an object whose values are strings.
func (p *jsonParser) stringMap() (map[string]string, error) {
	m := map[string]string{}
	err := p.object(func(key string) (err error) {
		m[key], err = p.string()
		return prefixed(quote(key), err)
	})
	return m, err
}

// ints reads an array of at most most numbers, each an integer from 0 up.
func (p *jsonParser) ints(most int) ([]int, error) {
	if err := p.delim('['); err != nil {
		return nil, err
	}
	list := []int{}
	for p.dec.More() {
		if len(list) == most {
			return nil, fail(ErrMalformed, "", "more than %d numbers", most)
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
			return nil, fail(ErrMalformed, "", "%s is not an integer from 0 to 2^%d-1", clip(number.String()), strconv.IntSize-1)
		}
		list = append(list, int(v))
	}
	return list, p.delim(']')
}

func (p *jsonParser) string() (string, error) {
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

// skip reads one value of any kind.
func (p *jsonParser) skip() error {
	var ignored json.RawMessage
	return p.dec.Decode(&ignored)
}

// end checks that nothing but white space follows.
func (p *jsonParser) end() error {
	if rest := bytes.TrimLeft(p.text[p.dec.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return fail(ErrMalformed, "", "%q follows the closing brace", rest[:1])
	}
	return nil
}

func (p *jsonParser) delim(want json.Delim) error {
	token, err := p.token()
	if err == nil && token != want {
		err = unexpected("'"+want.String()+"'", token)
	}
	return err
}

func (p *jsonParser) token() (json.Token, error) {
	token, err := p.dec.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return token, err
}

func unexpected(want string, got json.Token) error {
	var found string
	switch got := got.(type) {
	case nil:
		found = "null"
	case string:
		found = quote(got)
	default:
		found = "'" + clip(fmt.Sprint(got)) + "'"
	}
	return fail(ErrMalformed, "", "%s expected, got %s", want, found)
}

// asMalformed turns errors of encoding/json into ours; what names the text.
func asMalformed(what string, err error) error {
	var e *FileError
	if errors.As(err, &e) {
		return err
	}
	return fail(ErrMalformed, "", "%s is not valid JSON: %v", what, err)
}

// inTensor names the tensor of an error that has none yet.
func inTensor(name string, err error) error {
	var e *FileError
	if errors.As(err, &e) && e.Tensor == "" {
		e.Tensor = name
	}
	return err
}

// prefixed puts "key: " before the reason of an error.
func prefixed(key string, err error) error {
	var e *FileError
	if errors.As(err, &e) {
		e.Reason = key + ": " + e.Reason
	}
	return err
}
