package config

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/timm"
	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
)

// hfConfig is the config.json of a CLIPModel or SiglipModel of transformers
// (configuration_clip.py, configuration_siglip.py), as far as it says what is
// computed. What is absent has the defaults of these files.
type hfConfig struct {
	ModelType     string          `json:"model_type"`
	ProjectionDim int             `json:"projection_dim"`
	Text          json.RawMessage `json:"text_config"`
	Vision        json.RawMessage `json:"vision_config"`
	TextDict      json.RawMessage `json:"text_config_dict"` // replaces text_config where it is not null
	VisionDict    json.RawMessage `json:"vision_config_dict"`
}

// hfTower is its text_config or vision_config.
type hfTower struct {
	HiddenSize            int     `json:"hidden_size"`
	IntermediateSize      int     `json:"intermediate_size"`
	NumHiddenLayers       int     `json:"num_hidden_layers"`
	NumAttentionHeads     int     `json:"num_attention_heads"`
	HiddenAct             string  `json:"hidden_act"`
	LayerNormEps          float64 `json:"layer_norm_eps"`
	MaxPositionEmbeddings int     `json:"max_position_embeddings"`
	VocabSize             int     `json:"vocab_size"`
	EosTokenID            *int    `json:"eos_token_id"`
	ProjectionSize        *int    `json:"projection_size"`
	ImageSize             int     `json:"image_size"`
	PatchSize             int     `json:"patch_size"`
	NumChannels           int     `json:"num_channels"`
	VisionUseHead         *bool   `json:"vision_use_head"`
}

// translateHuggingFace gives open_clip's form of a config of transformers.
func translateHuggingFace(data []byte) (Config, error) {
	file := hfConfig{ProjectionDim: 512}
	if err := strictjson.Unmarshal(data, &file); err != nil {
		return Config{}, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	text := hfTower{HiddenSize: 512, IntermediateSize: 2048, NumHiddenLayers: 12, NumAttentionHeads: 8, HiddenAct: "quick_gelu", LayerNormEps: 1e-5, MaxPositionEmbeddings: 77, VocabSize: 49408}
	vision := hfTower{HiddenSize: 768, IntermediateSize: 3072, NumHiddenLayers: 12, NumAttentionHeads: 12, HiddenAct: "quick_gelu", LayerNormEps: 1e-5, ImageSize: 224, PatchSize: 32, NumChannels: 3}
	translate := translateCLIP
	switch file.ModelType {
	case "clip":
	case "siglip":
		translate = translateSigLIP
		text = hfTower{HiddenSize: 768, IntermediateSize: 3072, NumHiddenLayers: 12, NumAttentionHeads: 12, HiddenAct: "gelu_pytorch_tanh", LayerNormEps: 1e-6, MaxPositionEmbeddings: 64, VocabSize: 32000}
		vision = hfTower{HiddenSize: 768, IntermediateSize: 3072, NumHiddenLayers: 12, NumAttentionHeads: 12, HiddenAct: "gelu_pytorch_tanh", LayerNormEps: 1e-6, ImageSize: 224, PatchSize: 16, NumChannels: 3}
	default:
		return Config{}, fmt.Errorf("a Hugging Face config of model_type %q is %w; supported are clip and siglip", file.ModelType, ErrUnsupported)
	}
	for _, tower := range []struct {
		dst       *hfTower
		name      string
		from, old json.RawMessage
	}{{&text, "text_config", file.Text, file.TextDict}, {&vision, "vision_config", file.Vision, file.VisionDict}} {
		from := tower.from
		if len(tower.old) > 0 && string(tower.old) != "null" {
			from = tower.old
		}
		if len(from) == 0 {
			continue
		}
		if err := strictjson.Unmarshal(from, tower.dst); err != nil {
			return Config{}, fmt.Errorf("%w: %w", ErrConfig, strictjson.At(tower.name, from, err))
		}
	}
	for name, t := range map[string]hfTower{"text_config": text, "vision_config": vision} {
		if err := t.check(name); err != nil {
			return Config{}, err
		}
	}
	if vision.NumChannels != 3 {
		return Config{}, fmt.Errorf("vision_config.num_channels %d is %w; supported is 3", vision.NumChannels, ErrUnsupported)
	}
	return translate(file, text, vision)
}

// check bounds what is divided or multiplied before validate sees it.
func (t hfTower) check(section string) error {
	return check.First(
		check.InRange(section+".hidden_size", t.HiddenSize, 1, check.MaxWidth),
		check.InRange(section+".intermediate_size", t.IntermediateSize, 1, check.MaxWidth*16),
		check.InRange(section+".num_attention_heads", t.NumAttentionHeads, 1, t.HiddenSize),
		check.Divisible(section+".hidden_size", t.HiddenSize, section+".num_attention_heads", t.NumAttentionHeads),
	)
}

// mlpRatio is the ratio that gives the hidden layer's width when it is
// multiplied and cut to a whole number, as open_clip does: with four digits, as
// in its configs, where these do.
func (t hfTower) mlpRatio() float64 {
	r := float64(t.IntermediateSize) / float64(t.HiddenSize)
	if short := math.Ceil(r*1e4) / 1e4; int(float64(t.HiddenSize)*short) == t.IntermediateSize {
		return short
	}
	for int(float64(t.HiddenSize)*r) < t.IntermediateSize {
		r = math.Nextafter(r, math.Inf(1))
	}
	return r
}

// act translates hidden_act: quick is true for QuickGELU, and otherwise kwargs are
// open_clip's act_kwargs of the GELU, nil for the exact one.
func (t hfTower) act(section string) (kwargs *ActKwargs, quick bool, err error) {
	switch t.HiddenAct {
	case "quick_gelu":
		return nil, true, nil
	case "gelu":
		return nil, false, nil
	case "gelu_pytorch_tanh", "gelu_new":
		return &ActKwargs{Approximate: "tanh"}, false, nil
	}
	return nil, false, fmt.Errorf("%s.hidden_act %q is %w; supported are quick_gelu, gelu and gelu_pytorch_tanh", section, t.HiddenAct, ErrUnsupported)
}

func (t hfTower) norm() *NormKwargs {
	if t.LayerNormEps == 1e-5 {
		return nil
	}
	eps := t.LayerNormEps
	return &NormKwargs{Eps: &eps}
}

func translateCLIP(file hfConfig, text, vision hfTower) (Config, error) {
	c := Config{EmbedDim: file.ProjectionDim, VisionCfg: DefaultVisionConfig(), TextCfg: DefaultTextConfig()}
	v, t := &c.VisionCfg, &c.TextCfg
	var quickText bool
	var err error
	if v.ActKwargs, c.QuickGELU, err = vision.act("vision_config"); err != nil {
		return c, err
	}
	if t.ActKwargs, quickText, err = text.act("text_config"); err != nil {
		return c, err
	}
	if quickText != c.QuickGELU {
		return c, fmt.Errorf("hidden_act %q in vision_config with %q in text_config is %w", vision.HiddenAct, text.HiddenAct, ErrUnsupported)
	}
	v.Layers, v.Width, v.HeadWidth = Layers{vision.NumHiddenLayers}, vision.HiddenSize, vision.HiddenSize/vision.NumAttentionHeads
	v.MLPRatio, v.NormKwargs = vision.mlpRatio(), vision.norm()
	v.PatchSize, v.ImageSize = Size{vision.PatchSize, vision.PatchSize}, Size{vision.ImageSize, vision.ImageSize}
	translateText(t, text)
	// transformers, too, takes the highest id where a config has the old eos of 2.
	if eos := text.EosTokenID; eos != nil && *eos != 2 && *eos != text.VocabSize-1 {
		if err := check.InRange("text_config.eos_token_id", *eos, 0, text.VocabSize-1); err != nil {
			return c, err
		}
		t.PoolType, t.EosID = "eos", eos
	}
	return c, nil
}

func translateText(t *TextConfig, text hfTower) {
	t.ContextLength, t.VocabSize = text.MaxPositionEmbeddings, text.VocabSize
	t.Width, t.Heads, t.Layers = text.HiddenSize, text.NumAttentionHeads, text.NumHiddenLayers
	t.MLPRatio, t.NormKwargs = text.mlpRatio(), text.norm()
}

// sigLIPTowers are timm's names of SigLIP's vision towers, by hidden size, layers,
// heads and intermediate size.
var sigLIPTowers = map[[4]int]string{
	{768, 12, 12, 3072}: "base", {1024, 24, 16, 4096}: "large", {1152, 27, 16, 4304}: "so400m", {1536, 40, 16, 6144}: "giantopt",
}

// sigLIPTokenizers are open_clip's names of tokenizers by the size of their vocabularies.
var sigLIPTokenizers = map[int]string{250000: "timm/ViT-B-16-SigLIP-i18n-256", sigLIP2Vocab: "timm/ViT-B-16-SigLIP2"}

const sigLIP2Vocab = 256000

// translateSigLIP gives what open_clip's configs of SigLIP have. These compute
// GELU by the error function, but for SigLIP2's text tower; transformers uses
// the tanh form throughout, which differs by about 1e-4.
func translateSigLIP(_ hfConfig, text, vision hfTower) (Config, error) {
	bias, pool, proj := -10.0, "map", "none"
	c := Config{EmbedDim: vision.HiddenSize, CustomText: true, InitLogitBias: &bias, VisionCfg: DefaultVisionConfig(), TextCfg: DefaultTextConfig()}
	if err := checkSigLIP(text, vision); err != nil {
		return c, err
	}
	v, t := &c.VisionCfg, &c.TextCfg
	v.ImageSize, v.TimmPool, v.TimmProj = Size{vision.ImageSize, vision.ImageSize}, &pool, &proj
	v.TimmModelName, v.TimmModelKwargs = vision.timmSigLIP()
	translateText(t, text)
	t.NoCausalMask, t.PoolType, t.ProjBias = true, "last", true
	tokenizer, ok := sigLIPTokenizers[t.VocabSize]
	if !ok {
		tokenizer = "timm/ViT-B-16-SigLIP"
	}
	if t.VocabSize == sigLIP2Vocab {
		t.ActKwargs = &ActKwargs{Approximate: "tanh"}
	}
	t.HFTokenizerName, t.TokenizerKwargs = &tokenizer, json.RawMessage(`{"clean": "canonicalize"}`)
	return c, nil
}

// timmSigLIP names a tower; sizes that were never published are in the kwargs.
func (t hfTower) timmSigLIP() (name *string, kwargs json.RawMessage) {
	size, ok := sigLIPTowers[[4]int{t.HiddenSize, t.NumHiddenLayers, t.NumAttentionHeads, t.IntermediateSize}]
	s := fmt.Sprintf("vit_%s_patch%d_siglip_%d", size, t.PatchSize, t.ImageSize)
	if _, known := timm.Models[s]; ok && known {
		return &s, nil
	}
	s = "vit_base_patch16_siglip_224"
	kwargs, _ = json.Marshal(map[string]any{ // numbers, which cannot fail
		"img_size": t.ImageSize, "patch_size": t.PatchSize, "embed_dim": t.HiddenSize,
		"depth": t.NumHiddenLayers, "num_heads": t.NumAttentionHeads, "mlp_ratio": t.mlpRatio(),
	})
	return &s, kwargs
}

func checkSigLIP(text, vision hfTower) error {
	switch {
	case vision.VisionUseHead != nil && !*vision.VisionUseHead:
		return fmt.Errorf("vision_config.vision_use_head false is %w", ErrUnsupported)
	case vision.LayerNormEps != 1e-6:
		return fmt.Errorf("vision_config.layer_norm_eps %v is %w; supported is 1e-06", vision.LayerNormEps, ErrUnsupported)
	case text.ProjectionSize != nil && *text.ProjectionSize != vision.HiddenSize,
		text.ProjectionSize == nil && text.HiddenSize != vision.HiddenSize:
		return fmt.Errorf("%w: text_config.projection_size is not vision_config.hidden_size, %d", ErrConfig, vision.HiddenSize)
	}
	return check.First(vision.isGELU("vision_config"), text.isGELU("text_config"))
}

func (t hfTower) isGELU(section string) error {
	if t.HiddenAct != "gelu_pytorch_tanh" && t.HiddenAct != "gelu" {
		return fmt.Errorf("%s.hidden_act %q is %w; supported are gelu and gelu_pytorch_tanh", section, t.HiddenAct, ErrUnsupported)
	}
	return nil
}
