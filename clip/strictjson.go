package clip

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// wantError is what a value of a config should have been.
type wantError string

func (e wantError) Error() string { return "want " + string(e) }

// valueError is what is wrong with the value at a key, dots between it and the
// keys of the objects around it.
type valueError struct{ key, reason string }

func (e *valueError) Error() string { return e.key + " " + e.reason }

// decodeStrict decodes an object into a struct, refusing keys that the struct
// does not have to the letter and asking for those that are required. Keys that
// are absent leave their fields as they are.
func decodeStrict(data []byte, dst any, required ...string) error {
	unknown, err := decodeKnown(data, dst, required...)
	if len(unknown) > 0 {
		return fmt.Errorf("unknown key %q", unknown[0])
	}
	return err
}

// decodeKnown is decodeStrict without the error for keys that the struct does not
// have: it returns these, sorted.
func decodeKnown(data []byte, dst any, required ...string) (unknown []string, err error) {
	var values map[string]json.RawMessage
	if err := decode(data, &values); err != nil {
		return nil, err
	}
	fields := map[string]reflect.Value{}
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
		field, ok := fields[k]
		if !ok {
			continue
		}
		if err := decodeField(values[k], field); err != nil {
			return unknown, atKey(k, values[k], err)
		}
	}
	return unknown, nil
}

// decodeField is decode, but that null, which would leave a number as it is, is
// refused where open_clip could not do without one. (Of a Size it makes 0, as
// in ModifiedResNets' patch_size.)
func decodeField(data json.RawMessage, field reflect.Value) error {
	if string(data) == "null" {
		switch field.Interface().(type) {
		case int, float64, VisionConfig, TextConfig:
			return wantError(kindName(field.Type()))
		}
	}
	return decode(data, field.Addr().Interface())
}

// decode is json.Unmarshal, but that what it says of a wrong type is for people
// who do not know Go.
func decode(data []byte, dst any) error {
	err := json.Unmarshal(data, dst)
	var typeErr *json.UnmarshalTypeError
	if errors.As(err, &typeErr) {
		return wantError(kindName(typeErr.Type))
	}
	return err
}

// atKey says at which key, and of which value, an error is.
func atKey(key string, value json.RawMessage, err error) error {
	var inner *valueError
	var want wantError
	switch {
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

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Array, reflect.Slice: // Size and Layers
		return "a whole number or a list of them"
	}
	return "a JSON object"
}

// jsonFields lists the fields of a struct by their keys.
func jsonFields(v reflect.Value, fields map[string]reflect.Value) {
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Anonymous {
			jsonFields(v.Field(i), fields)
		} else if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			fields[name] = v.Field(i)
		}
	}
}

// ignoredKeys warns of keys in a section that open_clip drops. It returns one
// warning, or none without such keys.
func ignoredKeys(section string, keys []string) []string {
	if len(keys) == 0 {
		return nil
	}
	var names []string
	for _, key := range keys[:min(len(keys), 10)] {
		if quoted := fmt.Sprintf("%.60q", key); quoted != `"`+key+`"` {
			key = quoted
		}
		names = append(names, key)
	}
	if n := len(keys) - len(names); n > 0 {
		names = append(names, fmt.Sprintf("%d more", n))
	}
	return []string{fmt.Sprintf("%s: ignored, as by open_clip: %s", section, strings.Join(names, ", "))}
}
