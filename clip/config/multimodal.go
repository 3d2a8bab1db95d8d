package config

import "github.com/clip-wgpu/clip-wgpu/internal/strictjson"

// MultimodalConfig is MultimodalCfg of open_clip's coca_model.py: CoCa's decoder. Of
// TextConfig it reads context_length, width, heads, layers and ls_init_value. As upstream,
// its MLP is four times as wide whatever mlp_ratio says, its vocabulary is that of
// text_cfg, and nothing reads the other keys.
type MultimodalConfig struct {
	TextConfig
	DimHead         int `json:"dim_head"`
	NQueries        int `json:"n_queries"`
	AttnPoolerHeads int `json:"attn_pooler_heads"`
}

// DefaultMultimodalConfig returns open_clip's defaults.
func DefaultMultimodalConfig() MultimodalConfig {
	return MultimodalConfig{TextConfig: DefaultTextConfig(), DimHead: 64, NQueries: 256, AttnPoolerHeads: 8}
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *MultimodalConfig) UnmarshalJSON(data []byte) error {
	*c = DefaultMultimodalConfig()
	return strictjson.Struct(data, c)
}
