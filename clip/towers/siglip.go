package towers

import (
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// SigLIP's towers are VisionTransformers with attention pooling (Zhai et al., 2023). What
// tells SigLIP2 (Tschannen et al., 2025) apart is Gemma's tokenizer.
var (
	siglip = timmViT.named("SigLIP", "siglip_timm_map", func(c *config.Config) bool { return strings.Contains(c.VisionCfg.TimmName(), "_siglip") },
		weights.HuggingFaceSigLIP, weights.BigVision)
	siglip2 = siglip.named("SigLIP2", "siglip2_timm_map", func(c *config.Config) bool { return strings.Contains(c.TextCfg.TokenizerName(), "SigLIP2") })
)
