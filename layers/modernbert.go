package layers

import (
	"math"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// ModernBertConfig describes the blocks of transformers' ModernBERT
// (modeling_modernbert.py; Warner et al., 2024).
type ModernBertConfig struct {
	Width, Heads, MLPWidth, Layers int
	Activation                     ops.Function
	Eps                            float64 // of every norm
	NormBias, AttnBias, MLPBias    bool
	InitStd, InitCut               float64 // of the weights, which are cut off at so many deviations
	AttnDrop, MLPDrop              float64 // rates of dropout
}

// Norm returns a norm over the width.
func (c *ModernBertConfig) Norm() *LayerNorm {
	n := NewLayerNorm(c.Width, c.Eps)
	if !c.NormBias {
		n.Bias = nil
	}
	return n
}

// Embedding returns the table [rows, width] whose row padding starts as zeros and is not
// trained.
func (c *ModernBertConfig) Embedding(rows, padding int) *Embedding {
	e := NewPaddedEmbedding(rows, c.Width, 0, padding)
	e.Weight.Source = cutNormal(c.InitStd, c.InitCut).withZeros(padding*c.Width, (padding+1)*c.Width)
	return e
}

// linear returns parts linear maps in one, of which the last of a half (out) starts
// smaller in deeper models.
func (c *ModernBertConfig) linear(in, parts, width int, bias, out bool) *Linear {
	std := c.InitStd
	if out {
		std /= math.Sqrt(2 * float64(c.Layers))
	}
	l := &Linear{Weight: newFusedWeight(cutNormal(std, c.InitCut), parts, width, in)}
	if bias {
		l.Bias = NewParam(Constant(0), parts*width)
	}
	return l
}

// ModernBertLayer is a pre-norm transformer block under ModernBERT's names.
type ModernBertLayer struct {
	AttnNorm *LayerNorm `w:"attn_norm"` // not in the first
	Wqkv     *Linear    `w:"attn.Wqkv"`
	AttnOut  *Linear    `w:"attn.Wo"`
	MLPNorm  *LayerNorm `w:"mlp_norm"`
	Wi       *Linear    `w:"mlp.Wi"` // what is activated, and its gate
	MLPOut   *Linear    `w:"mlp.Wo"`

	config *ModernBertConfig
}

// NewModernBertLayer returns one block.
func NewModernBertLayer(c *ModernBertConfig, first bool) *ModernBertLayer {
	l := &ModernBertLayer{
		AttnNorm: c.Norm(),
		Wqkv:     c.linear(c.Width, 3, c.Width, c.AttnBias, false),
		AttnOut:  c.linear(c.Width, 1, c.Width, c.AttnBias, true),
		MLPNorm:  c.Norm(),
		Wi:       c.linear(c.Width, 2, c.MLPWidth, c.MLPBias, false),
		MLPOut:   c.linear(c.MLPWidth, 1, c.Width, c.MLPBias, true),
		config:   c,
	}
	if first {
		l.AttnNorm = nil
	}
	return l
}

// Forward keeps x's shape [batch, tokens, width]. angles are those of ops.RotaryHalves.
func (l *ModernBertLayer) Forward(g *graph.Graph, x, angles graph.Tensor, mask Mask) graph.Tensor {
	h := g.Module("attn_norm", func() graph.Tensor { return l.AttnNorm.Forward(g, x) })
	h = g.Module("attn", func() graph.Tensor { return l.attend(g, h, angles, mask) })
	x = g.Add(x, h)
	h = g.Module("mlp_norm", func() graph.Tensor { return l.MLPNorm.Forward(g, x) })
	h = g.Module("mlp", func() graph.Tensor {
		h, gate := l.Wi.halves(g, h)
		h = ops.Mul(g, ops.Map(g, h, l.config.Activation), gate)
		return l.MLPOut.Forward(g, ops.Dropout(g, h, l.config.MLPDrop))
	})
	return g.Add(x, h)
}

func (l *ModernBertLayer) attend(g *graph.Graph, x, angles graph.Tensor, mask Mask) graph.Tensor {
	c := l.config
	config := attentionOf(c.Width, c.Heads)
	config.Dropout = c.AttnDrop
	qkv := ops.RotaryHalves(g, l.Wqkv.Forward(g, x), angles, 2*c.Width)
	y := mask.attend(g, qkv, graph.Tensor{}, graph.Tensor{}, config)
	return ops.Dropout(g, l.AttnOut.Forward(g, y), c.AttnDrop)
}

// halves are the two halves of what l gives, which are made one by one.
func (l *Linear) halves(g *graph.Graph, x graph.Tensor) (first, second graph.Tensor) {
	width := l.Weight.Shape[0] / 2
	return l.Weight.Rows(g, x, l.Bias, 0, width), l.Weight.Rows(g, x, l.Bias, width, width)
}
