// Package strictjson decodes JSON with errors for people who do not know Go: they
// say at which key a value is, what was found and what is wanted.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// WantError is what a value should have been.
type WantError string

func (e WantError) Error() string { return "want " + string(e) }

// valueError is what is wrong with the value at a key, dots between it and the
// keys of the objects around it.
type valueError struct{ key, reason string }

func (e *valueError) Error() string { return e.key + " " + e.reason }

// Struct decodes an object into a struct, refusing keys that the struct does not
// have to the letter and asking for those that are required. Keys that are absent
// leave their fields as they are.
func Struct(data []byte, dst any, required ...string) error {
	unknown, err := Known(data, dst, required...)
	if len(unknown) > 0 {
		return fmt.Errorf("unknown key %q", unknown[0])
	}
	return err
}

// Known is Struct, but that it returns the keys that the struct does not have,
// sorted. null, which would leave a field as it is, is refused of numbers and of
// fields with the tag null:"no".
func Known(data []byte, dst any, required ...string) (unknown []string, err error) {
	var values map[string]json.RawMessage
	if err := Unmarshal(data, &values); err != nil {
		return nil, err
	}
	fields := map[string]field{}
	jsonFields(reflect.ValueOf(dst).Elem(), fields)
	keys := slices.Sorted(maps.Keys(values))
	for _, k := range keys {
		if _, ok := fields[k]; !ok {
			unknown = append(unknown, k)
		}
	}
	for _, k := range required {
		if _, ok := values[k]; !ok {
			return unknown, fmt.Errorf("key %q is missing", k)
		}
	}
	for _, k := range keys {
		f, ok := fields[k]
		if !ok {
			continue
		}
		if err := f.decode(values[k]); err != nil {
			return unknown, At(k, values[k], err)
		}
	}
	return unknown, nil
}

// Keys lists the keys of a struct, sorted.
func Keys(dst any) []string {
	fields := map[string]field{}
	jsonFields(reflect.ValueOf(dst).Elem(), fields)
	return slices.Sorted(maps.Keys(fields))
}

// field is a member of a struct.
type field struct {
	reflect.Value
	noNull bool
}

func (f field) decode(data json.RawMessage) error {
	if isNull(data) && (f.noNull || f.Type() == reflect.TypeFor[int]() || f.Type() == reflect.TypeFor[float64]()) {
		t := f.Type()
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		return WantError(kindName(t))
	}
	return Unmarshal(data, f.Addr().Interface())
}

// jsonFields lists the fields of a struct by their keys.
func jsonFields(v reflect.Value, fields map[string]field) {
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Anonymous {
			jsonFields(v.Field(i), fields)
		} else if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			fields[name] = field{v.Field(i), f.Tag.Get("null") == "no"}
		}
	}
}

func isNull(data []byte) bool { return string(bytes.TrimSpace(data)) == "null" }

// Unmarshal is json.Unmarshal with this package's errors.
func Unmarshal(data []byte, dst any) error {
	return explain(json.Unmarshal(data, dst), data, dst)
}

// Exact is Unmarshal, but that it refuses keys that no struct within dst has.
func Exact(data []byte, dst any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(dst); err != nil {
		return explain(err, data, dst)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

var nullMember = regexp.MustCompile(`:\s*null\b`)

// Numbers decodes an object of whole numbers, none of them null.
func Numbers[T int | int32 | int64](data []byte) (numbers map[string]T, err error) {
	if err = Unmarshal(data, &numbers); err != nil || !bytes.Contains(data, []byte("null")) || !nullMember.Match(data) {
		return numbers, err
	}
	var values map[string]json.RawMessage // of which some may be null
	if err := json.Unmarshal(data, &values); err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if isNull(values[key]) {
			return nil, At(key, values[key], WantError(kindName(reflect.TypeFor[T]())))
		}
	}
	return numbers, nil
}

// At says at which key, and of which value, an error is.
func At(key string, value json.RawMessage, err error) error {
	if !plainKey.MatchString(key) {
		key = fmt.Sprintf("%.60q", key)
	}
	var inner *valueError
	var want WantError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &inner) && strings.HasPrefix(inner.key, "["):
		return &valueError{key + inner.key, inner.reason}
	case errors.As(err, &inner):
		return &valueError{key + "." + inner.key, inner.reason}
	case errors.As(err, &want):
		var text bytes.Buffer
		if json.Compact(&text, value) != nil || text.Len() > 60 {
			text.Truncate(min(text.Len(), 60))
			text.WriteString("…")
		}
		return &valueError{key, fmt.Sprintf("is %q, %v", text.String(), want)}
	}
	return fmt.Errorf("%s: %w", key, err)
}

var plainKey = regexp.MustCompile(`^[\w.\[\]-]{1,60}$`)

// explain replaces Go's words in an error of decoding data into dst.
func explain(err error, data []byte, dst any) error {
	var typeErr *json.UnmarshalTypeError
	var value *valueError // of a value that decodes itself, which does not know its key
	var want WantError
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return fmt.Errorf("not JSON: %w", err)
	case errors.As(err, &typeErr), errors.As(err, &value), errors.As(err, &want):
		if found := find(data, reflect.TypeOf(dst).Elem()); found != nil {
			return found
		}
		if typeErr != nil {
			err = WantError(kindName(typeErr.Type))
		}
	case strings.HasPrefix(err.Error(), "json: unknown field "):
		return fmt.Errorf("unknown key %.60s", strings.TrimPrefix(err.Error(), "json: unknown field "))
	}
	return err
}

// find returns what is wrong with the first value that does not fit t.
func find(data []byte, t reflect.Type) error {
	isOwn := reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]())
	switch {
	case isNull(data):
		return nil
	case isOwn || t.Kind() == reflect.Interface:
		return json.Unmarshal(data, reflect.New(t).Interface())
	case t.Kind() == reflect.Pointer:
		return find(data, t.Elem())
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		var items []json.RawMessage
		if json.Unmarshal(data, &items) != nil {
			return WantError(kindName(t))
		}
		for i, item := range items {
			if err := find(item, t.Elem()); err != nil {
				return At(fmt.Sprintf("[%d]", i), item, err)
			}
		}
		return nil
	case t.Kind() == reflect.Map || t.Kind() == reflect.Struct:
		return findIn(data, t)
	case json.Unmarshal(data, reflect.New(t).Interface()) != nil:
		return WantError(kindName(t))
	}
	return nil
}

// findIn is find in an object.
func findIn(data []byte, t reflect.Type) error {
	var values map[string]json.RawMessage
	if json.Unmarshal(data, &values) != nil {
		return WantError(kindName(t))
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		var of reflect.Type
		if t.Kind() == reflect.Map {
			of = t.Elem()
		} else if f, ok := t.FieldByNameFunc(func(name string) bool { return isField(t, name, key) }); ok {
			of = f.Type
		} else {
			continue
		}
		if err := find(values[key], of); err != nil {
			return At(key, values[key], err)
		}
	}
	return nil
}

// isField tells whether encoding/json decodes a key into a field.
func isField(t reflect.Type, name, key string) bool {
	f, _ := t.FieldByName(name)
	if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag != "" {
		name = tag
	}
	return strings.EqualFold(name, key)
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Int32:
		return "a whole number below 2^31"
	case reflect.Float64:
		return "a number"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Array, reflect.Slice:
		return "a list"
	}
	return "a JSON object"
}
