package towers

import (
	"fmt"
	"math"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// naflex is timm's NaFlexVit: a Vision Transformer of pictures of any size, as sequences of
// patches (naflexvit.py; Dehghani et al., NaViT, 2023; Tschannen et al., SigLIP 2, 2025).
var naflex = Family{
	Name: "NaFlex", Part: Visual, Recording: "naflex_gap",
	Matches: func(c *config.Config) bool { return isNaFlex(&c.VisionCfg) },
	Check:   checkNaFlex,
	Image:   func(c *config.Config) ImageTower { return newNaFlex(c) },
	Keys:    []string{"image_size"},
	Sequence: func(c *config.Config) (config.Size, int) {
		t, _ := readNaFlex(&c.VisionCfg)
		return t.PatchSize, longest(&c.VisionCfg)
	},
	NoDecay: []string{"trunk.embeds.pos_embed", "trunk.embeds.reg_token"},
	Groups: [][]string{ // group_matcher of NaFlexVit, what is left of the trunk, open_clip's head
		{"trunk.embeds"},
		{"trunk.blocks.*", "trunk.norm"},
		{"trunk"},
		{"head"},
	},
}

func isNaFlex(v *config.VisionConfig) bool {
	return isTimmViT(v) && strings.HasPrefix(v.TimmName(), "naflexvit")
}

// naflexArgs are those of NaFlexVitCfg that configs need.
type naflexArgs struct {
	timmArgs
	RegTokens        int         `json:"reg_tokens"`
	FinalNorm        bool        `json:"final_norm"`
	FCNorm           *bool       `json:"fc_norm"` // nil: with global_pool avg
	PosEmbedGridSize config.Size `json:"pos_embed_grid_size"`
	PosEmbedInterp   string      `json:"pos_embed_interp_mode"` // bicubic or bilinear, both with antialiasing
	SwiGLUMLP        bool        `json:"swiglu_mlp"`
	AttnPoolMLPRatio float64     `json:"attn_pool_mlp_ratio"` // 0: mlp_ratio
	AttnPoolNumHeads int         `json:"attn_pool_num_heads"` // 0: num_heads
	ActLayer         string      `json:"act_layer"`
}

// naflexTrunk is what they come to.
type naflexTrunk struct {
	naflexArgs
	block, pooler          layers.TimmConfig
	norm, fcNorm, attnPool bool
}

// defaultSequence is the most patches of a picture where image_seq_len does not say: the
// longest of those that open_clip trains with (NaFlexDataConfig in naflex_config.py).
const defaultSequence = 1024

// longest is the most patches that preprocessing makes of a picture.
func longest(v *config.VisionConfig) int {
	if v.ImageSeqLen == nil {
		return defaultSequence
	}
	return *v.ImageSeqLen
}

// readNaFlex reads the description of a NaFlexVit as TimmModel of open_clip's
// timm_model.py creates it.
func readNaFlex(v *config.VisionConfig) (naflexTrunk, error) {
	a := naflexArgs{timmArgs: timmDefaults(), FinalNorm: true, PosEmbedGridSize: config.Size{16, 16}, PosEmbedInterp: "bicubic", ActLayer: "gelu"}
	a.ClassToken, a.GlobalPool = false, "map"
	if err := timmKwargs(v, &a, &a.timmArgs); err != nil {
		return naflexTrunk{}, err
	}
	block, err := a.timmArgs.block(a.ActLayer)
	if err != nil {
		return naflexTrunk{}, err
	}
	const section = "vision_cfg.timm_model_kwargs"
	heads, ratio := a.AttnPoolNumHeads, a.AttnPoolMLPRatio
	if heads == 0 {
		heads = a.NumHeads
	}
	if ratio == 0 {
		ratio = a.MLPRatio
	}
	err = check.First(
		check.InRange(section+".reg_tokens", a.RegTokens, 0, check.MaxSide),
		check.InRange(section+".pos_embed_grid_size", a.PosEmbedGridSize[0], 1, check.MaxSide),
		check.InRange(section+".pos_embed_grid_size", a.PosEmbedGridSize[1], 1, check.MaxSide),
		check.Elements(section+".pos_embed_grid_size", a.PosEmbedGridSize[0]*a.PosEmbedGridSize[1], a.EmbedDim),
		check.OneOf(section+".pos_embed_interp_mode", a.PosEmbedInterp, "bicubic", "bilinear"),
		check.InRange(section+".attn_pool_num_heads", heads, 1, a.EmbedDim),
		check.Divisible(section+".embed_dim", a.EmbedDim, section+".attn_pool_num_heads", heads),
		check.Ratio(section+".attn_pool_mlp_ratio", ratio, a.EmbedDim),
	)
	if err != nil {
		return naflexTrunk{}, err
	}
	for key, asked := range map[string]bool{"class_token": a.ClassToken, "patch_drop_rate": a.PatchDropRate > 0} {
		if asked {
			return naflexTrunk{}, fmt.Errorf("%s.%s of %s is %w", section, key, v.TimmName(), config.ErrUnsupported)
		}
	}
	fc := a.GlobalPool == "avg"
	if a.FCNorm != nil {
		fc = *a.FCNorm
	}
	pool := timmTrunk{timmArgs: a.timmArgs, attnPool: a.GlobalPool == "map"}
	if err := pool.resetPool(v); err != nil {
		return naflexTrunk{}, err
	}
	if pool.GlobalPool == "" {
		return naflexTrunk{}, fmt.Errorf("%s without pooling is %w; supported is timm_pool avg or map", v.TimmName(), config.ErrUnsupported)
	}
	t := naflexTrunk{naflexArgs: a, block: block, pooler: block, norm: a.FinalNorm && !fc, fcNorm: a.FinalNorm && fc, attnPool: pool.attnPool}
	t.pooler.Heads, t.pooler.MLPWidth = heads, int(float64(a.EmbedDim)*ratio)
	return t, nil
}

func checkNaFlex(c *config.Config) error {
	v := &c.VisionCfg
	err := check.First(checkTimmHead(v), check.InRange("vision_cfg.image_seq_len", longest(v), 1, check.MaxSide))
	if err != nil {
		return err
	}
	t, err := readNaFlex(v)
	if err != nil {
		return err
	}
	return check.First(
		checkNoProjection(c, t.EmbedDim),
		check.Divisible("vision_cfg.image_size", v.ImageSize[0], "timm's patch_size", t.PatchSize[0]),
		check.Divisible("vision_cfg.image_size", v.ImageSize[1], "timm's patch_size", t.PatchSize[1]),
	)
}

// naflexTower is open_clip's TimmModel over a NaFlexVit.
type naflexTower struct {
	RegToken  *graph.Param                `w:"trunk.embeds.reg_token"` // [1, registers, width]
	PosEmbed  *graph.Param                `w:"trunk.embeds.pos_embed"` // [1, height, width of the grid, width]
	Embed     *layers.Linear              `w:"trunk.embeds.proj"`
	Blocks    []*layers.NaFlexBlock       `w:"trunk.blocks"`
	Norm      *layers.LayerNorm           `w:"trunk.norm"`
	AttnPool  *layers.AttentionPoolLatent `w:"trunk.attn_pool"`
	FCNorm    *layers.LayerNorm           `w:"trunk.fc_norm"`
	TrunkHead *layers.Linear              `w:"trunk.head"` // timm_proj ""
	timmHead  `w:""`

	cfg   naflexTrunk
	image config.Size // that of images for training
}

// newNaFlex makes the tower of a config that checkNaFlex has passed.
func newNaFlex(c *config.Config) *naflexTower {
	v := &c.VisionCfg
	t, _ := readNaFlex(v)
	width, grid := t.EmbedDim, t.PosEmbedGridSize
	m := &naflexTower{
		PosEmbed: layers.NewParam(layers.Normal(0.02), 1, grid[0], grid[1], width),
		Embed:    layers.NewTimmLinear(t.PatchSize[0]*t.PatchSize[1]*3, width, true),
		timmHead: newTimmHead(c, width), cfg: t, image: v.ImageSize,
	}
	if t.RegTokens > 0 {
		m.RegToken = layers.NewParam(layers.Normal(1e-6), 1, t.RegTokens, width)
	}
	for i, rate := range dropPaths(t.DropPathRate, []int{t.Depth})[0] {
		block := t.block
		block.DropPath, block.LastStd = rate, 0.02/math.Sqrt(2*float64(i+1))
		m.Blocks = append(m.Blocks, layers.NewNaFlexBlock(block, t.SwiGLUMLP))
	}
	if t.norm {
		m.Norm = layers.NewLayerNorm(width, t.block.Eps)
	}
	if t.attnPool {
		m.AttnPool = layers.NewAttentionPoolLatent(t.pooler)
	}
	if t.fcNorm {
		m.FCNorm = layers.NewLayerNorm(width, t.block.Eps)
	}
	if config.Value(v.TimmProj) == "" {
		m.TrunkHead = layers.NewTimmLinear(width, c.EmbedDim, true)
	}
	return m
}

// Depth implements Tower.
func (t *naflexTower) Depth() int { return len(t.Blocks) }

// embed makes the tokens [batch, registers + length, width] of patches.
func (t *naflexTower) embed(g *graph.Graph, in naflexInputs) graph.Tensor {
	width, registers := t.cfg.EmbedDim, t.cfg.RegTokens
	x := t.Embed.Forward(g, in.patches)
	cells := in.places.Dim(2)
	places := g.Reshape(in.places, x.Dim(0)*x.Dim(1), cells)
	table := g.Reshape(g.Param(t.PosEmbed), cells, width)
	x = g.Add(x, g.Reshape(ops.MatMul(g, places, table, false, false), x.Shape()...))
	if registers > 0 {
		tokens := ops.Expand(g, g.Reshape(g.Param(t.RegToken), registers, width), x.Dim(0))
		x = ops.Concat(g, 1, tokens, x)
	}
	return ops.Dropout(g, x, t.cfg.PosDropRate)
}

// Record implements Tower.
func (t *naflexTower) Record(g *graph.Graph, batch, length, depth int) Recorded {
	defer g.Scope("trunk")()
	in := t.declare(g, batch, length)
	x := g.Module("embeds", func() graph.Tensor { return t.embed(g, in) })
	g.Tap(x, "norm_pre")
	all := make([]graph.Tensor, depth)
	for i := range all {
		x = g.Block(fmt.Sprintf("blocks.%d", i), func() graph.Tensor { return t.Blocks[i].Forward(g, x, in.mask) })
		all[i] = x
	}
	return Recorded{
		Outputs: func() Outputs { return Outputs{Features: t.head(g, in, all[depth-1])} },
		Block: func(i int, normalize bool) Block {
			x := all[i]
			if normalize {
				x = t.Norm.Forward(g, x)
			}
			var b Block
			if registers := t.cfg.RegTokens; registers > 0 {
				s := ops.Split(g, x, 1, registers, length)
				b.Special, x = s[0], s[1]
			}
			b.Tokens = g.Reshape(x, batch, 1, length, t.cfg.EmbedDim)
			return b
		},
	}
}

// BlockOptions implements Tower.
func (t *naflexTower) BlockOptions(o BlockOptions) (BlockOptions, error) { return o, nil }

// head takes the last block's output to the features.
func (t *naflexTower) head(g *graph.Graph, in naflexInputs, x graph.Tensor) graph.Tensor {
	end := g.Scope("trunk")
	x = g.Module("norm", func() graph.Tensor { return t.Norm.Forward(g, x) })
	if t.AttnPool != nil {
		x = g.Module("attn_pool", func() graph.Tensor { return t.AttnPool.ForwardMasked(g, x, in.hidden) })
	} else {
		x = g.Reshape(ops.MatMul(g, in.shares, x, false, false), x.Dim(0), x.Dim(2))
	}
	x = ops.Dropout(g, g.Module("fc_norm", func() graph.Tensor { return t.FCNorm.Forward(g, x) }), t.cfg.DropRate)
	if t.TrunkHead != nil {
		x = t.TrunkHead.Forward(g, x)
	}
	g.Tap(x, "head")
	g.Tap(x)
	end()
	return t.project(g, x)
}

// Adapt implements Tower: positions are resized to every picture, and never when loaded.
func (t *naflexTower) Adapt(weights.Map, *config.Config) error { return nil }
