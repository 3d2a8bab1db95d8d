package clip

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// ModelInfo is what is known of one of open_clip's models.
type ModelInfo struct {
	Name       string                `json:"name"`
	Family     string                `json:"family"`
	ImageText  bool                  `json:"-"`          // false: models of audio, and GenLIP
	Parameters int64                 `json:"parameters"` // 0 where unknown
	ImageSize  Size                  `json:"image_size"` // 0 without an image tower
	Pretrained map[string]Pretrained `json:"pretrained,omitempty"`
	Supported  bool                  `json:"supported"`
	Missing    string                `json:"missing,omitempty"` // why it is not supported
}

// family is a kind of model.
type family struct {
	name string
	// recorded names the case that compares the numbers of such towers with
	// open_clip's. Without one a family is not called supported, whatever builds.
	recorded string
}

// families, in the order in which tables list them.
var families = []family{
	{"ViT", "vit_openai_tiny"},
	{"ModifiedResNet", "modified_resnet"},
	{"SigLIP", "siglip_timm_map"},
	{"SigLIP2", "siglip2_timm_map"},
	{"PE-Core", "pe_core"},
	{"CLIPA", "opt_no_ln_pre"},
	{"timm ViT", "timm_vit_avg"},
	{"ConvNeXt", ""},
	{"EVA", ""},
	{"CoCa", ""},
	{"Hugging Face text", ""},
	{"ViTamin", ""},
	{"FastViT", ""},
	{"NaFlex", ""},
	{"modern text", ""},
	{"other timm", ""},
}

// otherModels are open_clip's models that are no pair of an image and a text
// tower, by the key of their configs.
var otherModels = []struct{ key, name string }{
	{"genlap_cfg", "GenLAP"},
	{"genlip_cfg", "GenLIP"},
	{"audio_cfg", "CLAP"},
	{"audio_naflex_cfg", "CLAP"},
}

// otherModel refuses the config of a model that is no pair of image and text towers.
func otherModel(config json.RawMessage) (name string, err error) {
	var keys map[string]json.RawMessage
	if json.Unmarshal(config, &keys) != nil {
		return "", nil // decoding the config says why
	}
	for _, m := range otherModels {
		if _, ok := keys[m.key]; ok {
			return m.name, fmt.Errorf("%s (%s) is %w; supported are models of images and text", m.key, m.name, ErrUnsupported)
		}
	}
	return "", nil
}

// timmFamilies are the families of timm's towers, by how their names start.
var timmFamilies = []struct{ prefix, family string }{
	{"convnext", "ConvNeXt"}, {"eva", "EVA"}, {"vitamin", "ViTamin"}, {"fastvit", "FastViT"}, {"naflexvit", "NaFlex"},
	{"vit_pe_core", "PE-Core"}, {"vit_relpos", "other timm"}, {"vit_", "timm ViT"}, {"", "other timm"},
}

// family names the kind of model that c describes.
func (c *Config) family() string {
	v, t := &c.VisionCfg, &c.TextCfg
	timm := ""
	if v.TimmModelName != nil {
		timm = *v.TimmModelName
	}
	switch {
	case len(c.MultimodalCfg) > 0:
		return "CoCa"
	case t.HFModelName != nil && *t.HFModelName != "":
		return "Hugging Face text"
	case strings.HasPrefix(timm, "vit_") && strings.Contains(timm, "_siglip"):
		if strings.Contains(t.tokenizerName(), "SigLIP2") {
			return "SigLIP2"
		}
		return "SigLIP"
	case timm == "" && len(v.Layers) > 1:
		return "ModifiedResNet"
	case t.TextArch == "modern" && !strings.HasPrefix(timm, "naflexvit"):
		return "modern text"
	case timm == "" && v.NoLnPre && t.NoCausalMask:
		return "CLIPA"
	case timm == "":
		return "ViT"
	}
	i := slices.IndexFunc(timmFamilies, func(f struct{ prefix, family string }) bool { return strings.HasPrefix(timm, f.prefix) })
	return timmFamilies[i].family
}

// Families lists the kinds of image-text models, in the order of tables.
func Families() []string {
	names := make([]string, len(families))
	for i, f := range families {
		names[i] = f.name
	}
	return names
}

// Models lists what is known of open_clip's models, by name. A model is
// supported where its towers can be built and its family's numbers are compared
// with open_clip's by a test.
func Models() ([]ModelInfo, error) {
	m, err := models()
	if err != nil {
		return nil, err
	}
	var list []ModelInfo
	for _, name := range slices.Sorted(maps.Keys(m)) {
		list = append(list, m[name].info(name))
	}
	return list, nil
}

// ModelByName returns what is known of the model that ModelConfig finds.
func ModelByName(name string) (ModelInfo, error) {
	known, entry, err := findModel(name)
	if err != nil {
		return ModelInfo{}, err
	}
	return entry.info(known), nil
}

func (e modelEntry) info(name string) ModelInfo {
	info := ModelInfo{Name: name, Parameters: e.Parameters, Pretrained: e.Pretrained}
	c, _, err := ParseConfig(e.Config)
	if other, _ := otherModel(e.Config); other != "" {
		info.Family = other
	} else {
		info.Family, info.ImageText, info.ImageSize = c.family(), true, c.VisionCfg.ImageSize
	}
	if err == nil {
		_, _, err = build(c)
	}
	if err == nil {
		err = recorded(info.Family)
	}
	if info.Supported = err == nil; err != nil {
		info.Missing = strings.TrimSuffix(shortError(err), " is "+ErrUnsupported.Error())
	}
	return info
}

// recorded tells of a family whose numbers nothing compares with open_clip's.
func recorded(name string) error {
	i := slices.IndexFunc(families, func(f family) bool { return f.name == name })
	if i < 0 || families[i].recorded == "" {
		return errors.New("no recorded numbers of open_clip to compare " + name + " with")
	}
	return nil
}

// shortError is an error without what it suggests.
func shortError(err error) string {
	text, _, _ := strings.Cut(err.Error(), "; ")
	return text
}

// NamedShape is an entry of a state dict.
type NamedShape struct {
	Name  string
	Shape []int // empty for a scalar
}

// Shapes lists the state dict of the model that c describes, buffers included,
// by name. It needs no device and no memory for weights.
func Shapes(c Config) ([]NamedShape, error) {
	m, _, err := build(c)
	if err != nil {
		return nil, err
	}
	var list []NamedShape
	weights.Walk(m, func(name string, p *graph.Param) { list = append(list, NamedShape{name, p.Shape}) })
	slices.SortFunc(list, func(a, b NamedShape) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}
