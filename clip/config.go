package clip

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/clip-wgpu/clip-wgpu/internal/guard"
)

// ErrUnsupported is matched by errors about configurations that open_clip knows
// and this package does not build.
var ErrUnsupported = errors.New("not supported")

// ErrConfig is matched by errors about configurations that describe no model.
var ErrConfig = errors.New("invalid model config")

// Config is open_clip's model configuration: the model_cfg of an
// open_clip_config.json, or the whole of a file in its model_configs folder.
type Config struct {
	EmbedDim            int             `json:"embed_dim"`
	VisionCfg           VisionConfig    `json:"vision_cfg"`
	TextCfg             TextConfig      `json:"text_cfg"`
	QuickGELU           bool            `json:"quick_gelu,omitempty"`
	CustomText          bool            `json:"custom_text,omitempty"`
	InitLogitScale      *float64        `json:"init_logit_scale,omitempty"` // ln(1/0.07) when nil
	InitLogitBias       *float64        `json:"init_logit_bias,omitempty"`
	NonscalarLogitScale bool            `json:"nonscalar_logit_scale,omitempty"`
	OutputDict          bool            `json:"output_dict,omitempty"`    // the form of open_clip's results; ignored
	MultimodalCfg       json.RawMessage `json:"multimodal_cfg,omitempty"` // CoCa; not supported
}

// VisionConfig is CLIPVisionCfg of open_clip's model.py. Decoding JSON fills
// what is absent with the defaults of DefaultVisionConfig.
type VisionConfig struct {
	Layers              Layers          `json:"layers"`
	Width               int             `json:"width"`
	HeadWidth           int             `json:"head_width"`
	MLPRatio            float64         `json:"mlp_ratio"`
	PatchSize           Size            `json:"patch_size"`
	ImageSize           Size            `json:"image_size"`
	ImageSeqLen         *int            `json:"image_seq_len,omitempty"`
	LSInitValue         *float64        `json:"ls_init_value,omitempty"`
	PatchDropout        float64         `json:"patch_dropout,omitempty"` // acts in training only
	AttentionalPool     AttentionalPool `json:"attentional_pool,omitempty"`
	AttnPoolerQueries   int             `json:"attn_pooler_queries"`
	AttnPoolerHeads     int             `json:"attn_pooler_heads"`
	NoLnPre             bool            `json:"no_ln_pre,omitempty"`
	PosEmbedType        string          `json:"pos_embed_type"` // learnable or sin_cos_2d
	FinalLnAfterPool    bool            `json:"final_ln_after_pool,omitempty"`
	PoolType            string          `json:"pool_type"` // tok, avg or none
	OutputTokens        bool            `json:"output_tokens,omitempty"`
	ActKwargs           *ActKwargs      `json:"act_kwargs,omitempty"`
	NormKwargs          *NormKwargs     `json:"norm_kwargs,omitempty"`
	BlockConfig                         // the custom block's options
	TimmModelName       *string         `json:"timm_model_name,omitempty"`       // a tower of timm's; what follows is its
	TimmModelPretrained bool            `json:"timm_model_pretrained,omitempty"` // ignored, as by open_clip's create_model
	TimmPool            *string         `json:"timm_pool"`                       // "" and nil: the model's own
	TimmProj            *string         `json:"timm_proj"`                       // linear, mlp, none; "" and nil: the model's own head
	TimmProjBias        bool            `json:"timm_proj_bias,omitempty"`
	TimmDrop            float64         `json:"timm_drop,omitempty"`      // acts in training only
	TimmDropPath        *float64        `json:"timm_drop_path,omitempty"` // acts in training only
	TimmModelKwargs     json.RawMessage `json:"timm_model_kwargs,omitempty"`

	timmImageSize Size // of timm's model in the checkpoint, where WithImageSize changes it
}

// TextConfig is CLIPTextCfg of open_clip's model.py. Decoding JSON fills what
// is absent with the defaults of DefaultTextConfig.
type TextConfig struct {
	TextArch         string          `json:"text_arch,omitempty"` // clip; "modern" is not supported
	ContextLength    int             `json:"context_length"`
	VariableText     bool            `json:"variable_text,omitempty"`
	VocabSize        int             `json:"vocab_size"`
	HFTokenizerName  *string         `json:"hf_tokenizer_name,omitempty"`
	TokenizerMode    *string         `json:"tokenizer_mode,omitempty"`
	TokenizerKwargs  json.RawMessage `json:"tokenizer_kwargs,omitempty"`
	Width            int             `json:"width"`
	Heads            int             `json:"heads"`
	Layers           int             `json:"layers"`
	MLPRatio         float64         `json:"mlp_ratio"`
	LSInitValue      *float64        `json:"ls_init_value,omitempty"`
	EmbedCls         bool            `json:"embed_cls,omitempty"` // CustomTextCLIP only
	PadID            int             `json:"pad_id"`
	BosID            *int            `json:"bos_id,omitempty"`
	EosID            *int            `json:"eos_id,omitempty"` // pool_type eos
	TokenizerType    string          `json:"tokenizer_type,omitempty"`
	TiktokenName     string          `json:"tiktoken_name,omitempty"`
	NoCausalMask     bool            `json:"no_causal_mask,omitempty"`
	FinalLnAfterPool bool            `json:"final_ln_after_pool,omitempty"` // accepted and ignored, as upstream
	PoolType         string          `json:"pool_type"`                     // argmax, first, last, eos or none
	ProjBias         bool            `json:"proj_bias,omitempty"`
	ProjType         string          `json:"proj_type"` // none; anything else is linear, as upstream
	OutputTokens     bool            `json:"output_tokens,omitempty"`
	ActKwargs        *ActKwargs      `json:"act_kwargs,omitempty"`
	NormKwargs       *NormKwargs     `json:"norm_kwargs,omitempty"`
	BlockConfig                      // the custom block's options

	HFModelName       *string         `json:"hf_model_name,omitempty"` // Hugging Face towers; not supported
	HFModelPretrained *bool           `json:"hf_model_pretrained,omitempty"`
	HFProjType        *string         `json:"hf_proj_type,omitempty"`
	HFPoolerType      *string         `json:"hf_pooler_type,omitempty"`
	HFModelConfig     json.RawMessage `json:"hf_model_config,omitempty"`

	modernTextConfig
}

// modernTextConfig is what only text_arch "modern" reads; the native tower
// ignores it, as upstream.
type modernTextConfig struct {
	AttentionMode    string   `json:"attention_mode,omitempty"`
	PosEmbed         string   `json:"pos_embed,omitempty"`
	RopeTemperature  *float64 `json:"rope_temperature,omitempty"`
	MLPType          string   `json:"mlp_type,omitempty"`
	NormType         *string  `json:"norm_type,omitempty"`
	NormEps          *float64 `json:"norm_eps,omitempty"`
	AttnGated        bool     `json:"attn_gated,omitempty"`
	PreNorm          bool     `json:"pre_norm,omitempty"`
	NormPlacement    string   `json:"norm_placement,omitempty"`
	ZeroInitResidual bool     `json:"zero_init_residual,omitempty"`
	RegTokens        int      `json:"reg_tokens,omitempty"`
	ValueResidual    bool     `json:"value_residual,omitempty"`
	AttentionBias    *bool    `json:"attention_bias,omitempty"`
	MLPBias          *bool    `json:"mlp_bias,omitempty"`
	GateBias         *bool    `json:"gate_bias,omitempty"`
}

// BlockConfig holds the options of open_clip's custom residual attention block.
type BlockConfig struct {
	BlockType        *string `json:"block_type,omitempty"` // default or custom; nil: custom when an option below is on
	QKNorm           bool    `json:"qk_norm,omitempty"`
	ScaledCosineAttn bool    `json:"scaled_cosine_attn,omitempty"`
	ScaleHeads       bool    `json:"scale_heads,omitempty"`
	ScaleAttnInner   bool    `json:"scale_attn_inner,omitempty"`
	ScaleAttn        bool    `json:"scale_attn,omitempty"`
	ScaleFC          bool    `json:"scale_fc,omitempty"`
}

// custom tells whether the options count: the default block, where asked for,
// leaves them unread.
func (b BlockConfig) custom() bool { return b.BlockType == nil || *b.BlockType == "custom" }

// ActKwargs are the arguments of torch's nn.GELU.
type ActKwargs struct {
	Approximate string `json:"approximate,omitempty"` // none or tanh
}

// NormKwargs are the arguments of torch's nn.LayerNorm.
type NormKwargs struct {
	Eps *float64 `json:"eps,omitempty"` // 1e-5 when nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *ActKwargs) UnmarshalJSON(data []byte) error { return decodeStrict(data, a) }

// UnmarshalJSON implements json.Unmarshaler.
func (n *NormKwargs) UnmarshalJSON(data []byte) error { return decodeStrict(data, n) }

// DefaultVisionConfig returns open_clip's defaults.
func DefaultVisionConfig() VisionConfig {
	pool, proj := "avg", "linear"
	return VisionConfig{
		Layers: Layers{12}, Width: 768, HeadWidth: 64, MLPRatio: 4, PatchSize: Size{16, 16}, ImageSize: Size{224, 224},
		AttnPoolerQueries: 256, AttnPoolerHeads: 8, PosEmbedType: "learnable", PoolType: "tok",
		TimmPool: &pool, TimmProj: &proj,
	}
}

// DefaultTextConfig returns open_clip's defaults.
func DefaultTextConfig() TextConfig {
	return TextConfig{
		TextArch: "clip", ContextLength: 77, VocabSize: 49408, Width: 512, Heads: 8, Layers: 12, MLPRatio: 4,
		PoolType: "argmax", ProjType: "linear",
	}
}

// ParseConfig reads a model configuration, either bare or as the model_cfg of
// an open_clip_config.json (whose preprocess_cfg is then the second result).
// Defaults are applied; an unknown key is an error. The config.json of a Hugging
// Face CLIPModel or SiglipModel is translated. Configs of models that open_clip
// has and this package does not build give ErrUnsupported, with the config where
// it is one of an image and a text tower.
func ParseConfig(data []byte) (c Config, preprocessCfg json.RawMessage, err error) {
	defer guard.Catch(&err)
	var file struct {
		ModelCfg      json.RawMessage `json:"model_cfg"`
		PreprocessCfg json.RawMessage `json:"preprocess_cfg"`
		ModelType     json.RawMessage `json:"model_type"` // a key of Hugging Face's configs
	}
	if err := decode(data, &file); err != nil {
		return Config{}, nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	switch {
	case file.ModelCfg == nil && file.ModelType != nil:
		c, err = parseHuggingFaceConfig(data)
		return c, nil, err
	case file.ModelCfg == nil:
		file.ModelCfg = data
	}
	if _, err := otherModel(file.ModelCfg); err != nil {
		return Config{}, nil, err
	}
	if err := decode(file.ModelCfg, &c); err != nil {
		return Config{}, nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return c, file.PreprocessCfg, c.validate()
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *Config) UnmarshalJSON(data []byte) error {
	return decodeStrict(data, c, "embed_dim", "vision_cfg", "text_cfg")
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *VisionConfig) UnmarshalJSON(data []byte) error {
	*c = DefaultVisionConfig()
	return decodeStrict(data, c)
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *TextConfig) UnmarshalJSON(data []byte) error {
	*c = DefaultTextConfig()
	return decodeStrict(data, c)
}

// Size is a height and a width; in JSON one number for both, or a pair, and null
// where it is zero.
type Size [2]int

// UnmarshalJSON implements json.Unmarshaler.
func (s *Size) UnmarshalJSON(data []byte) error {
	var one int
	if json.Unmarshal(data, &one) == nil {
		*s = Size{one, one}
		return nil
	}
	var pair []int
	if json.Unmarshal(data, &pair) != nil || len(pair) != 2 {
		return wantError("a whole number or a pair [height, width]")
	}
	*s = Size(pair)
	return nil
}

// MarshalJSON implements json.Marshaler.
func (s Size) MarshalJSON() ([]byte, error) {
	if s == (Size{}) {
		return []byte("null"), nil
	}
	if s[0] == s[1] {
		return json.Marshal(s[0])
	}
	return json.Marshal([2]int(s))
}

// Layers is a transformer's number of blocks, or a ModifiedResNet's four
// numbers of bottlenecks.
type Layers []int

// UnmarshalJSON implements json.Unmarshaler.
func (l *Layers) UnmarshalJSON(data []byte) error {
	var one int
	if json.Unmarshal(data, &one) == nil {
		*l = Layers{one}
		return nil
	}
	var list []int
	if json.Unmarshal(data, &list) != nil || len(list) != 4 {
		return wantError("a whole number or a list of four")
	}
	*l = list
	return nil
}

// MarshalJSON implements json.Marshaler.
func (l Layers) MarshalJSON() ([]byte, error) {
	if len(l) == 1 {
		return json.Marshal(l[0])
	}
	return json.Marshal([]int(l))
}

// AttentionalPool is open_clip's attentional_pool: false, true, "parallel" or
// "cascade".
type AttentionalPool string

const (
	PoolerNone     AttentionalPool = ""
	PoolerSingle   AttentionalPool = "true"
	PoolerParallel AttentionalPool = "parallel"
	PoolerCascade  AttentionalPool = "cascade"
)

// UnmarshalJSON implements json.Unmarshaler.
func (p *AttentionalPool) UnmarshalJSON(data []byte) error {
	switch string(data) {
	case "false", "null", `""`:
		*p = PoolerNone
	case "true":
		*p = PoolerSingle
	case `"parallel"`:
		*p = PoolerParallel
	case `"cascade"`:
		*p = PoolerCascade
	default:
		return wantError(`false, true, "parallel" or "cascade"`)
	}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (p AttentionalPool) MarshalJSON() ([]byte, error) {
	switch p {
	case PoolerNone:
		return []byte("false"), nil
	case PoolerSingle:
		return []byte("true"), nil
	}
	return json.Marshal(string(p))
}

// defaultInitLogitScale is ln(1/0.07).
var defaultInitLogitScale = math.Log(1 / 0.07)
