// Package transformers knows the configurations of models of Hugging Face's library
// transformers, which open_clip reads from the hub (AutoConfig).
package transformers

import (
	_ "embed"
	"encoding/json"
	"slices"
	"strings"
)

//go:embed models.json
var modelsJSON []byte

// Model is a published model.
type Model struct {
	Type   string          // model_type
	Config json.RawMessage // its config.json, as far as that decides what the encoder computes
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *Model) UnmarshalJSON(data []byte) error {
	m.Config = append(m.Config, data...)
	return json.Unmarshal(data, &struct {
		Type *string `json:"model_type"`
	}{&m.Type})
}

// models are the published models by name.
var models = func() (m map[string]Model) {
	if err := json.Unmarshal(modelsJSON, &m); err != nil {
		panic(err) // a file of this package
	}
	return m
}()

// Find returns the model that the hub has under a name, with or without the
// organisation that keeps it.
func Find(name string) (Model, bool) {
	for _, organisation := range []string{"FacebookAI/", "google-bert/"} {
		name = strings.TrimPrefix(name, organisation)
	}
	m, ok := models[name]
	return m, ok
}

// Names lists, in ascending order, the published models of some types.
func Names(types ...string) (names []string) {
	for name, m := range models {
		if slices.Contains(types, m.Type) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
