package models

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
)

// Parse reads a configuration as config.Parse does and checks that it describes a
// model that can be built. Configs of models that open_clip has and this module
// does not build give config.ErrUnsupported, with the config where it is one of an
// image and a text tower.
func Parse(data []byte) (c config.Config, preprocessCfg json.RawMessage, err error) {
	c, preprocessCfg, err = config.Parse(data)
	if err != nil {
		return c, nil, err
	}
	return c, preprocessCfg, Check(&c)
}

// Check says what is wrong with c in open_clip's own names, or which part of it is
// not supported.
func Check(c *config.Config) error { return towers.Check(c) }

// Vocabulary is the number of token ids that the model takes which c describes, 0
// where that is not known because it cannot be built.
func Vocabulary(c *config.Config) int { return towers.Vocabulary(c) }

// Info says which kind of model one of open_clip's is and whether it can be built.
type Info struct {
	Name       string                `json:"name"`
	Family     string                `json:"family"`
	ImageText  bool                  `json:"-"`          // false: models of audio, and GenLIP
	Parameters int64                 `json:"parameters"` // 0 where unknown
	ImageSize  config.Size           `json:"image_size"` // 0 without an image tower
	Pretrained map[string]Pretrained `json:"pretrained,omitempty"`
	Supported  bool                  `json:"supported"`
	Missing    string                `json:"missing,omitempty"` // why it is not supported
}

// Families lists the kinds of image-text models, in the order of tables.
func Families() (names []string) {
	for _, f := range towers.Families() {
		names = append(names, f.Name)
	}
	return names
}

// List describes open_clip's models, by name.
func List() ([]Info, error) {
	m, err := entries()
	if err != nil {
		return nil, err
	}
	var list []Info
	for _, name := range Names() {
		list = append(list, m[name].Info())
	}
	return list, nil
}

// Info describes the model. It is supported where its towers can be built and its
// family's numbers are compared with open_clip's by a test.
func (e Entry) Info() Info {
	info := Info{Name: e.Name, Parameters: e.Parameters, Pretrained: e.Pretrained}
	c, _, err := Parse(e.config)
	if other, _ := config.OtherKind(e.config); other != "" {
		info.Family = other
	} else {
		f := towers.Of(&c)
		info.Family, info.ImageText, info.ImageSize = f.Name, true, c.VisionCfg.ImageSize
		if err == nil && f.Recording == "" {
			err = errors.New("no recorded numbers of open_clip to compare " + f.Name + " with")
		}
	}
	if info.Supported = err == nil; err != nil {
		text, _, _ := strings.Cut(err.Error(), "; ") // what it suggests
		info.Missing = strings.TrimSuffix(text, " is "+config.ErrUnsupported.Error())
	}
	return info
}

// NamedShape is an entry of a state dict.
type NamedShape struct {
	Name  string
	Shape []int // empty for a scalar
}

// Shapes lists the state dict of the model that c describes, buffers included,
// by name. It needs no device and no memory for weights.
func Shapes(c config.Config) ([]NamedShape, error) {
	m, err := towers.Build(c)
	if err != nil {
		return nil, err
	}
	var list []NamedShape
	for name, p := range m.Parameters() {
		list = append(list, NamedShape{name, p.Shape})
	}
	slices.SortFunc(list, func(a, b NamedShape) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}
