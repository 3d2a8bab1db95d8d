package config

import (
	"encoding/json"
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/internal/guard"
	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
)

// Parse reads a model's configuration. The JSON is one of open_clip's model_configs,
// an open_clip_config.json, or the config.json of a Hugging Face CLIPModel or
// SiglipModel, which is translated. Absent keys get open_clip's defaults, an unknown
// key is an error. The second result is the preprocess_cfg of an
// open_clip_config.json, else nil. Parse does not tell whether the model can be built;
// models.Check does.
func Parse(data []byte) (c Config, preprocessCfg json.RawMessage, err error) {
	defer guard.Catch(&err)
	var file struct {
		ModelCfg      json.RawMessage `json:"model_cfg"`
		PreprocessCfg json.RawMessage `json:"preprocess_cfg"`
		ModelType     json.RawMessage `json:"model_type"` // a key of Hugging Face's configs
	}
	if err := strictjson.Unmarshal(data, &file); err != nil {
		return Config{}, nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	switch {
	case file.ModelCfg == nil && file.ModelType != nil:
		c, err = translateHuggingFace(data)
		return c, nil, err
	case file.ModelCfg == nil:
		file.ModelCfg = data
	}
	if _, err := OtherKind(file.ModelCfg); err != nil {
		return Config{}, nil, err
	}
	if err := strictjson.Unmarshal(file.ModelCfg, &c); err != nil {
		return Config{}, nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return c, file.PreprocessCfg, nil
}

// otherKinds are models that are no pair of an image and a text tower, by the key of
// their configs.
var otherKinds = []struct{ key, name string }{
	{"genlap_cfg", "GenLAP"},
	{"genlip_cfg", "GenLIP"},
	{"audio_cfg", "CLAP"},
	{"audio_naflex_cfg", "CLAP"},
	{"architecture", "timm's, of an image tower alone"},
}

// OtherKind names, and refuses, the config of a model that is no pair of an image
// and a text tower.
func OtherKind(config json.RawMessage) (name string, err error) {
	var keys map[string]json.RawMessage
	if json.Unmarshal(config, &keys) != nil {
		return "", nil // decoding the config says why
	}
	for _, m := range otherKinds {
		if _, ok := keys[m.key]; ok {
			return m.name, fmt.Errorf("%s (%s) is %w; supported are models of images and text", m.key, m.name, ErrUnsupported)
		}
	}
	return "", nil
}
