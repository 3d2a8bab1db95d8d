package towers

import (
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// modernText is open_clip's ModernTextTransformer.
var modernText = Family{
	Name: "modern text", Part: Text, Recording: "moderntext_vit_b32",
	Matches:    func(c *config.Config) bool { return c.TextCfg.TextArch == "modern" },
	Check:      checkModernText,
	Text:       func(c *config.Config) TextTower { return newModernText(c) },
	Keys:       []string{"context_length", "vocab_size", "width", "heads", "layers"},
	CustomText: true,
	Models:     []string{}, // text_arch asks for it, no name
	NoDecay:    []string{"reg_tokens", "pool.query"},
	Groups: [][]string{
		{"token_embedding", "reg_tokens", "norm_pre"},
		{"blocks.*", "ln_final"},
		{"pool", "text_projection"},
	},
}

func checkModernText(c *config.Config) error {
	t := &c.TextCfg
	err := check.First(
		check.InRange("text_cfg.width", t.Width, 1, check.MaxWidth),
		check.InRange("text_cfg.layers", t.Layers, 1, check.MaxLayers),
		check.InRange("text_cfg.heads", t.Heads, 1, t.Width),
		check.Ratio("text_cfg.mlp_ratio", t.MLPRatio, t.Width),
		check.InRange("text_cfg.vocab_size", t.VocabSize, 1, check.MaxVocab),
		check.InRange("text_cfg.pad_id", t.PadID, 0, t.VocabSize-1),
		check.InRange("text_cfg.reg_tokens", t.RegTokens, math.MinInt32, check.MaxSide),
		check.Divisible("text_cfg.width", t.Width, "text_cfg.heads", t.Heads),
		check.OneOf("text_cfg.pool_type", t.PoolType, "argmax", "eos", "mean", "map"),
		check.OneOf("text_cfg.attention_mode", t.AttentionMode, "causal", "bidirectional"),
		check.OneOf("text_cfg.pos_embed", t.PosEmbed, "rope", "none", ""),
		check.OneOf("text_cfg.mlp_type", t.MLPType, "swiglu", "mlp", "relu2"),
		check.OneOf("text_cfg.norm_placement", t.NormPlacement, "pre", "sandwich"),
	)
	if t.NormType != nil {
		err = check.First(err, check.OneOf("text_cfg.norm_type", *t.NormType, "rmsnorm", "layernorm"))
	}
	switch {
	case err != nil:
		return err
	case t.PoolType == "argmax" && t.EosID == nil:
		return fmt.Errorf("%w: text_cfg.pool_type argmax, which is eos with text_arch modern, wants text_cfg.eos_id", config.ErrConfig)
	case t.PosEmbed == "rope" && t.Width/t.Heads%2 != 0:
		return fmt.Errorf("%w: text_cfg.pos_embed rope wants an even width of heads, have %d / %d", config.ErrConfig, t.Width, t.Heads)
	case !(t.NormEps >= 0 && t.NormEps < math.Inf(1)):
		return fmt.Errorf("%w: text_cfg.norm_eps is %v, want 0 or more", config.ErrConfig, t.NormEps)
	case t.PosEmbed == "rope" && !(t.RopeTemperature > 0 && t.RopeTemperature < math.Inf(1)):
		return fmt.Errorf("%w: text_cfg.rope_temperature is %v, want more than 0", config.ErrConfig, t.RopeTemperature)
	case t.ProjType == "none" && t.Width != c.EmbedDim:
		return fmt.Errorf("%w: text_cfg.proj_type none wants text_cfg.width (%d) equal to embed_dim (%d)", config.ErrConfig, t.Width, c.EmbedDim)
	}
	return nil
}

// modernTextTransformer takes texts of any length: rotary positions, masks and poolers
// by what is padding (ModernTextTransformer in open_clip's transformer.py).
type modernTextTransformer struct {
	RegTokens      *graph.Param              `w:"reg_tokens"` // [1, registers, width], before the text
	TokenEmbedding *layers.Embedding         `w:"token_embedding"`
	NormPre        *layers.LayerNorm         `w:"norm_pre"`
	Blocks         []*layers.ModernTextBlock `w:"blocks"`
	LnFinal        *layers.LayerNorm         `w:"ln_final"`
	Pool           *layers.ModernTextPool    `w:"pool"` // with pool_type map
	TextProjection *layers.Linear            `w:"text_projection"`

	cfg config.TextConfig
}

func newModernText(c *config.Config) *modernTextTransformer {
	t := c.TextCfg
	block := modernTextBlock(&t)
	x := &modernTextTransformer{
		TokenEmbedding: layers.NewPaddedEmbedding(t.VocabSize, t.Width, 0.02, t.PadID),
		LnFinal:        block.Norm(t.Width), cfg: t,
	}
	if t.RegTokens > 0 {
		x.RegTokens = layers.NewParam(layers.Normal(1e-6), 1, t.RegTokens, t.Width)
	}
	if t.PreNorm {
		x.NormPre = block.Norm(t.Width)
	}
	for i := range t.Layers {
		x.Blocks = append(x.Blocks, layers.NewModernTextBlock(block, i == 0))
	}
	if t.PoolType == "map" {
		x.Pool = layers.NewModernTextPool(block)
	}
	if t.ProjType != "none" {
		x.TextProjection = layers.NewBertLinear(t.Width, c.EmbedDim, 1/math.Sqrt(float64(t.Width)))
		if !t.ProjBias {
			x.TextProjection.Bias = nil
		}
	}
	return x
}

// modernTextBlock gives the blocks' configuration.
func modernTextBlock(t *config.TextConfig) *layers.ModernTextConfig {
	b := &layers.ModernTextConfig{
		Width: t.Width, Heads: t.Heads, MLPWidth: int(float64(t.Width) * t.MLPRatio), MLPType: t.MLPType,
		Eps: t.NormEps, LayerNorm: config.Value(t.NormType) == "layernorm", LSInit: t.LSInitValue,
		QKNorm: t.QKNorm, Gated: t.AttnGated, Sandwich: t.NormPlacement == "sandwich", ValueResidual: t.ValueResidual,
		AttnBias: config.Value(t.AttentionBias), MLPBias: config.Value(t.MLPBias),
	}
	b.GateBias = b.AttnBias
	if t.GateBias != nil {
		b.GateBias = *t.GateBias
	}
	width := float64(t.Width)
	b.AttnStd, b.FCStd = math.Pow(width, -0.5), math.Pow(2*width, -0.5)
	b.OutStd = b.AttnStd * math.Pow(2*float64(t.Layers), -0.5)
	switch {
	case b.Sandwich:
		b.AttnStd, b.FCStd, b.OutStd = 0.02, 0.02, 0.02
	case t.MLPType == "swiglu":
		b.FCStd *= 1.22
	}
	if t.ZeroInitResidual {
		b.OutStd = 0
	}
	return b
}

// modernInputs are the graph inputs of the tower.
type modernInputs struct {
	text   graph.Tensor // i32 [batch, length]
	angles graph.Tensor // f32 [tokens, width of a head], those of ops.Rotary; with pos_embed rope
	mask   graph.Tensor // f32 [batch, 1, tokens]: the least number where there is padding; with attention_mode bidirectional
	hidden graph.Tensor // f32 [batch, 1, length]: that of the text's tokens; with pool_type map
	shares graph.Tensor // f32 [batch, 1, length]: of each token in the mean; with pool_type mean
	pool   graph.Tensor // i32 [batch]: the row of [batch·length, width] that stands for each text; with pool_type eos
}

func (t *modernTextTransformer) registers() int { return max(0, t.cfg.RegTokens) }

// declare declares the inputs of the tower, whose values feed supplies at every run.
func (t *modernTextTransformer) declare(g *graph.Graph, batch, length int) modernInputs {
	tokens := t.registers() + length
	in := modernInputs{text: g.Input("text", graph.Shape{batch, length}, graph.I32)}
	if t.cfg.PosEmbed == "rope" {
		in.angles = g.Input("angles", graph.Shape{tokens, t.cfg.Width / t.cfg.Heads}, graph.F32)
	}
	if t.cfg.AttentionMode == "bidirectional" {
		in.mask = g.Input("mask", graph.Shape{batch, 1, tokens}, graph.F32)
	}
	switch t.cfg.PoolType {
	case "map":
		in.hidden = g.Input("hidden", graph.Shape{batch, 1, length}, graph.F32)
	case "mean":
		in.shares = g.Input("shares", graph.Shape{batch, 1, length}, graph.F32)
	default:
		in.pool = g.Input("pool", graph.Shape{batch}, graph.I32)
	}
	return in
}

// feed gives the values of the inputs for rows of equal length.
func (t *modernTextTransformer) feed(rows [][]int32) map[string]any {
	length := len(rows[0])
	var mask, hidden, shares []float32
	var pool []int32
	for i, row := range rows {
		valid, tokens := t.valid(row)
		mask = append(mask, make([]float32, t.registers())...)
		for _, ok := range valid {
			hides, share := float32(-math.MaxFloat32), float32(0)
			if ok {
				hides, share = 0, 1/float32(tokens)
			}
			mask, hidden, shares = append(mask, hides), append(hidden, hides), append(shares, share)
		}
		at := tokens - 1
		if t.cfg.EosID != nil {
			if eos := slices.Index(row, int32(*t.cfg.EosID)); eos >= 0 {
				at = eos
			}
		}
		pool = append(pool, int32(i*length+at))
	}
	feed := map[string]any{"text": slices.Concat(rows...)}
	if t.cfg.PosEmbed == "rope" {
		feed["angles"] = ropeAngles(t.registers()+length, t.cfg.Width/t.cfg.Heads, t.cfg.RopeTemperature)
	}
	if t.cfg.AttentionMode == "bidirectional" {
		feed["mask"] = mask
	}
	switch t.cfg.PoolType {
	case "map":
		feed["hidden"] = hidden
	case "mean":
		feed["shares"] = shares
	default:
		feed["pool"] = pool
	}
	return feed
}

// valid tells which tokens of a row are no padding, and counts them. The first counts
// where there are no others.
func (t *modernTextTransformer) valid(row []int32) (valid []bool, count int) {
	valid = make([]bool, len(row))
	for i, id := range row {
		if valid[i] = int(id) != t.cfg.PadID; valid[i] {
			count++
		}
	}
	if count == 0 {
		valid[0], count = true, 1
	}
	return valid, count
}

// Depth implements Tower.
func (t *modernTextTransformer) Depth() int { return len(t.Blocks) }

// BlockOptions implements Tower.
func (t *modernTextTransformer) BlockOptions(o BlockOptions) (BlockOptions, error) { return o, nil }

// Record implements Tower.
func (t *modernTextTransformer) Record(g *graph.Graph, batch, length, depth int) Recorded {
	in := t.declare(g, batch, length)
	all := t.blocks(g, in, depth)
	split := func(x graph.Tensor) Block {
		if t.RegTokens == nil {
			return Block{Tokens: x}
		}
		parts := ops.Split(g, x, 1, t.registers(), length)
		return Block{Tokens: parts[1], Special: parts[0]}
	}
	return Recorded{
		Outputs: func() Outputs {
			x := g.Module("ln_final", func() graph.Tensor { return t.LnFinal.Forward(g, all[len(all)-1]) })
			tokens := split(x).Tokens
			x = g.Module("pool", func() graph.Tensor { return t.pool(g, in, tokens) })
			if t.TextProjection != nil {
				x = t.TextProjection.Forward(g, x)
			}
			outs := Outputs{Features: x}
			if t.cfg.OutputTokens {
				outs["tokens"] = tokens
			}
			return outs
		},
		Block: func(i int, normalize bool) Block {
			x := all[i]
			if normalize {
				x = t.LnFinal.Forward(g, x)
			}
			return split(x)
		},
	}
}

// blocks runs the tower up to the output of its first depth blocks.
func (t *modernTextTransformer) blocks(g *graph.Graph, in modernInputs, depth int) []graph.Tensor {
	x := t.TokenEmbedding.Forward(g, in.text)
	if t.RegTokens != nil {
		registers := ops.Expand(g, g.Reshape(g.Param(t.RegTokens), t.registers(), t.cfg.Width), x.Dim(0))
		x = ops.Concat(g, 1, registers, x)
	}
	x = t.NormPre.Forward(g, x)
	mask := layers.Mask{Causal: t.cfg.AttentionMode == "causal", Additive: in.mask}
	var values graph.Tensor
	outs := make([]graph.Tensor, depth)
	for i := range outs {
		x = g.Block(fmt.Sprintf("blocks.%d", i), func() graph.Tensor { return t.Blocks[i].Forward(g, x, in.angles, mask, &values) })
		outs[i] = x
	}
	return outs
}

// pool makes [batch, width] of the tokens [batch, length, width].
func (t *modernTextTransformer) pool(g *graph.Graph, in modernInputs, x graph.Tensor) graph.Tensor {
	batch, length, width := x.Dim(0), x.Dim(1), x.Dim(2)
	switch t.cfg.PoolType {
	case "map":
		return t.Pool.Forward(g, x, layers.Mask{Additive: in.hidden})
	case "mean":
		return g.Reshape(ops.MatMul(g, in.shares, x, false, false), batch, width)
	}
	return ops.Gather(g, g.Reshape(x, batch*length, width), in.pool)
}

// Texts implements TextTower. Rows may have any length.
func (t *modernTextTransformer) Texts(rows [][]int32, _ bool) (Batch, error) {
	if err := checkRows(rows, check.MaxSide, t.cfg.VocabSize, false); err != nil || len(rows) == 0 {
		return Batch{Length: t.cfg.ContextLength}, err
	}
	return Batch{
		Items: len(rows), Length: len(rows[0]),
		Feed: func(lo, hi int) map[string]any { return t.feed(rows[lo:hi]) },
	}, nil
}

// Adapt implements Tower: there is no table of positions to resize.
func (t *modernTextTransformer) Adapt(weights.Map, *config.Config) error { return nil }
