package towers

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
)

// What a config of CoCa may not say, by the key that is named.
func TestCoCaConfigErrors(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(oracle, "coca_tiny", "config.json"))
	require.NoError(t, err)
	queries := 1
	for says, change := range map[string]func(c *config.Config){
		"multimodal_cfg wants custom_text":              func(c *config.Config) { c.CustomText, c.TextCfg.EmbedCls = false, false },
		"vision_cfg.output_tokens and text_cfg":         func(c *config.Config) { c.TextCfg.OutputTokens = false },
		"attn_pooler_queries is 1":                      func(c *config.Config) { c.VisionCfg.AttnPoolerQueries = queries },
		"multimodal_cfg.width is 28, and the tokens of": func(c *config.Config) { c.MultimodalCfg.Width = 28 },
		"multimodal_cfg.width (32) is not divisible":    func(c *config.Config) { c.MultimodalCfg.Heads = 5 },
		"multimodal_cfg.layers is 0":                    func(c *config.Config) { c.MultimodalCfg.Layers = 0 },
		"multimodal_cfg.heads is -1":                    func(c *config.Config) { c.MultimodalCfg.Heads = -1 },
		"multimodal_cfg.context_length is 0":            func(c *config.Config) { c.MultimodalCfg.ContextLength = 0 },
	} {
		c := parse(t, data)
		change(&c)
		err := Check(&c)
		require.ErrorIs(t, err, config.ErrConfig, says)
		assert.ErrorContains(t, err, says)
	}
	c := parse(t, data)
	c.VisionCfg.Layers = config.Layers{1, 1, 1, 1}
	c.VisionCfg.ImageSize, c.VisionCfg.HeadWidth = config.Size{32, 32}, 64
	require.ErrorIs(t, Check(&c), config.ErrUnsupported)
	require.ErrorContains(t, Check(&c), "ModifiedResNet, which gives no tokens")
}
