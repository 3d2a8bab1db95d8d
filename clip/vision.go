package clip

import (
	"fmt"
	"math"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

func init() {
	registerImageTower(imageFamily{
		name:  "VisionTransformer",
		takes: func(v *VisionConfig) bool { return !v.isTimm() && len(v.Layers) == 1 },
		check: checkVisionTransformer,
		build: func(c *Config) ImageTower { return newVisionTransformer(c) },
	})
}

func checkVisionTransformer(c *Config) error {
	v := &c.VisionCfg
	err := firstError(
		inRange("vision_cfg.width", v.Width, 1, maxWidth),
		inRange("vision_cfg.layers", v.Layers[0], 1, maxLayers),
		inRange("vision_cfg.head_width", v.HeadWidth, 1, v.Width),
		ratio("vision_cfg.mlp_ratio", v.MLPRatio, v.Width),
		inRange("vision_cfg.patch_size", v.PatchSize[0], 1, v.ImageSize[0]),
		inRange("vision_cfg.patch_size", v.PatchSize[1], 1, v.ImageSize[1]),
		divisible("vision_cfg.width", v.Width, "its number of heads (width / head_width)", v.Width/max(1, v.HeadWidth)),
		oneOf("vision_cfg.pool_type", v.PoolType, "tok", "avg", "none"),
		oneOf("vision_cfg.pos_embed_type", v.PosEmbedType, "learnable", "sin_cos_2d"),
		checkBlock("vision_cfg", v.BlockConfig, v.ActKwargs, v.NormKwargs, c.QuickGELU),
	)
	if err != nil {
		return err
	}
	if grid := v.grid(); v.PosEmbedType == "sin_cos_2d" && (grid[0] != grid[1] || v.Width%4 != 0) {
		return fmt.Errorf("%w: vision_cfg.pos_embed_type sin_cos_2d wants a square grid and a width divisible by 4, has %d×%d and %d", ErrConfig, grid[0], grid[1], v.Width)
	}
	if v.AttentionalPool == PoolerNone {
		return nil
	}
	if v.AttentionalPool == PoolerSingle && v.PoolType == "avg" && v.AttnPoolerQueries == 1 {
		return fmt.Errorf("%w: vision_cfg.pool_type avg drops query 0, so attn_pooler_queries must be above 1", ErrConfig)
	}
	if v.AttentionalPool != PoolerSingle && c.EmbedDim != v.Width {
		return fmt.Errorf("%w: vision_cfg.attentional_pool %q wants embed_dim (%d) equal to vision_cfg.width (%d)", ErrConfig, v.AttentionalPool, c.EmbedDim, v.Width)
	}
	return firstError(
		inRange("vision_cfg.attn_pooler_queries", v.AttnPoolerQueries, 1, maxWidth),
		inRange("vision_cfg.attn_pooler_heads", v.AttnPoolerHeads, 1, maxWidth),
		divisible("embed_dim", c.EmbedDim, "vision_cfg.attn_pooler_heads", v.AttnPoolerHeads),
	)
}

// VisionTransformer is open_clip's native image tower (VisionTransformer in
// transformer.py; Dosovitskiy et al., 2021).
type VisionTransformer struct {
	ClassEmbedding      *graph.Param              `w:"class_embedding"`      // [width]
	PositionalEmbedding *graph.Param              `w:"positional_embedding"` // [1 + grid, width]
	Proj                *layers.Weight            `w:"proj"`                 // [width, embed_dim]
	Conv1               *layers.PatchEmbed        `w:"conv1"`
	LnPre               *layers.LayerNorm         `w:"ln_pre"`
	Transformer         *layers.Transformer       `w:"transformer"`
	AttnPool            *layers.AttentionalPooler `w:"attn_pool"`
	AttnPoolContrastive *layers.AttentionalPooler `w:"attn_pool_contrastive"`
	LnPost              *layers.LayerNorm         `w:"ln_post"`

	cfg VisionConfig
}

func newVisionTransformer(c *Config) *VisionTransformer {
	v := c.VisionCfg
	scale := 1 / math.Sqrt(float64(v.Width))
	grid := v.grid()
	t := &VisionTransformer{
		ClassEmbedding:      layers.NewParam(layers.Normal(scale), v.Width),
		PositionalEmbedding: layers.NewParam(layers.Normal(scale), grid[0]*grid[1]+1, v.Width),
		Conv1:               layers.NewPatchEmbed(v.Width, v.PatchSize[0], v.PatchSize[1]),
		Transformer: layers.NewTransformer(v.transformer(v.Width, v.Layers[0], v.Width/v.HeadWidth,
			v.MLPRatio, v.LSInitValue, c.QuickGELU, v.ActKwargs, v.NormKwargs)),
		cfg: v,
	}
	if v.PosEmbedType == "sin_cos_2d" {
		t.PositionalEmbedding.Source = layers.Values(sinCos2D(v.Width, grid[0]))
		t.PositionalEmbedding.Frozen = true
	}
	if !v.NoLnPre {
		t.LnPre = layers.NewLayerNorm(v.Width, v.NormKwargs.eps())
	}
	pooled := v.Width
	if v.AttentionalPool != PoolerNone {
		pooled = c.EmbedDim
		t.AttnPool = layers.NewAttentionalPooler(pooled, v.Width, v.AttnPoolerHeads, v.AttnPoolerQueries)
	}
	if v.AttentionalPool == PoolerParallel || v.AttentionalPool == PoolerCascade {
		t.AttnPoolContrastive = layers.NewAttentionalPooler(pooled, v.Width, v.AttnPoolerHeads, 1)
	}
	t.LnPost = layers.NewLayerNorm(pooled, v.NormKwargs.eps())
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

func (t *VisionTransformer) depth() int { return len(t.Transformer.Resblocks) }

// sequence runs the first depth blocks, whose outputs are [batch, 1 + grid, width].
func (t *VisionTransformer) sequence(g *graph.Graph, image graph.Tensor, depth int) []graph.Tensor {
	end := g.Scope("conv1")
	x := t.Conv1.Forward(g, image, 1)
	g.Tap(t.split(g, x).spatial)
	end()
	// The class token is zero so far: what it and the positions add is one table.
	table := ops.AddPrefix(g, g.Param(t.PositionalEmbedding), g.Param(t.ClassEmbedding))
	x = ops.AddBroadcast(g, x, table, 1)
	x = g.Module("ln_pre", func() graph.Tensor { return t.LnPre.Forward(g, x) })
	defer g.Scope("transformer")()
	return t.Transformer.Forward(g, x, layers.Mask{}, depth)
}

func (t *VisionTransformer) split(g *graph.Graph, x graph.Tensor) featureMap {
	grid, s := t.cfg.grid(), ops.Split(g, x, 1, 1, x.Dim(1)-1)
	return featureMap{prefix: s[0], spatial: g.Reshape(s[1], x.Dim(0), grid[0], grid[1], x.Dim(2))}
}

func (t *VisionTransformer) blocks(g *graph.Graph, image graph.Tensor, depth int, o IntermediatesOptions) ([]featureMap, func() graph.Tensor) {
	all := t.sequence(g, image, depth)
	outs := make([]featureMap, depth)
	for i, x := range all {
		if o.NormalizeIntermediates {
			x = t.LnPost.Forward(g, x)
		}
		outs[i] = t.split(g, x)
	}
	return outs, func() graph.Tensor { return t.head(g, all[depth-1]) }
}

func (t *VisionTransformer) intermediatesOptions(o IntermediatesOptions) (IntermediatesOptions, error) {
	if post := t.LnPost.Weight.Shape[0]; o.NormalizeIntermediates && post != t.cfg.Width {
		return o, fmt.Errorf("%w: ln_post is %d wide and cannot normalise blocks of width %d", ErrInput, post, t.cfg.Width)
	}
	return o, nil
}

// adapt resizes the position embedding.
func (t *VisionTransformer) adapt(m weights.Map) error {
	return resize(m, t.PositionalEmbedding.Name, func(old []float32, width int) []float32 {
		return ResizePosEmbed(old, width, t.cfg.grid())
	}, t.PositionalEmbedding.Shape)
}

// lnPost is the final norm, tapped under its name.
func (t *VisionTransformer) lnPost(g *graph.Graph, x graph.Tensor) graph.Tensor {
	return g.Module("ln_post", func() graph.Tensor { return t.LnPost.Forward(g, x) })
}

// pool turns the last block's output into the pooled vector [batch, width], or
// [batch, tokens, width] where the tower does not pool, and the tokens.
func (t *VisionTransformer) pool(g *graph.Graph, x graph.Tensor) (pooled, tokens graph.Tensor) {
	switch {
	case t.AttnPoolContrastive != nil:
		x = t.lnPost(g, x)
		tokens = g.Module("attn_pool", func() graph.Tensor { return t.AttnPool.Forward(g, x) })
		from := x
		if t.cfg.AttentionalPool == PoolerCascade {
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

func (t *VisionTransformer) globalPool(g *graph.Graph, x graph.Tensor) (pooled, tokens graph.Tensor) {
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

func (t *VisionTransformer) forward(g *graph.Graph, image graph.Tensor) graph.Tensor {
	return t.head(g, t.sequence(g, image, t.depth())[t.depth()-1])
}

func (t *VisionTransformer) head(g *graph.Graph, x graph.Tensor) graph.Tensor {
	pooled, _ := t.pool(g, x)
	return t.Proj.Forward(g, pooled, nil)
}
