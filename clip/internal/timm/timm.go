// Package timm knows which models of timm's library can be built, and what
// timm gives their constructors.
package timm

import (
	_ "embed"
	"encoding/json"
)

//go:embed models.json
var modelsJSON []byte

//go:embed classes.json
var classesJSON []byte

// Args are the arguments of the constructors of a class, by the models' names.
type Args map[string]map[string]json.RawMessage

// Models holds those of VisionTransformer, and of Eva as the Perception Encoder has it.
var Models = func() (m Args) {
	read(modelsJSON, &m)
	return m
}()

// Classes holds those of the other classes, by timm's names of these.
var Classes = func() (m map[string]Args) {
	read(classesJSON, &m)
	return m
}()

func read(data []byte, to any) {
	if err := json.Unmarshal(data, to); err != nil {
		panic(err) // a file of this package
	}
}
