package main

import (
	"encoding/json"
	"io"
	"math"
)

// newJSONLines writes values, each on a line, with HTML's characters as they are.
func newJSONLines(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}

// number is null in JSON when it is NaN or infinite, as weights that hold NaN make it.
type number float32

// MarshalJSON implements json.Marshaler.
func (n number) MarshalJSON() ([]byte, error) {
	if v := float64(n); math.IsNaN(v) || math.IsInf(v, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float32(n))
}
