package weights

import (
	"errors"

	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
)

// jsonObject reads a text that is one object; member must consume the value of each
// key. what names the text in errors, which have no path yet.
func jsonObject(what string, text []byte, member func(p *strictjson.Parser, key string) error) error {
	p := strictjson.NewParser(text, maxToken, maxNames)
	err := p.Object(func(key string) error { return member(p, key) })
	if err == nil {
		err = p.End()
	}
	var e *FileError
	if err = inFile(err); err == nil || errors.As(err, &e) {
		return err
	}
	return fail(ErrMalformed, "", "%s is not valid JSON: %v", what, err)
}

// stringMap reads an object whose values are strings.
func stringMap(p *strictjson.Parser) (map[string]string, error) {
	m := map[string]string{}
	err := p.Object(func(key string) (err error) {
		m[key], err = p.String()
		return prefixed(quote(key), err)
	})
	return m, err
}

// inFile turns what a Parser refuses into a FileError; others pass through.
func inFile(err error) error {
	var e *strictjson.ParseError
	if errors.As(err, &e) {
		return fail(ErrMalformed, "", "%s", e.Reason)
	}
	return err
}

// inTensor names the tensor of an error that has none yet.
func inTensor(name string, err error) error {
	var e *FileError
	if err = inFile(err); errors.As(err, &e) && e.Tensor == "" {
		e.Tensor = name
	}
	return err
}

// prefixed puts "key: " before the reason of an error.
func prefixed(key string, err error) error {
	var e *FileError
	if err = inFile(err); errors.As(err, &e) {
		e.Reason = key + ": " + e.Reason
	}
	return err
}
