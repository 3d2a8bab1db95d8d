package main

import (
	"encoding/json"
	"io"
)

// newJSONLines writes values, each on a line, with HTML's characters as they are.
func newJSONLines(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}
