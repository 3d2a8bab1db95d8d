package towers

import (
	"fmt"
	"math"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
)

// peCore is the tower of the Perception Encoder: timm's Eva with rotary positions
// (vit_pe_core_* in eva.py; Bolya et al., 2025).
var peCore = trunkReader(readPECore).family("PE-Core", "pe_core", func(c *config.Config) bool {
	return isTimmViT(&c.VisionCfg) && strings.HasPrefix(c.VisionCfg.TimmName(), "vit_pe_core")
})

// timmEvaArgs are those of Eva (eva.py) that the Perception Encoder or EVA needs.
type timmEvaArgs struct {
	timmArgs
	evaBlockArgs
	NumRegTokens     int          `json:"num_reg_tokens"`
	PreNorm          bool         `json:"use_pre_transformer_norm"`
	PostNorm         *bool        `json:"use_post_transformer_norm"` // nil: where there is no fc_norm
	FCNorm           *bool        `json:"use_fc_norm"`               // nil: with global_pool avg
	AttnType         string       `json:"attn_type"`
	UseAbsPosEmb     bool         `json:"use_abs_pos_emb"`
	UseRotPosEmb     bool         `json:"use_rot_pos_emb"`
	RopeType         string       `json:"rope_type"`
	RopeGridOffset   float64      `json:"rope_grid_offset"`
	RopeGridIndexing string       `json:"rope_grid_indexing"`
	RopeTemperature  float64      `json:"rope_temperature"`
	RefFeatShape     *config.Size `json:"ref_feat_shape"`
	AttnPoolNumHeads int          `json:"attn_pool_num_heads"` // 0: num_heads
	AttnPoolMLPRatio float64      `json:"attn_pool_mlp_ratio"` // 0: mlp_ratio
	HeadInitScale    float64      `json:"head_init_scale"`
}

// evaBlockArgs are those of its blocks whose attn_type is "eva".
type evaBlockArgs struct {
	QKVFused       bool `json:"qkv_fused"`
	SwiGLUMLP      bool `json:"swiglu_mlp"`
	ScaleMLP       bool `json:"scale_mlp"`
	ScaleAttnInner bool `json:"scale_attn_inner"`
	UsePostNorm    bool `json:"use_post_norm"`
}

// timmEvaDefaults are the constructor's defaults.
func timmEvaDefaults() timmEvaArgs {
	a := timmEvaArgs{
		timmArgs: timmDefaults(), evaBlockArgs: evaBlockArgs{QKVFused: true},
		AttnType: "eva", UseAbsPosEmb: true, RopeType: "cat", RopeGridIndexing: "ij", RopeTemperature: 10000, HeadInitScale: 0.001,
	}
	a.GlobalPool = "avg"
	return a
}

// readPECore reads an Eva as readTimmTrunk reads a VisionTransformer.
func readPECore(v *config.VisionConfig) (timmTrunk, error) {
	a := timmEvaDefaults()
	if err := timmKwargs(v, &a, &a.timmArgs); err != nil {
		return timmTrunk{}, err
	}
	switch {
	case a.AttnType != "rope":
		return timmTrunk{}, fmt.Errorf("timm's attn_type %q of %s is %w; supported is \"rope\"", a.AttnType, v.TimmName(), config.ErrUnsupported)
	case a.evaBlockArgs != evaBlockArgs{QKVFused: true}:
		return timmTrunk{}, fmt.Errorf("timm's qkv_fused, swiglu_mlp, scale_mlp, scale_attn_inner and use_post_norm of %s are %w", v.TimmName(), config.ErrUnsupported)
	}
	return a.trunk(v)
}

func (a *timmEvaArgs) trunk(v *config.VisionConfig) (timmTrunk, error) {
	block, err := a.block("gelu")
	if err != nil {
		return timmTrunk{}, err
	}
	fc := a.GlobalPool == "avg"
	if a.FCNorm != nil {
		fc = *a.FCNorm
	}
	post := !fc
	if a.PostNorm != nil {
		post = *a.PostNorm
	}
	t := timmTrunk{
		timmArgs: a.timmArgs, block: block, pooler: block, registers: a.NumRegTokens, attnPool: a.GlobalPool == "map",
		preNorm: a.PreNorm, norm: post, fcNorm: fc,
		tokenInit: 0.02, headInit: 0.02 * a.HeadInitScale, eva: true, noPos: !a.UseAbsPosEmb, embed: newTimmPatches, newBlock: newTimmBlock, stride: a.PatchSize,
	}
	if a.AttnPoolNumHeads != 0 {
		t.pooler.Heads = a.AttnPoolNumHeads
	}
	if a.AttnPoolMLPRatio != 0 {
		t.pooler.MLPWidth = int(float64(a.EmbedDim) * a.AttnPoolMLPRatio)
	}
	if a.UseRotPosEmb {
		t.rope = a
	}
	if a.HeadInitScale == 0 { // which is no scale to Python
		t.headInit = 0.02
	}
	err = check.First(a.check(), t.checkPooler(), check.InRange("timm's num_reg_tokens", a.NumRegTokens, 0, check.MaxSide), t.resetPool(v))
	return t, err
}

func (t *timmTrunk) checkPooler() error {
	return check.First(
		check.InRange("timm's attn_pool_num_heads", t.pooler.Heads, 1, t.EmbedDim),
		check.Divisible("timm's embed_dim", t.EmbedDim, "attn_pool_num_heads", t.pooler.Heads),
		check.InRange("timm's attn_pool_mlp_ratio times embed_dim", t.pooler.MLPWidth, 1, check.MaxWidth*16),
	)
}

// check refuses what these towers do not have.
func (a *timmEvaArgs) check() error {
	head := a.EmbedDim / a.NumHeads
	switch {
	case a.RopeType != "cat":
		return fmt.Errorf("timm's rope_type %q is %w; supported is \"cat\"", a.RopeType, config.ErrUnsupported)
	case a.InitValues != nil:
		return fmt.Errorf("timm's init_values of an Eva is %w", config.ErrUnsupported)
	case a.UseRotPosEmb && head%4 != 0:
		return fmt.Errorf("%w: timm's rotary positions want a head width divisible by 4, have %d", config.ErrConfig, head)
	case !(a.RopeTemperature > 0) || math.IsNaN(a.RopeGridOffset):
		return fmt.Errorf("%w: timm's rope_temperature is %v", config.ErrConfig, a.RopeTemperature)
	case a.RefFeatShape != nil && min(a.RefFeatShape[0], a.RefFeatShape[1]) < 1:
		return fmt.Errorf("%w: timm's ref_feat_shape is %v", config.ErrConfig, *a.RefFeatShape)
	}
	return check.OneOf("timm's rope_grid_indexing", a.RopeGridIndexing, "ij", "xy")
}

// rotaryAngles is the Source of ops.Rotary's angles [tokens, width of a head]:
// tokens before the patches are not turned; a patch's first half is by its row, or
// with grid indexing xy its column, and the second by the other
// (build_rotary_pos_embed of timm's pos_embed_sincos.py).
type rotaryAngles struct{ t *timmTrunk }

// ReadF32 implements graph.Source.
func (r rotaryAngles) ReadF32(dst []float32, offset int) error {
	head := r.t.EmbedDim / r.t.NumHeads
	for i := range dst {
		token, column := (offset+i)/head, (offset+i)%head
		angle := r.angle(token-r.t.prefix(), column/2, head/4)
		if column%2 == 0 {
			dst[i] = float32(math.Cos(angle))
		} else {
			dst[i] = float32(math.Sin(angle))
		}
	}
	return nil
}

// angle is the angle by which a pair of columns of a patch's queries and keys is
// turned. bands is the number of frequencies of each axis.
func (r rotaryAngles) angle(patch, pair, bands int) float64 {
	if patch < 0 {
		return 0
	}
	grid, rope := r.t.grid(), r.t.rope
	axis := pair / bands
	if rope.RopeGridIndexing == "xy" {
		axis = 1 - axis
	}
	at := float64([2]int{patch / grid[1], patch % grid[1]}[axis]) + rope.RopeGridOffset
	if ref := rope.RefFeatShape; ref != nil {
		at = at / float64(grid[axis]) * float64(ref[axis])
	}
	return at / math.Pow(rope.RopeTemperature, float64(pair%bands)/float64(bands))
}
