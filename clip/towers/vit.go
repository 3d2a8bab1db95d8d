package towers

import (
	"fmt"
	"math"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/clip/posembed"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// vit is open_clip's native Vision Transformer.
var vit = Family{
	Name: "ViT", Part: Visual, Recording: "vit_openai_tiny",
	Matches: func(c *config.Config) bool { return c.VisionCfg.TimmName() == "" && len(c.VisionCfg.Layers) == 1 },
	Check:   checkVisionTransformer,
	Image:   func(c *config.Config) ImageTower { return newVisionTransformer(c) },
	Layouts: []*weights.Layout{weights.OpenAI, weights.HuggingFaceCLIP},
	Keys:    []string{"image_size", "layers", "width", "patch_size"},
	Tokens:  vitTokens,
	NoDecay: []string{"positional_embedding", "class_embedding"},
	Groups: [][]string{ // without the attentional poolers, as in open_clip
		{"conv1", "class_embedding", "positional_embedding", "ln_pre"},
		{"transformer.resblocks.*", "ln_post"},
		{"proj"},
	},
}

// clipa is the form in which CLIPA trains it.
var clipa = vit.named("CLIPA", "opt_no_ln_pre", func(c *config.Config) bool { return c.VisionCfg.NoLnPre && c.TextCfg.NoCausalMask })

func checkVisionTransformer(c *config.Config) error {
	v := &c.VisionCfg
	err := check.First(
		check.InRange("vision_cfg.width", v.Width, 1, check.MaxWidth),
		check.InRange("vision_cfg.layers", v.Layers[0], 1, check.MaxLayers),
		check.InRange("vision_cfg.head_width", v.HeadWidth, 1, v.Width),
		check.Ratio("vision_cfg.mlp_ratio", v.MLPRatio, v.Width),
		check.InRange("vision_cfg.patch_size", v.PatchSize[0], 1, v.ImageSize[0]),
		check.InRange("vision_cfg.patch_size", v.PatchSize[1], 1, v.ImageSize[1]),
		check.Divisible("vision_cfg.width", v.Width, "its number of heads (width / head_width)", v.Width/max(1, v.HeadWidth)),
		check.OneOf("vision_cfg.pool_type", v.PoolType, "tok", "avg", "none"),
		check.OneOf("vision_cfg.pos_embed_type", v.PosEmbedType, "learnable", "sin_cos_2d"),
		checkBlock("vision_cfg", v.BlockConfig, v.ActKwargs, v.NormKwargs, c.QuickGELU),
	)
	if err != nil {
		return err
	}
	grid := vitGrid(v)
	if err := check.Elements("vision_cfg.image_size", grid[0]*grid[1], v.Width); err != nil {
		return err
	}
	if v.PosEmbedType == "sin_cos_2d" && (grid[0] != grid[1] || v.Width%4 != 0) {
		return fmt.Errorf("%w: vision_cfg.pos_embed_type sin_cos_2d wants a square grid and a width divisible by 4, has %d×%d and %d", config.ErrConfig, grid[0], grid[1], v.Width)
	}
	if v.AttentionalPool == config.PoolerNone {
		return nil
	}
	if v.AttentionalPool == config.PoolerSingle && v.PoolType == "avg" && v.AttnPoolerQueries == 1 {
		return fmt.Errorf("%w: vision_cfg.pool_type avg drops query 0, so attn_pooler_queries must be above 1", config.ErrConfig)
	}
	if v.AttentionalPool != config.PoolerSingle && c.EmbedDim != v.Width {
		return fmt.Errorf("%w: vision_cfg.attentional_pool %q wants embed_dim (%d) equal to vision_cfg.width (%d)", config.ErrConfig, v.AttentionalPool, c.EmbedDim, v.Width)
	}
	return check.First(
		check.InRange("vision_cfg.attn_pooler_queries", v.AttnPoolerQueries, 1, check.MaxWidth),
		check.InRange("vision_cfg.attn_pooler_heads", v.AttnPoolerHeads, 1, check.MaxWidth),
		check.Divisible("embed_dim", c.EmbedDim, "vision_cfg.attn_pooler_heads", v.AttnPoolerHeads),
	)
}

// visionTransformer is open_clip's native image tower (visionTransformer in
// transformer.py; Dosovitskiy et al., 2021).
type visionTransformer struct {
	ClassEmbedding      *graph.Param              `w:"class_embedding"`      // [width]
	PositionalEmbedding *graph.Param              `w:"positional_embedding"` // [1 + grid, width]
	Proj                *layers.Weight            `w:"proj"`                 // [width, embed_dim]
	Conv1               *layers.PatchEmbed        `w:"conv1"`
	LnPre               *layers.LayerNorm         `w:"ln_pre"`
	Transformer         *layers.Transformer       `w:"transformer"`
	AttnPool            *layers.AttentionalPooler `w:"attn_pool"`
	AttnPoolContrastive *layers.AttentionalPooler `w:"attn_pool_contrastive"`
	LnPost              *layers.LayerNorm         `w:"ln_post"`

	cfg config.VisionConfig
	pixels
}

func newVisionTransformer(c *config.Config) *visionTransformer {
	v := c.VisionCfg
	scale := 1 / math.Sqrt(float64(v.Width))
	grid := vitGrid(&v)
	t := &visionTransformer{
		ClassEmbedding:      layers.NewParam(layers.Normal(scale), v.Width),
		PositionalEmbedding: layers.NewParam(layers.Normal(scale), grid[0]*grid[1]+1, v.Width),
		Conv1:               layers.NewPatchEmbed(v.Width, v.PatchSize[0], v.PatchSize[1]),
		Transformer: layers.NewTransformer(transformer(v.BlockConfig, v.Width, v.Layers[0], v.Width/v.HeadWidth,
			v.MLPRatio, v.LSInitValue, c.QuickGELU, v.ActKwargs, v.NormKwargs)),
		cfg: v, pixels: pixels{v.ImageSize},
	}
	if v.PosEmbedType == "sin_cos_2d" {
		t.PositionalEmbedding.Source = layers.Values(sinCos2D(v.Width, grid[0]))
		t.PositionalEmbedding.Frozen = true
	}
	if !v.NoLnPre {
		t.LnPre = layers.NewLayerNorm(v.Width, normEps(v.NormKwargs))
	}
	pooled := v.Width
	if v.AttentionalPool != config.PoolerNone {
		pooled = c.EmbedDim
		t.AttnPool = layers.NewAttentionalPooler(pooled, v.Width, v.AttnPoolerHeads, v.AttnPoolerQueries)
	}
	if v.AttentionalPool == config.PoolerParallel || v.AttentionalPool == config.PoolerCascade {
		t.AttnPoolContrastive = layers.NewAttentionalPooler(pooled, v.Width, v.AttnPoolerHeads, 1)
	}
	t.LnPost = layers.NewLayerNorm(pooled, normEps(v.NormKwargs))
	t.Proj = layers.NewProjection(layers.Normal(scale), pooled, c.EmbedDim)
	return t
}

// sinCos2D is the fixed table [1 + side², width] of open_clip's pos_embed.py:
// a zero row for the class token, then for each patch the sines and cosines of
// its column, then those of its row.
func sinCos2D(width, side int) []float32 {
	table := make([]float32, (1+side*side)*width)
	quarter := width / 4
	for i := range side * side {
		row := table[(1+i)*width:]
		for half, pos := range [2]int{i % side, i / side} {
			for j := range quarter {
				a := float64(pos) / math.Pow(10000, float64(j)/float64(quarter))
				row[2*half*quarter+j] = float32(math.Sin(a))
				row[(2*half+1)*quarter+j] = float32(math.Cos(a))
			}
		}
	}
	return table
}

// Depth implements Tower.
func (t *visionTransformer) Depth() int { return len(t.Transformer.Resblocks) }

// sequence runs the first depth blocks, whose outputs are [batch, 1 + grid, width].
func (t *visionTransformer) sequence(g *graph.Graph, image graph.Tensor, depth int) []graph.Tensor {
	end := g.Scope("conv1")
	x := t.Conv1.Forward(g, image, 1)
	g.Tap(t.split(g, x).Tokens)
	end()
	// The class token is zero so far: what it and the positions add is one table.
	table := ops.AddPrefix(g, g.Param(t.PositionalEmbedding), g.Param(t.ClassEmbedding))
	x = ops.AddBroadcast(g, x, table, 1)
	x, _ = ops.PatchDropout(g, x, graph.Tensor{}, 1, t.cfg.PatchDropout)
	x = g.Module("ln_pre", func() graph.Tensor { return t.LnPre.Forward(g, x) })
	defer g.Scope("transformer")()
	return t.Transformer.Forward(g, x, layers.Mask{}, depth)
}

func (t *visionTransformer) split(g *graph.Graph, x graph.Tensor) Block {
	grid, s := vitGrid(&t.cfg), ops.Split(g, x, 1, 1, x.Dim(1)-1)
	return Block{Special: s[0], Tokens: g.Reshape(s[1], x.Dim(0), grid[0], grid[1], x.Dim(2))}
}

// Record implements Tower.
func (t *visionTransformer) Record(g *graph.Graph, batch, _, depth int) Recorded {
	all := t.sequence(g, t.input(g, batch), depth)
	return Recorded{
		Outputs: func() Outputs {
			pooled, tokens := t.pool(g, all[depth-1])
			outs := Outputs{Features: t.Proj.Forward(g, pooled, nil)}
			if t.cfg.OutputTokens && tokens.Valid() {
				outs["tokens"] = tokens
			}
			return outs
		},
		Block: func(i int, normalize bool) Block {
			x := all[i]
			if normalize {
				x = t.LnPost.Forward(g, x)
			}
			return t.split(g, x)
		},
	}
}

// BlockOptions implements Tower.
func (t *visionTransformer) BlockOptions(o BlockOptions) (BlockOptions, error) {
	if post := t.LnPost.Weight.Shape[0]; o.Normalize && post != t.cfg.Width {
		return o, fmt.Errorf("%w: ln_post is %d wide and cannot normalise blocks of width %d", check.ErrInput, post, t.cfg.Width)
	}
	return o, nil
}

// Adapt resizes the position embedding.
func (t *visionTransformer) Adapt(m weights.Map, _ *config.Config) error {
	return resize(m, t.PositionalEmbedding.Name, func(old []float32, width int) []float32 {
		return posembed.Resize(old, width, vitGrid(&t.cfg))
	}, t.PositionalEmbedding.Shape)
}

func (t *visionTransformer) lnPost(g *graph.Graph, x graph.Tensor) graph.Tensor {
	return g.Module("ln_post", func() graph.Tensor { return t.LnPost.Forward(g, x) })
}

// pool turns the last block's output into the pooled vector [batch, width], or
// [batch, tokens, width] where the tower does not pool, and the tokens.
func (t *visionTransformer) pool(g *graph.Graph, x graph.Tensor) (pooled, tokens graph.Tensor) {
	switch {
	case t.AttnPoolContrastive != nil:
		x = t.lnPost(g, x)
		tokens = g.Module("attn_pool", func() graph.Tensor { return t.AttnPool.Forward(g, x) })
		from := x
		if t.cfg.AttentionalPool == config.PoolerCascade {
			from = tokens
		}
		pooled = g.Module("attn_pool_contrastive", func() graph.Tensor { return t.AttnPoolContrastive.Forward(g, from) })
		return pooled, tokens
	case t.AttnPool != nil:
		x = g.Module("attn_pool", func() graph.Tensor { return t.AttnPool.Forward(g, x) })
		return t.globalPool(g, t.lnPost(g, x))
	case t.cfg.FinalLnAfterPool:
		pooled, tokens = t.globalPool(g, x)
		return t.lnPost(g, pooled), tokens
	}
	return t.globalPool(g, t.lnPost(g, x))
}

func (t *visionTransformer) globalPool(g *graph.Graph, x graph.Tensor) (pooled, tokens graph.Tensor) {
	batch, length, width := x.Dim(0), x.Dim(1), x.Dim(2)
	switch {
	case t.cfg.PoolType == "none":
		return x, x
	case length == 1: // an attentional pooler of one query
		return g.Reshape(x, batch, width), graph.Tensor{}
	}
	split := ops.Split(g, x, 1, 1, length-1)
	if t.cfg.PoolType == "avg" {
		return ops.MeanAxis(g, split[1], 1), split[1]
	}
	return g.Reshape(split[0], batch, width), split[1]
}

func vitGrid(v *config.VisionConfig) config.Size {
	return config.Size{v.ImageSize[0] / v.PatchSize[0], v.ImageSize[1] / v.PatchSize[1]}
}

// vitTokens is the width of the tokens of a visionTransformer.
func vitTokens(c *config.Config) int {
	v := &c.VisionCfg
	switch {
	case v.AttentionalPool == config.PoolerSingle && v.AttnPoolerQueries == 1 && v.PoolType != "none":
		return 0
	case v.AttentionalPool != config.PoolerNone:
		return c.EmbedDim
	}
	return v.Width
}
