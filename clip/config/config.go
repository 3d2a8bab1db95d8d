package config

import (
	"encoding/json"
	"errors"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
)

// ErrUnsupported is matched by errors about configurations that open_clip knows
// and this package does not build.
var ErrUnsupported = errors.New("not supported")

// ErrConfig is matched by errors about configurations that describe no model.
var ErrConfig = check.ErrConfig

// Config is open_clip's model configuration: the model_cfg of an
// open_clip_config.json, or the whole of a file in its model_configs folder.
type Config struct {
	EmbedDim            int               `json:"embed_dim"`
	VisionCfg           VisionConfig      `json:"vision_cfg" null:"no"`
	TextCfg             TextConfig        `json:"text_cfg" null:"no"`
	QuickGELU           bool              `json:"quick_gelu,omitempty"`
	CustomText          bool              `json:"custom_text,omitempty"`
	InitLogitScale      *float64          `json:"init_logit_scale,omitempty" null:"no"` // ln(1/0.07) when nil
	InitLogitBias       *float64          `json:"init_logit_bias,omitempty"`
	NonscalarLogitScale bool              `json:"nonscalar_logit_scale,omitempty"`
	OutputDict          bool              `json:"output_dict,omitempty"`              // the form of open_clip's results; ignored
	MultimodalCfg       *MultimodalConfig `json:"multimodal_cfg,omitempty" null:"no"` // CoCa's decoder; nil: the model has none
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
	PosEmbedType        string          `json:"pos_embed_type" null:"no"` // learnable or sin_cos_2d
	FinalLnAfterPool    bool            `json:"final_ln_after_pool,omitempty"`
	PoolType            string          `json:"pool_type" null:"no"` // tok, avg or none
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
}

// TextConfig is CLIPTextCfg of open_clip's model.py. Decoding JSON fills what
// is absent with the defaults of DefaultTextConfig.
type TextConfig struct {
	TextArch         string          `json:"text_arch,omitempty" null:"no"` // modern; anything else is clip, as upstream
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
	PadID            int             `json:"pad_id" null:"no"`
	BosID            *int            `json:"bos_id,omitempty"`
	EosID            *int            `json:"eos_id,omitempty"` // pool_type eos
	TokenizerType    string          `json:"tokenizer_type,omitempty"`
	TiktokenName     string          `json:"tiktoken_name,omitempty"`
	NoCausalMask     bool            `json:"no_causal_mask,omitempty"`
	FinalLnAfterPool bool            `json:"final_ln_after_pool,omitempty"` // accepted and ignored, as upstream
	PoolType         string          `json:"pool_type" null:"no"`           // argmax, first, last, eos or none
	ProjBias         bool            `json:"proj_bias,omitempty"`
	ProjType         string          `json:"proj_type"` // none; anything else is linear, as upstream
	OutputTokens     bool            `json:"output_tokens,omitempty"`
	ActKwargs        *ActKwargs      `json:"act_kwargs,omitempty"`
	NormKwargs       *NormKwargs     `json:"norm_kwargs,omitempty"`
	BlockConfig                      // the custom block's options

	HFModelName       *string         `json:"hf_model_name,omitempty"`       // an encoder of Hugging Face's transformers; what follows is its
	HFModelPretrained *bool           `json:"hf_model_pretrained,omitempty"` // ignored: the encoder's own weights are not read
	HFProjType        *string         `json:"hf_proj_type"`                  // linear, mlp or clap_mlp; nil: none
	HFPoolerType      *string         `json:"hf_pooler_type"`                // mean_, max_, cls_ or cls_last_hidden_state_pooler; nil: the encoder's own
	HFModelConfig     json.RawMessage `json:"hf_model_config,omitempty"`     // over the encoder's published config.json

	ModernText
}

// ModernText is what only text_arch "modern" reads; the native tower ignores it,
// as upstream. QKNorm and LSInitValue are its, too.
type ModernText struct {
	AttentionMode    string  `json:"attention_mode" null:"no"` // causal or bidirectional
	PosEmbed         string  `json:"pos_embed" null:"no"`      // rope, none or ""
	RopeTemperature  float64 `json:"rope_temperature" null:"no"`
	MLPType          string  `json:"mlp_type" null:"no"`  // swiglu, mlp or relu2
	NormType         *string `json:"norm_type,omitempty"` // rmsnorm or layernorm; nil: rmsnorm
	NormEps          float64 `json:"norm_eps" null:"no"`
	AttnGated        bool    `json:"attn_gated,omitempty"`
	PreNorm          bool    `json:"pre_norm,omitempty"`
	NormPlacement    string  `json:"norm_placement" null:"no"` // pre or sandwich
	ZeroInitResidual bool    `json:"zero_init_residual,omitempty"`
	RegTokens        int     `json:"reg_tokens,omitempty"`
	ValueResidual    bool    `json:"value_residual,omitempty"`
	AttentionBias    *bool   `json:"attention_bias,omitempty"` // nil: none
	MLPBias          *bool   `json:"mlp_bias,omitempty"`       // nil: none
	GateBias         *bool   `json:"gate_bias,omitempty"`      // nil: as AttentionBias
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

// Custom tells whether the options count: the default block, where asked for,
// leaves them unread.
func (b BlockConfig) Custom() bool { return b.BlockType == nil || *b.BlockType == "custom" }

// ActKwargs are the arguments of torch's nn.GELU.
type ActKwargs struct {
	Approximate string `json:"approximate,omitempty" null:"no"` // none or tanh
}

// NormKwargs are the arguments of torch's nn.LayerNorm.
type NormKwargs struct {
	Eps *float64 `json:"eps,omitempty" null:"no"` // 1e-5 when nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *ActKwargs) UnmarshalJSON(data []byte) error { return strictjson.Struct(data, a) }

// UnmarshalJSON implements json.Unmarshaler.
func (n *NormKwargs) UnmarshalJSON(data []byte) error { return strictjson.Struct(data, n) }

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
	proj, pooler := "mlp", "mean_pooler"
	return TextConfig{
		TextArch: "clip", ContextLength: 77, VocabSize: 49408, Width: 512, Heads: 8, Layers: 12, MLPRatio: 4,
		PoolType: "argmax", ProjType: "linear", HFProjType: &proj, HFPoolerType: &pooler,
		ModernText: ModernText{
			AttentionMode: "causal", PosEmbed: "rope", RopeTemperature: 10000, MLPType: "swiglu", NormEps: 1e-6, NormPlacement: "pre",
		},
	}
}

// UnmarshalJSON implements json.Unmarshaler. Models of texts of any length are those of
// CustomTextCLIP, as create_model of open_clip's factory.py has it.
func (c *Config) UnmarshalJSON(data []byte) error {
	err := strictjson.Struct(data, c, "embed_dim", "vision_cfg", "text_cfg")
	c.CustomText = c.CustomText || c.TextCfg.VariableText
	return err
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *VisionConfig) UnmarshalJSON(data []byte) error {
	*c = DefaultVisionConfig()
	return strictjson.Struct(data, c)
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *TextConfig) UnmarshalJSON(data []byte) error {
	*c = DefaultTextConfig()
	return strictjson.Struct(data, c)
}

// TimmName is the name of the model of timm's that is the tower, or empty.
func (v *VisionConfig) TimmName() string { return Value(v.TimmModelName) }

// Value is what an optional value holds, zero where it is absent: open_clip's configs mean
// the same by "" and null.
func Value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
