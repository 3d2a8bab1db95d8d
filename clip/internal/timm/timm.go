// Package timm knows which models of timm's library can be built, and what
// timm gives their constructors.
package timm

import (
	_ "embed"
	"encoding/json"
)

//go:embed models.json
var modelsJSON []byte

// Models holds the arguments of each model's constructor, by the model's name.
var Models = func() (m map[string]map[string]json.RawMessage) {
	if err := json.Unmarshal(modelsJSON, &m); err != nil {
		panic(err) // a file of this package
	}
	return m
}()
