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

// Find returns the arguments of a model of any class; nil where there is none of the name.
func Find(name string) map[string]json.RawMessage {
	if args, ok := Models[name]; ok {
		return args
	}
	for _, all := range Classes {
		if args, ok := all[name]; ok {
			return args
		}
	}
	return nil
}

func read(data []byte, to any) {
	if err := json.Unmarshal(data, to); err != nil {
		panic(err) // a file of this package
	}
}
