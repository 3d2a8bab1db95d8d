package towers

import (
	"fmt"
	"math"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/internal/guard"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Check says what is wrong with c in open_clip's own names, with an error that matches
// config.ErrConfig, or which part of it is not supported: config.ErrUnsupported.
func Check(c *config.Config) (err error) {
	defer guard.Catch(&err)
	_, _, _, err = choose(c)
	return err
}

// choose finds the families of c's towers, and of a model that is more than these, and
// checks that c keeps their rules.
func choose(c *config.Config) (image, text, whole Family, err error) {
	image, ok := lastOf(c, Visual)
	if !ok {
		return image, text, whole, fmt.Errorf("%w: vision_cfg.layers is missing", config.ErrConfig)
	}
	text, _ = lastOf(c, Text) // matches all configs
	whole, more := lastOf(c, Whole)
	if err := check.First(checkVision(c, image), checkText(c, text), check.InRange("embed_dim", c.EmbedDim, 1, check.MaxWidth)); err != nil {
		return image, text, whole, err
	}
	if more {
		if err := checkWhole(c, image, text, whole); err != nil {
			return image, text, whole, err
		}
	}
	for name, v := range map[string]*float64{"init_logit_scale": c.InitLogitScale, "init_logit_bias": c.InitLogitBias} {
		if v != nil && (math.IsNaN(*v) || math.Abs(*v) > 1e4) {
			return image, text, whole, fmt.Errorf("%w: %s is %v", config.ErrConfig, name, *v)
		}
	}
	return image, text, whole, nil
}

func checkVision(c *config.Config, f Family) error {
	if err := f.refuse(c); err != nil {
		return err
	}
	v := &c.VisionCfg
	if v.ImageSeqLen != nil && f.Sequence == nil {
		return fmt.Errorf("image_seq_len with the image tower of a %s is %w", f.Name, config.ErrUnsupported)
	}
	err := check.First(
		check.InRange("vision_cfg.image_size", v.ImageSize[0], 1, check.MaxSide),
		check.InRange("vision_cfg.image_size", v.ImageSize[1], 1, check.MaxSide),
		check.DropRate("vision_cfg.patch_dropout", v.PatchDropout),
	)
	if err != nil {
		return err
	}
	return f.Check(c)
}

func checkText(c *config.Config, f Family) error {
	if err := f.refuse(c); err != nil {
		return err
	}
	t := &c.TextCfg
	if err := f.Check(c); err != nil {
		return err
	}
	if _, err := t.CheckTokenizer(); err != nil {
		return err
	}
	if t.PoolType == "eos" && t.EosID == nil { // asked of all towers, also of those that do not read it
		return fmt.Errorf("%w: text_cfg.pool_type eos wants text_cfg.eos_id", config.ErrConfig)
	}
	return check.First(
		check.InRange("text_cfg.context_length", t.ContextLength, 1, check.MaxSide),
		// One outside the vocabulary is that of no token, as in open_clip; token ids are int32.
		check.InRange("text_cfg.eos_id", config.Value(t.EosID), math.MinInt32, math.MaxInt32),
		check.InRange("text_cfg.pad_id", t.PadID, math.MinInt32, math.MaxInt32),
	)
}

// checkWhole wants of both towers tokens that the decoder can take.
func checkWhole(c *config.Config, towers ...Family) error {
	whole := towers[len(towers)-1]
	if err := whole.refuse(c); err != nil {
		return err
	}
	if err := whole.Check(c); err != nil {
		return err
	}
	for _, f := range towers[:len(towers)-1] {
		if f.Tokens == nil {
			return fmt.Errorf("%s with the %s tower of a %s, which gives no tokens, is %w", whole.Name, f.Part, f.Name, config.ErrUnsupported)
		}
		switch width, want := f.Tokens(c), whole.Tokens(c); width {
		case want:
		case 0:
			return fmt.Errorf("%w: vision_cfg.attn_pooler_queries is %d, and %s wants tokens of more than the first", config.ErrConfig, c.VisionCfg.AttnPoolerQueries, whole.Name)
		default:
			return fmt.Errorf("%w: multimodal_cfg.width is %d, and the tokens of the %s tower are %d wide", config.ErrConfig, want, f.Part, width)
		}
	}
	return nil
}

func checkBlock(section string, b config.BlockConfig, act *config.ActKwargs, norm *config.NormKwargs, quickGELU bool) error {
	if b.BlockType != nil {
		if err := check.OneOf(section+".block_type", *b.BlockType, "default", "custom"); err != nil {
			return err
		}
	}
	if act != nil {
		if quickGELU && act.Approximate != "" {
			return fmt.Errorf("%w: %s.act_kwargs: quick_gelu takes none", config.ErrConfig, section)
		}
		if err := check.OneOf(section+".act_kwargs.approximate", act.Approximate, "", "none", "tanh"); err != nil {
			return err
		}
	}
	if norm != nil && norm.Eps != nil && !(*norm.Eps >= 0 && *norm.Eps < math.Inf(1)) {
		return fmt.Errorf("%w: %s.norm_kwargs.eps is %v, want 0 or more", config.ErrConfig, section, *norm.Eps)
	}
	if b.Custom() && b.QKNorm && b.ScaledCosineAttn {
		return fmt.Errorf("%w: %s: qk_norm and scaled_cosine_attn exclude each other", config.ErrConfig, section)
	}
	return nil
}

// transformer gives the blocks' configuration of a native tower.
func transformer(b config.BlockConfig, width, depth, heads int, mlpRatio float64, ls *float64, quickGELU bool, act *config.ActKwargs, norm *config.NormKwargs) layers.TransformerConfig {
	c := layers.TransformerConfig{
		Width: width, Layers: depth, Heads: heads, MLPWidth: int(float64(width) * mlpRatio),
		Activation: activation(quickGELU, act), Eps: normEps(norm), LSInit: ls,
	}
	if b.Custom() {
		c.QKNorm, c.ScaledCosineAttn, c.ScaleHeads = b.QKNorm, b.ScaledCosineAttn, b.ScaleHeads
		c.ScaleAttnInner, c.ScaleAttn, c.ScaleFC = b.ScaleAttnInner, b.ScaleAttn, b.ScaleFC
	}
	return c
}

func activation(quickGELU bool, act *config.ActKwargs) ops.Function {
	switch {
	case quickGELU:
		return ops.QuickGELU
	case act != nil && act.Approximate == "tanh":
		return ops.GELUTanh
	}
	return ops.GELU
}

func normEps(n *config.NormKwargs) float64 {
	if n == nil || n.Eps == nil {
		return 1e-5
	}
	return *n.Eps
}

// Vocabulary is the number of token ids that the text tower of c takes, 0 where that
// is not known because the tower cannot be built.
func Vocabulary(c *config.Config) int {
	f, _ := lastOf(c, Text) // matches all configs
	switch {
	case f.Vocabulary != nil:
		return f.Vocabulary(c)
	case hfModelName(c) != "":
		return 0
	}
	return c.TextCfg.VocabSize
}

// Resize changes the image size of a config (open_clip's force_image_size).
func Resize(c *config.Config, size config.Size) {
	c.VisionCfg.ImageSize = size
	if f, ok := lastOf(c, Visual); ok && f.Resize != nil {
		f.Resize(&c.VisionCfg, size)
	}
}
