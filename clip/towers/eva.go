package towers

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/layers"
)

// eva is timm's Eva (eva.py), the tower of EVA-01 and EVA-02 (Fang et al., 2023 and 2024;
// Sun et al., EVA-CLIP, 2023).
var eva = trunkReader(readEva).family("EVA", "eva02_base_clip", timmNamed("eva"))

// readEva reads an Eva as readTimmTrunk reads a VisionTransformer.
func readEva(v *config.VisionConfig) (timmTrunk, error) {
	if _, err := classArgs(v, "Eva"); err != nil {
		return timmTrunk{}, err
	}
	a := timmEvaDefaults()
	if err := timmKwargs(v, &a, &a.timmArgs); err != nil {
		return timmTrunk{}, err
	}
	if a.AttnType != "eva" {
		return timmTrunk{}, fmt.Errorf("timm's attn_type %q of %s is %w; supported is \"eva\"", a.AttnType, v.TimmName(), config.ErrUnsupported)
	}
	t, err := a.trunk(v)
	t.newBlock = func(_ *timmTrunk, c layers.TimmConfig) timmBlock {
		block := layers.EvaConfig{TimmConfig: c, QKVFused: a.QKVFused, SwiGLU: a.SwiGLUMLP, ScaleMLP: a.ScaleMLP, InnerNorm: a.ScaleAttnInner}
		if a.UsePostNorm {
			return layers.NewEvaPostNormBlock(block)
		}
		return layers.NewEvaBlock(block)
	}
	return t, err
}
