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

// timmViT is timm's VisionTransformer.
var timmViT = trunkReader(readTimmTrunk).family("timm ViT", "timm_vit_avg", func(c *config.Config) bool { return isTimmViT(&c.VisionCfg) })

// trunkReader reads what a config says of its trunk. Families of timmTower differ in it.
type trunkReader func(v *config.VisionConfig) (timmTrunk, error)

// family is one whose towers are timmTowers.
func (read trunkReader) family(name, recording string, matches func(*config.Config) bool, layouts ...*weights.Layout) Family {
	return Family{
		Name: name, Part: Visual, Recording: recording, Matches: matches, Layouts: layouts, Keys: []string{"image_size"},
		Check:   read.check,
		Image:   func(c *config.Config) ImageTower { return read.tower(c) },
		Resize:  read.resize,
		NoDecay: []string{"trunk.pos_embed", "trunk.cls_token", "trunk.reg_token"},
		Groups: [][]string{ // group_matcher of timm's classes, what is left of the trunk, open_clip's head
			{"trunk.cls_token", "trunk.reg_token", "trunk.pos_embed", "trunk.patch_embed", "trunk.norm_pre"},
			{"trunk.blocks.*", "trunk.norm"},
			{"trunk"},
			{"head"},
		},
	}
}

func (read trunkReader) check(c *config.Config) error {
	v := &c.VisionCfg
	if err := checkTimmHead(v); err != nil {
		return err
	}
	t, err := read(v)
	if err == nil {
		err = check.Elements("vision_cfg.timm_model_kwargs.img_size", t.grid()[0]*t.grid()[1], t.EmbedDim)
	}
	if err != nil {
		return err
	}
	return check.First(checkImageSize(v, t.ImgSize), checkNoProjection(c, t.EmbedDim))
}

// checkImageSize wants images of the one size that the trunk takes.
func checkImageSize(v *config.VisionConfig, size config.Size) error {
	if v.ImageSize != size {
		return fmt.Errorf("%w: vision_cfg.image_size %v is not the %v of %s; timm_model_kwargs.img_size changes that", config.ErrConfig, v.ImageSize, size, v.TimmName())
	}
	return nil
}

// timmTower is open_clip's TimmModel (timm_model.py) over timm's VisionTransformer,
// Eva or VisionTransformerRelPos (vision_transformer.py, eva.py,
// vision_transformer_relpos.py).
type timmTower struct {
	ClsToken   *graph.Param                `w:"trunk.cls_token"` // [1, 1, width]
	RegToken   *graph.Param                `w:"trunk.reg_token"` // [1, registers, width]
	PosEmbed   *graph.Param                `w:"trunk.pos_embed"` // [1, tokens, width], or patches with no_embed_class; nil for none
	PatchEmbed patchEmbed                  `w:"trunk.patch_embed"`
	NormPre    *layers.LayerNorm           `w:"trunk.norm_pre"`
	Blocks     []timmBlock                 `w:"trunk.blocks"`
	Norm       *layers.LayerNorm           `w:"trunk.norm"`
	AttnPool   *layers.AttentionPoolLatent `w:"trunk.attn_pool"`
	FCNorm     *layers.LayerNorm           `w:"trunk.fc_norm"`
	TrunkHead  *layers.Linear              `w:"trunk.head"` // timm_proj ""
	timmHead   `w:""`

	angles *graph.Param // of ops.Rotary, in no state dict; nil without rotary positions
	cfg    timmTrunk
	read   trunkReader
	pixels
}

// patchEmbed makes tokens of images (embed_layer of timm's constructors).
type patchEmbed interface {
	// Forward maps images [batch, 3, height, width] to [batch, lead + patches, width]:
	// lead tokens of zeros, then those of the patches, still without TokenBias.
	Forward(g *graph.Graph, image graph.Tensor, lead int) graph.Tensor
	// TokenBias [width] is what each patch's token gets with its position; nil for none.
	TokenBias() *graph.Param
}

// timmBlock is a transformer block under timm's names.
type timmBlock interface {
	// Forward keeps x's shape [batch, tokens, width]. angles are those of ops.Rotary, or
	// absent.
	Forward(g *graph.Graph, x, angles graph.Tensor) graph.Tensor
}

func newTimmBlock(_ *timmTrunk, c layers.TimmConfig) timmBlock { return layers.NewTimmBlock(c) }

// timmPatches is timm's PatchEmbed (patch_embed.py).
type timmPatches struct {
	*layers.PatchEmbed `w:"proj"`
	Bias               *graph.Param `w:"proj.bias"` // [width]; without norm_pre
}

func newTimmPatches(t *timmTrunk) patchEmbed {
	p := &timmPatches{PatchEmbed: layers.NewPatchEmbed(t.EmbedDim, t.PatchSize[0], t.PatchSize[1])}
	if !t.preNorm {
		p.Bias = layers.NewParam(p.Weight.Source, t.EmbedDim)
	}
	return p
}

// TokenBias implements patchEmbed.
func (p *timmPatches) TokenBias() *graph.Param { return p.Bias }

// tower makes the tower of a config that check has passed.
func (read trunkReader) tower(c *config.Config) *timmTower {
	v := &c.VisionCfg
	t, _ := read(v)
	grid, width := t.grid(), t.EmbedDim
	norm := func(have bool) *layers.LayerNorm {
		if !have {
			return nil
		}
		return layers.NewLayerNorm(width, t.block.Eps)
	}
	positions := grid[0] * grid[1]
	if !t.NoEmbedClass {
		positions += t.prefix()
	}
	m := &timmTower{
		PatchEmbed: t.embed(&t),
		NormPre:    norm(t.preNorm), Norm: norm(t.norm), FCNorm: norm(t.fcNorm),
		timmHead: newTimmHead(c, width),
		cfg:      t, read: read, pixels: pixels{v.ImageSize},
	}
	if !t.noPos {
		m.PosEmbed = layers.NewParam(layers.Normal(0.02), 1, positions, width)
	}
	if t.ClassToken {
		m.ClsToken = layers.NewParam(layers.Normal(t.tokenInit), 1, 1, width)
	}
	if t.registers > 0 {
		m.RegToken = layers.NewParam(layers.Normal(t.tokenInit), 1, t.registers, width)
	}
	for i := range t.Depth {
		block := t.block
		block.DropPath = t.DropPathRate * float64(i) / float64(max(1, t.Depth-1)) // timm's calculate_drop_path_rates
		if t.eva {
			block.LastStd = 0.02 / math.Sqrt(2*float64(i+1))
		}
		m.Blocks = append(m.Blocks, t.newBlock(&t, block))
	}
	if t.attnPool {
		m.AttnPool = layers.NewAttentionPoolLatent(t.pooler)
	}
	if t.rope != nil {
		m.angles = layers.NewParam(rotaryAngles{&t}, grid[0]*grid[1]+t.prefix(), width/t.NumHeads)
		m.angles.Name, m.angles.Frozen = "rope angles", true
	}
	if config.Value(v.TimmProj) == "" {
		m.TrunkHead = layers.NewLinear(width, c.EmbedDim, true)
		if t.headInit != 0 {
			m.TrunkHead.Weight.Source, m.TrunkHead.Bias.Source = layers.Normal(t.headInit), layers.Constant(0)
		}
	}
	return m
}

// Depth implements Tower.
func (t *timmTower) Depth() int { return len(t.Blocks) }

// table is what is added to the output of the patch embedding, whose tokens before the
// patches are zero: positions, class token, registers and the bias of the patch
// embedding.
func (t *timmTower) table(g *graph.Graph) graph.Tensor {
	prefix, width, grid := t.cfg.prefix(), t.cfg.EmbedDim, t.cfg.grid()
	pos := g.Fill(0, grid[0]*grid[1], width)
	if t.PosEmbed != nil {
		pos = g.Reshape(g.Param(t.PosEmbed), t.PosEmbed.Shape[1], width)
	}
	var before graph.Tensor
	if t.PosEmbed != nil && !t.cfg.NoEmbedClass && prefix > 0 {
		s := ops.Split(g, pos, 0, prefix, pos.Dim(0)-prefix)
		before, pos = s[0], s[1]
	}
	if bias := t.PatchEmbed.TokenBias(); bias != nil {
		pos = ops.AddBroadcast(g, pos, g.Param(bias), 1)
	}
	var tokens []graph.Tensor
	for _, p := range []*graph.Param{t.ClsToken, t.RegToken} {
		if p != nil {
			tokens = append(tokens, g.Reshape(g.Param(p), p.Shape[1], width))
		}
	}
	if len(tokens) == 0 {
		return pos
	}
	x := ops.Concat(g, 0, tokens...)
	if before.Valid() {
		x = g.Add(x, before)
	}
	return ops.Concat(g, 0, x, pos)
}

// sequence runs the first depth blocks, whose outputs are [batch, tokens, width].
func (t *timmTower) sequence(g *graph.Graph, image graph.Tensor, depth int) []graph.Tensor {
	prefix := t.cfg.prefix()
	x := t.PatchEmbed.Forward(g, image, prefix)
	patches := t.split(g, x)[1]
	if bias := t.PatchEmbed.TokenBias(); bias != nil {
		patches = ops.AddBroadcast(g, patches, g.Param(bias), 1)
	}
	g.Tap(patches, "patch_embed")
	if t.PosEmbed != nil || prefix > 0 || t.PatchEmbed.TokenBias() != nil {
		x = ops.AddBroadcast(g, x, t.table(g), 1)
	}
	x = ops.Dropout(g, x, t.cfg.PosDropRate)
	var angles graph.Tensor
	if t.angles != nil {
		angles = g.Tap(g.Param(t.angles), "rope")
	}
	x, angles = ops.PatchDropout(g, x, angles, prefix, t.cfg.PatchDropRate)
	x = g.Module("norm_pre", func() graph.Tensor { return t.NormPre.Forward(g, x) })
	outs := make([]graph.Tensor, depth)
	for i := range outs {
		x = g.Block(fmt.Sprintf("blocks.%d", i), func() graph.Tensor { return t.Blocks[i].Forward(g, x, angles) })
		outs[i] = x
	}
	return outs
}

// split takes the tokens before the patches, absent where there are none, and
// those of the patches apart.
func (t *timmTower) split(g *graph.Graph, x graph.Tensor) [2]graph.Tensor {
	prefix := t.cfg.prefix()
	if prefix == 0 {
		return [2]graph.Tensor{{}, x}
	}
	return [2]graph.Tensor(ops.Split(g, x, 1, prefix, x.Dim(1)-prefix))
}

// Record implements Tower.
func (t *timmTower) Record(g *graph.Graph, batch, _, depth int) Recorded {
	defer g.Scope("trunk")()
	all, grid := t.sequence(g, t.input(g, batch), depth), t.cfg.grid()
	return Recorded{
		Outputs: func() Outputs { return Outputs{Features: t.head(g, all[depth-1])} },
		Block: func(i int, normalize bool) Block {
			x := all[i]
			if normalize {
				x = t.Norm.Forward(g, x)
			}
			s := t.split(g, x)
			return Block{Special: s[0], Tokens: g.Reshape(s[1], x.Dim(0), grid[0], grid[1], x.Dim(2))}
		},
	}
}

// BlockOptions implements Tower.
func (t *timmTower) BlockOptions(o BlockOptions) (BlockOptions, error) { return o, nil }

// head takes the last block's output to the features.
func (t *timmTower) head(g *graph.Graph, x graph.Tensor) graph.Tensor {
	end := g.Scope("trunk")
	x = g.Module("norm", func() graph.Tensor { return t.Norm.Forward(g, x) })
	x = t.pool(g, x)
	x = ops.Dropout(g, g.Module("fc_norm", func() graph.Tensor { return t.FCNorm.Forward(g, x) }), t.cfg.DropRate)
	x = g.Module("head", func() graph.Tensor {
		if t.TrunkHead == nil {
			return x
		}
		return t.TrunkHead.Forward(g, x)
	})
	g.Tap(x)
	end()
	return t.project(g, x)
}

// pool gives [batch, width], or x itself with global_pool "".
func (t *timmTower) pool(g *graph.Graph, x graph.Tensor) graph.Tensor {
	seen := x
	if !t.cfg.poolPrefix && !(t.cfg.eva && t.cfg.attnPool) {
		seen = t.split(g, x)[1]
	}
	switch t.cfg.GlobalPool {
	case "map":
		return g.Module("attn_pool", func() graph.Tensor { return t.AttnPool.Forward(g, seen) })
	case "avg":
		return ops.MeanAxis(g, seen, 1)
	case "token":
		return g.Reshape(ops.Split(g, x, 1, 1, x.Dim(1)-1)[0], x.Dim(0), x.Dim(2))
	}
	return x
}

// Adapt resizes the position embedding of a checkpoint for another image size, as
// set_input_size of timm's towers does once it is loaded; open_clip calls that for
// force_image_size only.
func (t *timmTower) Adapt(m weights.Map, stored *config.Config) error {
	if t.PosEmbed == nil {
		return nil
	}
	grid, width := t.cfg.grid(), t.cfg.EmbedDim
	trunk, err := t.read(&stored.VisionCfg)
	if err != nil || trunk.ImgSize == t.cfg.ImgSize {
		return nil // what does not fit is for Bind to report
	}
	from := trunk.grid()
	patches := from[0] * from[1]
	prefix := t.PosEmbed.Shape[1] - grid[0]*grid[1]
	if from == grid || patches == 0 {
		return nil
	}
	return replace(m, t.PosEmbed, []int{1, prefix + patches, width}, func(old []float32) []float32 {
		return append(old[:prefix*width:prefix*width], posembed.ResizeGrid(old[prefix*width:], width, from, grid)...)
	})
}
