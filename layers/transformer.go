package layers

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// TransformerConfig describes a stack of residual attention blocks (Transformer
// in open_clip's transformer.py).
type TransformerConfig struct {
	Width, Layers, Heads int
	MLPWidth             int
	Activation           ops.Function
	Eps                  float64  // of every norm
	LSInit               *float64 // LayerScale's initial value; nil for none

	QKNorm           bool // layer norm of queries and keys over the head width
	ScaledCosineAttn bool
	ScaleHeads       bool
	ScaleAttnInner   bool // layer norm before the output projection
	ScaleAttn        bool // layer norm after the attention
	ScaleFC          bool // layer norm after the MLP's activation

	CrossAttention bool // blocks attend to a context of their width
}

// Transformer is a stack of blocks.
type Transformer struct {
	Resblocks []*ResidualAttentionBlock `w:"resblocks"`
}

// NewTransformer returns a stack with torch's default initialisation.
func NewTransformer(c TransformerConfig) *Transformer {
	t := &Transformer{}
	for range c.Layers {
		t.Resblocks = append(t.Resblocks, NewResidualAttentionBlock(c))
	}
	return t
}

// Forward runs the first depth blocks on x [batch, tokens, width] and returns
// the output of each.
func (t *Transformer) Forward(g *graph.Graph, x graph.Tensor, mask Mask, depth int) []graph.Tensor {
	g.Tap(x, "input")
	outs := make([]graph.Tensor, depth)
	for i := range outs {
		x = g.Block(fmt.Sprintf("resblocks.%d", i), func() graph.Tensor { return t.Resblocks[i].Forward(g, x, mask) })
		outs[i] = x
	}
	return outs
}

// ResidualAttentionBlock is a pre-norm transformer block, open_clip's default
// one and, with its options, the custom one.
type ResidualAttentionBlock struct {
	Ln1    *LayerNorm  `w:"ln_1"`
	Attn   *Attention  `w:"attn"`
	LnAttn *LayerNorm  `w:"ln_attn"`
	LS1    *LayerScale `w:"ls_1"`
	Ln1KV  *LayerNorm  `w:"ln_1_kv"` // of the context; with cross attention
	Ln2    *LayerNorm  `w:"ln_2"`
	MLP    *MLP        `w:"mlp"`
	LS2    *LayerScale `w:"ls_2"`
}

// NewResidualAttentionBlock returns one block.
func NewResidualAttentionBlock(c TransformerConfig) *ResidualAttentionBlock {
	norm := func(have bool, width int) *LayerNorm {
		if !have {
			return nil
		}
		return NewLayerNorm(width, c.Eps)
	}
	attn := NewAttention(c.Width, c.Heads, c.Width)
	attn.LnQ = norm(c.QKNorm, c.Width/c.Heads)
	attn.LnK = norm(c.QKNorm, c.Width/c.Heads)
	attn.LnInner = norm(c.ScaleAttnInner, c.Width)
	if c.ScaledCosineAttn {
		attn.LogitScale = NewParam(Constant(ln10), c.Heads, 1, 1)
	}
	if c.ScaleHeads {
		attn.HeadScale = NewParam(Constant(1), c.Heads, 1, 1)
	}
	return &ResidualAttentionBlock{
		Ln1:    norm(true, c.Width),
		Attn:   attn,
		LnAttn: norm(c.ScaleAttn, c.Width),
		LS1:    NewLayerScale(c.Width, c.LSInit),
		Ln1KV:  norm(c.CrossAttention, c.Width),
		Ln2:    norm(true, c.Width),
		MLP: &MLP{
			CFc:        NewLinear(c.Width, c.MLPWidth, true),
			Ln:         norm(c.ScaleFC, c.MLPWidth),
			CProj:      NewLinear(c.MLPWidth, c.Width, true),
			Activation: c.Activation,
		},
		LS2: NewLayerScale(c.Width, c.LSInit),
	}
}

const ln10 = 2.302585092994046

// Forward keeps x's shape [batch, tokens, width].
func (b *ResidualAttentionBlock) Forward(g *graph.Graph, x graph.Tensor, mask Mask) graph.Tensor {
	return b.around(g, x, func(h graph.Tensor) graph.Tensor { return b.Attn.Forward(g, h, graph.Tensor{}, mask) })
}

// Cross attends from x to context [batch, keys, width].
func (b *ResidualAttentionBlock) Cross(g *graph.Graph, x, context graph.Tensor) graph.Tensor {
	context = g.Module("ln_1_kv", func() graph.Tensor { return b.Ln1KV.Forward(g, context) })
	return b.around(g, x, func(h graph.Tensor) graph.Tensor { return b.Attn.Forward(g, h, context, Mask{}) })
}

// around records the block with attn as its attention.
func (b *ResidualAttentionBlock) around(g *graph.Graph, x graph.Tensor, attn func(h graph.Tensor) graph.Tensor) graph.Tensor {
	h := g.Module("ln_1", func() graph.Tensor { return b.Ln1.Forward(g, x) })
	h = g.Module("attn", func() graph.Tensor { return attn(h) })
	x = g.Add(x, b.LS1.Forward(g, b.LnAttn.Forward(g, h)))
	h = g.Module("ln_2", func() graph.Tensor { return b.Ln2.Forward(g, x) })
	h = g.Module("mlp", func() graph.Tensor { return b.MLP.Forward(g, h) })
	return g.Add(x, b.LS2.Forward(g, h))
}

// MLP is the block's feed-forward part.
type MLP struct {
	CFc   *Linear    `w:"c_fc"`
	Ln    *LayerNorm `w:"ln"`
	CProj *Linear    `w:"c_proj"`

	Activation ops.Function
}

// Forward keeps x's shape.
func (m *MLP) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	h := g.Module("c_fc", func() graph.Tensor { return m.CFc.Forward(g, x) })
	h = g.Module("gelu", func() graph.Tensor { return ops.Map(g, h, m.Activation) })
	h = m.Ln.Forward(g, h)
	return g.Module("c_proj", func() graph.Tensor { return m.CProj.Forward(g, h) })
}
