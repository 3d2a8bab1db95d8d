package towers

import (
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/clip/posembed"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// clipText is CLIP's own text tower.
var clipText = Family{
	Name: "CLIP text", Part: Text, Recording: "vit_openai_tiny",
	Matches: func(*config.Config) bool { return true },
	Check:   checkTextTransformer,
	Keys:    []string{"context_length", "vocab_size", "width", "heads", "layers"},
	Text:    func(c *config.Config) TextTower { return newTextTransformer(c) },
	Tokens:  func(c *config.Config) int { return c.TextCfg.Width },
	NoDecay: []string{"positional_embedding", "cls_emb"},
	Groups: [][]string{
		{"token_embedding", "positional_embedding", "cls_emb"},
		{"transformer.resblocks.*", "ln_final"},
		{"text_projection"},
	},
}

func checkTextTransformer(c *config.Config) error {
	t := &c.TextCfg
	err := check.First(
		check.InRange("text_cfg.width", t.Width, 1, check.MaxWidth),
		check.InRange("text_cfg.layers", t.Layers, 1, check.MaxLayers),
		check.InRange("text_cfg.heads", t.Heads, 1, t.Width),
		check.Ratio("text_cfg.mlp_ratio", t.MLPRatio, t.Width),
		check.InRange("text_cfg.context_length", t.ContextLength, 1, check.MaxSide),
		check.InRange("text_cfg.vocab_size", t.VocabSize, 1, check.MaxVocab),
		check.Divisible("text_cfg.width", t.Width, "text_cfg.heads", t.Heads),
		check.OneOf("text_cfg.pool_type", t.PoolType, "argmax", "first", "last", "eos", "none"),
		checkBlock("text_cfg", t.BlockConfig, t.ActKwargs, t.NormKwargs, c.QuickGELU),
	)
	switch {
	case err != nil:
		return err
	case t.EmbedCls && !c.CustomText:
		return fmt.Errorf("%w: text_cfg.embed_cls wants custom_text", config.ErrConfig)
	case t.ProjType == "none" && t.Width != c.EmbedDim:
		return fmt.Errorf("%w: text_cfg.proj_type none wants text_cfg.width (%d) equal to embed_dim (%d)", config.ErrConfig, t.Width, c.EmbedDim)
	}
	return nil
}

// textTransformer is open_clip's native text tower (textTransformer in
// transformer.py; Radford et al., 2021).
type textTransformer struct {
	ClsEmb              *graph.Param        `w:"cls_emb"`              // [width]; with embed_cls
	PositionalEmbedding *graph.Param        `w:"positional_embedding"` // [context_length (+ 1 with embed_cls), width]
	TextProjection      *layers.Weight      `w:"text_projection"`      // [width, embed_dim]; nil with proj_bias or proj_type none
	TokenEmbedding      *layers.Embedding   `w:"token_embedding"`
	Transformer         *layers.Transformer `w:"transformer"`
	LnFinal             *layers.LayerNorm   `w:"ln_final"`
	TextProjectionBias  *layers.Linear      `w:"text_projection"` // with proj_bias

	ContextLength int
	VocabSize     int

	cfg config.TextConfig
}

func newTextTransformer(c *config.Config) *textTransformer {
	t := c.TextCfg
	width := float64(t.Width)
	x := &textTransformer{
		PositionalEmbedding: layers.NewParam(layers.Normal(0.01), t.ContextLength, t.Width),
		TokenEmbedding:      layers.NewEmbedding(layers.Normal(0.02), t.VocabSize, t.Width),
		Transformer: layers.NewTransformer(transformer(t.BlockConfig, t.Width, t.Layers, t.Heads,
			t.MLPRatio, t.LSInitValue, c.QuickGELU, t.ActKwargs, t.NormKwargs)),
		LnFinal:       layers.NewLayerNorm(t.Width, normEps(t.NormKwargs)),
		ContextLength: t.ContextLength,
		VocabSize:     t.VocabSize,
		cfg:           t,
	}
	attn, fc := math.Pow(width, -0.5), math.Pow(2*width, -0.5)
	proj := attn * math.Pow(2*float64(t.Layers), -0.5)
	for _, b := range x.Transformer.Resblocks {
		b.Attn.InProjWeight.Source = layers.Normal(attn)
		b.Attn.OutProj.Weight.Source = layers.Normal(proj)
		b.MLP.CFc.Weight.Source = layers.Normal(fc)
		b.MLP.CProj.Weight.Source = layers.Normal(proj)
	}
	if t.EmbedCls {
		x.ClsEmb = layers.NewParam(layers.Normal(0.01), t.Width)
		x.PositionalEmbedding.Shape[0]++
	}
	switch {
	case t.ProjType == "none":
	case t.ProjBias:
		x.TextProjectionBias = layers.NewLinear(t.Width, c.EmbedDim, true)
		x.TextProjectionBias.Weight.Source = layers.Normal(attn)
		x.TextProjectionBias.Bias.Source = layers.Constant(0)
	default:
		x.TextProjection = layers.NewProjection(layers.Normal(attn), t.Width, c.EmbedDim)
	}
	return x
}

// inputs are the graph inputs of the tower.
type inputs struct {
	tokens graph.Tensor // i32 [batch, length]
	pool   graph.Tensor // i32 [batch]: the row of [batch·tokens, width] that stands for each text
	mask   graph.Tensor // f32 [batch, tokens, tokens]; with embed_cls
}

// pools reports whether the tower takes one token for each text.
func (t *textTransformer) pools() bool { return t.ClsEmb != nil || t.cfg.PoolType != "none" }

// declare declares the inputs of the tower, whose values feed supplies at every run.
func (t *textTransformer) declare(g *graph.Graph, batch, length int) inputs {
	in := inputs{tokens: g.Input("text", graph.Shape{batch, length}, graph.I32)}
	if t.pools() {
		in.pool = g.Input("pool", graph.Shape{batch}, graph.I32)
	}
	if t.ClsEmb != nil {
		in.mask = g.Input("mask", graph.Shape{batch, length + 1, length + 1}, graph.F32)
	}
	return in
}

// feed gives the values of the inputs for rows of equal length.
func (t *textTransformer) feed(rows [][]int32) map[string]any {
	feed := map[string]any{"text": slices.Concat(rows...)}
	tokens := len(rows[0])
	if t.ClsEmb != nil {
		tokens++
		feed["mask"] = t.clsMask(rows)
	}
	if t.pools() {
		pool := make([]int32, len(rows))
		for i, row := range rows {
			pool[i] = int32(i*tokens + t.position(row))
		}
		feed["pool"] = pool
	}
	return feed
}

// position is text_global_pool's choice of token.
func (t *textTransformer) position(row []int32) int {
	switch {
	case t.ClsEmb != nil:
		return len(row)
	case t.cfg.PoolType == "first":
		return 0
	case t.cfg.PoolType == "last":
		return len(row) - 1
	case t.cfg.PoolType == "eos":
		return max(0, slices.Index(row, int32(*t.cfg.EosID)))
	}
	return slices.Index(row, slices.Max(row))
}

// clsMask is what embed_cls adds to the attention logits: -Inf where the key is
// padding. The flag of the class token stands at the front though the token is
// appended, as in upstream's existing CoCa weights.
func (t *textTransformer) clsMask(rows [][]int32) []float32 {
	keys := len(rows[0]) + 1
	mask := make([]float32, len(rows)*keys*keys)
	for i, row := range rows {
		for q := range keys {
			line := mask[(i*keys+q)*keys:][:keys]
			for k, id := range row {
				if id == int32(t.cfg.PadID) {
					line[k+1] = float32(math.Inf(-1))
				}
			}
		}
	}
	return mask
}

// blocks runs the tower up to the output of its first depth blocks.
func (t *textTransformer) blocks(g *graph.Graph, in inputs, depth int) []graph.Tensor {
	x := t.TokenEmbedding.Forward(g, in.tokens)
	if t.ClsEmb != nil {
		cls := ops.Expand(g, g.Reshape(g.Param(t.ClsEmb), 1, t.cfg.Width), x.Dim(0))
		x = ops.Concat(g, 1, x, cls)
	}
	pos := g.Param(t.PositionalEmbedding)
	if n := x.Dim(1); n < pos.Dim(0) {
		pos = ops.Split(g, pos, 0, n, pos.Dim(0)-n)[0]
	}
	x = ops.AddBroadcast(g, x, pos, 1)
	defer g.Scope("transformer")()
	return t.Transformer.Forward(g, x, layers.Mask{Causal: !t.cfg.NoCausalMask, Additive: in.mask}, depth)
}

// step implements reader.
func (t *textTransformer) step(g *graph.Graph, ids, positions graph.Tensor, caches []layers.KVCache, s layers.Slots) graph.Tensor {
	x := t.TokenEmbedding.Forward(g, ids)
	pos := g.Param(t.PositionalEmbedding) // of which embed takes a part: it is no layers.Weight
	x = g.Add(x, g.Reshape(ops.Gather(g, pos, positions), x.Shape()...))
	for i, b := range t.Transformer.Resblocks {
		x = b.Step(g, x, caches[i], s)
	}
	if t.ClsEmb != nil {
		return x
	}
	return t.lnFinal(g, x)
}

// hides implements reader: clsMask shifts padding by one.
func (t *textTransformer) hides(id int32) bool { return t.ClsEmb != nil && id == int32(t.cfg.PadID) }

func (t *textTransformer) lnFinal(g *graph.Graph, x graph.Tensor) graph.Tensor {
	return g.Module("ln_final", func() graph.Tensor { return t.LnFinal.Forward(g, x) })
}

// Depth implements Tower.
func (t *textTransformer) Depth() int { return len(t.Transformer.Resblocks) }

// Record implements Tower.
func (t *textTransformer) Record(g *graph.Graph, batch, length, depth int) Recorded {
	in := t.declare(g, batch, length)
	all := t.blocks(g, in, depth)
	return Recorded{
		Outputs: func() Outputs {
			pooled, tokens := t.pool(g, in, all[len(all)-1])
			outs := Outputs{Features: t.project(g, pooled)}
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
			if t.ClsEmb == nil {
				return Block{Tokens: x}
			}
			s := ops.Split(g, x, 1, length, 1)
			return Block{Tokens: s[0], Special: s[1]}
		},
	}
}

// pool returns what stands for each text, [batch, width] or [batch, tokens, width], and
// the tokens [batch, tokens, width]. Of embed_cls the class token is pooled before the
// norm, and the others get none (TextTransformer.forward in open_clip's transformer.py).
func (t *textTransformer) pool(g *graph.Graph, in inputs, x graph.Tensor) (pooled, tokens graph.Tensor) {
	if t.ClsEmb != nil {
		return t.lnFinal(g, t.pick(g, x, in.pool)), ops.Split(g, x, 1, x.Dim(1)-1, 1)[0]
	}
	x = t.lnFinal(g, x)
	if in.pool.Valid() {
		return t.pick(g, x, in.pool), x
	}
	return x, x
}

func (t *textTransformer) project(g *graph.Graph, x graph.Tensor) graph.Tensor {
	switch {
	case t.TextProjectionBias != nil:
		return t.TextProjectionBias.Forward(g, x)
	case t.TextProjection != nil:
		return t.TextProjection.Forward(g, x, nil)
	}
	return x
}

func (t *textTransformer) pick(g *graph.Graph, x, rows graph.Tensor) graph.Tensor {
	return ops.Gather(g, g.Reshape(x, x.Dim(0)*x.Dim(1), x.Dim(2)), rows)
}

// BlockOptions implements Tower.
func (t *textTransformer) BlockOptions(o BlockOptions) (BlockOptions, error) { return o, nil }

// Texts implements TextTower: ids are within the vocabulary.
func (t *textTransformer) Texts(rows [][]int32, full bool) (Batch, error) {
	if err := checkRows(rows, t.ContextLength, t.VocabSize, full); err != nil || len(rows) == 0 {
		return Batch{Length: t.ContextLength}, err
	}
	return Batch{
		Items: len(rows), Length: len(rows[0]),
		Feed: func(lo, hi int) map[string]any { return t.feed(rows[lo:hi]) },
	}, nil
}

// Adapt resizes the position embedding.
func (t *textTransformer) Adapt(m weights.Map, _ *config.Config) error {
	return resize(m, t.PositionalEmbedding.Name, func(old []float32, width int) []float32 {
		return posembed.ResizeText(old, width, t.PositionalEmbedding.Shape[0])
	}, t.PositionalEmbedding.Shape)
}

// checkRows wants ids within the vocabulary, and rows of one length: that of the
// context with full, at most that without.
func checkRows(rows [][]int32, context, vocab int, full bool) error {
	for i, row := range rows {
		if n := len(row); n == 0 || n > context || full && n != context {
			want := fmt.Sprintf("1 to %d", context)
			if full {
				want = fmt.Sprint(context)
			}
			return fmt.Errorf("%w: text %d has %d tokens, want %s", check.ErrInput, i, n, want)
		}
		if len(row) != len(rows[0]) {
			return fmt.Errorf("%w: text %d has %d tokens and text 0 has %d", check.ErrInput, i, len(row), len(rows[0]))
		}
		for j, id := range row {
			if id < 0 || int(id) >= vocab {
				return fmt.Errorf("%w: text %d, position %d: token id %d is outside the vocabulary of %d", check.ErrInput, i, j, id, vocab)
			}
		}
	}
	return nil
}
