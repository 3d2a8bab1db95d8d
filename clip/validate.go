package clip

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Bounds on what a config may ask for: far beyond every published model, and
// small enough that shapes and byte counts cannot overflow.
const (
	maxWidth  = 1 << 16
	maxLayers = 1 << 10
	maxVocab  = 1 << 24
	maxSide   = 1 << 13
)

// validate says what is wrong with c in open_clip's own names.
func (c *Config) validate() error {
	for _, check := range []func() error{c.checkVision, c.supported, c.checkText} {
		if err := check(); err != nil {
			return err
		}
	}
	if err := inRange("embed_dim", c.EmbedDim, 1, maxWidth); err != nil {
		return err
	}
	for name, v := range map[string]*float64{"init_logit_scale": c.InitLogitScale, "init_logit_bias": c.InitLogitBias} {
		if v != nil && (math.IsNaN(*v) || math.Abs(*v) > 1e4) {
			return fmt.Errorf("%w: %s is %v", ErrConfig, name, *v)
		}
	}
	return nil
}

// supported refuses what else open_clip knows and this package does not.
func (c *Config) supported() error {
	t := &c.TextCfg
	switch {
	case len(c.MultimodalCfg) > 0:
		return fmt.Errorf("multimodal_cfg (CoCa) is %w; supported are CLIP and CustomTextCLIP with ViT and CLIP text towers", ErrUnsupported)
	case t.HFModelName != nil && *t.HFModelName != "":
		return fmt.Errorf("hf_model_name %q is %w; supported is the native text transformer", *t.HFModelName, ErrUnsupported)
	case t.TextArch != "clip":
		return fmt.Errorf("text_arch %q is %w; supported is \"clip\"", t.TextArch, ErrUnsupported)
	case t.VariableText:
		return fmt.Errorf("variable_text is %w", ErrUnsupported)
	case c.VisionCfg.ImageSeqLen != nil:
		return fmt.Errorf("image_seq_len is %w", ErrUnsupported)
	}
	return nil
}

func (c *Config) checkVision() error {
	family, err := c.imageFamily()
	if err != nil {
		return err
	}
	v := &c.VisionCfg
	err = firstError(
		inRange("vision_cfg.image_size", v.ImageSize[0], 1, maxSide),
		inRange("vision_cfg.image_size", v.ImageSize[1], 1, maxSide),
	)
	if err != nil {
		return err
	}
	rates := v.dropRates()
	for _, name := range slices.Sorted(maps.Keys(rates)) {
		if err := dropRate(name, rates[name]); err != nil {
			return err
		}
	}
	return family.check(c)
}

func (c *Config) checkText() error {
	t := &c.TextCfg
	err := firstError(
		inRange("text_cfg.width", t.Width, 1, maxWidth),
		inRange("text_cfg.layers", t.Layers, 1, maxLayers),
		inRange("text_cfg.heads", t.Heads, 1, t.Width),
		ratio("text_cfg.mlp_ratio", t.MLPRatio, t.Width),
		inRange("text_cfg.context_length", t.ContextLength, 1, maxSide),
		inRange("text_cfg.vocab_size", t.VocabSize, 1, maxVocab),
		divisible("text_cfg.width", t.Width, "text_cfg.heads", t.Heads),
		oneOf("text_cfg.pool_type", t.PoolType, "argmax", "first", "last", "eos", "none"),
		checkBlock("text_cfg", t.BlockConfig, t.ActKwargs, t.NormKwargs, c.QuickGELU),
	)
	if err == nil {
		_, err = t.checkTokenizer()
	}
	switch {
	case err != nil:
		return err
	case t.PoolType == "eos" && t.EosID == nil:
		return fmt.Errorf("%w: text_cfg.pool_type eos wants text_cfg.eos_id", ErrConfig)
	case t.EmbedCls && !c.CustomText:
		return fmt.Errorf("%w: text_cfg.embed_cls wants custom_text", ErrConfig)
	case t.ProjType == "none" && t.Width != c.EmbedDim:
		return fmt.Errorf("%w: text_cfg.proj_type none wants text_cfg.width (%d) equal to embed_dim (%d)", ErrConfig, t.Width, c.EmbedDim)
	}
	return nil
}

func checkBlock(section string, b BlockConfig, act *ActKwargs, norm *NormKwargs, quickGELU bool) error {
	if b.BlockType != nil {
		if err := oneOf(section+".block_type", *b.BlockType, "default", "custom"); err != nil {
			return err
		}
	}
	if act != nil {
		if quickGELU && act.Approximate != "" {
			return fmt.Errorf("%w: %s.act_kwargs: quick_gelu takes none", ErrConfig, section)
		}
		if err := oneOf(section+".act_kwargs.approximate", act.Approximate, "", "none", "tanh"); err != nil {
			return err
		}
	}
	if norm != nil && norm.Eps != nil && !(*norm.Eps >= 0 && *norm.Eps < math.Inf(1)) {
		return fmt.Errorf("%w: %s.norm_kwargs.eps is %v, want 0 or more", ErrConfig, section, *norm.Eps)
	}
	if b.custom() && b.QKNorm && b.ScaledCosineAttn {
		return fmt.Errorf("%w: %s: qk_norm and scaled_cosine_attn exclude each other", ErrConfig, section)
	}
	return nil
}

// transformer gives the blocks' configuration of a tower.
func (b BlockConfig) transformer(width, depth, heads int, mlpRatio float64, ls *float64, quickGELU bool, act *ActKwargs, norm *NormKwargs) layers.TransformerConfig {
	c := layers.TransformerConfig{
		Width: width, Layers: depth, Heads: heads, MLPWidth: int(float64(width) * mlpRatio),
		Activation: activation(quickGELU, act), Eps: norm.eps(), LSInit: ls,
	}
	if b.custom() {
		c.QKNorm, c.ScaledCosineAttn, c.ScaleHeads = b.QKNorm, b.ScaledCosineAttn, b.ScaleHeads
		c.ScaleAttnInner, c.ScaleAttn, c.ScaleFC = b.ScaleAttnInner, b.ScaleAttn, b.ScaleFC
	}
	return c
}

func activation(quickGELU bool, act *ActKwargs) ops.Function {
	switch {
	case quickGELU:
		return ops.QuickGELU
	case act != nil && act.Approximate == "tanh":
		return ops.GELUTanh
	}
	return ops.GELU
}

func (n *NormKwargs) eps() float64 {
	if n == nil || n.Eps == nil {
		return 1e-5
	}
	return *n.Eps
}

func (v *VisionConfig) grid() Size {
	return Size{v.ImageSize[0] / v.PatchSize[0], v.ImageSize[1] / v.PatchSize[1]}
}

// dropRates are the options that act in training only, by name.
func (v *VisionConfig) dropRates() map[string]float64 {
	rates := map[string]float64{"vision_cfg.patch_dropout": v.PatchDropout, "vision_cfg.timm_drop": v.TimmDrop}
	if v.TimmDropPath != nil {
		rates["vision_cfg.timm_drop_path"] = *v.TimmDropPath
	}
	return rates
}

// Dropouts names the options above zero by which training drops at random, sorted.
// Features do not depend on them.
func (c *Config) Dropouts() (names []string) {
	v := &c.VisionCfg
	rates := v.dropRates()
	if v.isTimmViT() {
		if t, err := v.timmTrunk(); err == nil {
			for name, rate := range t.rates() {
				rates["vision_cfg.timm_model_kwargs."+name] = rate
			}
		}
	}
	maps.DeleteFunc(rates, func(_ string, rate float64) bool { return rate == 0 })
	return slices.Sorted(maps.Keys(rates))
}

func dropRate(name string, rate float64) error {
	if !(rate >= 0 && rate < 1) {
		return fmt.Errorf("%w: %s is %v, want at least 0 and below 1", ErrConfig, name, rate)
	}
	return nil
}

func firstError(errs ...error) error {
	i := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	if i < 0 {
		return nil
	}
	return errs[i]
}

func inRange(name string, v, lo, hi int) error {
	if v < lo || v > hi {
		return fmt.Errorf("%w: %s is %d, want %d to %d", ErrConfig, name, v, lo, hi)
	}
	return nil
}

func ratio(name string, r float64, width int) error {
	if !(r > 0 && r <= 1024) || int(r*float64(width)) < 1 {
		return fmt.Errorf("%w: %s is %v with a width of %d", ErrConfig, name, r, width)
	}
	return nil
}

func divisible(name string, v int, by string, d int) error {
	if d < 1 || v%d != 0 {
		return fmt.Errorf("%w: %s (%d) is not divisible by %s (%d)", ErrConfig, name, v, by, d)
	}
	return nil
}

func oneOf(name, v string, allowed ...string) error {
	if !slices.Contains(allowed, v) {
		return fmt.Errorf("%w: %s is %q, want one of %q", ErrConfig, name, v, allowed)
	}
	return nil
}
