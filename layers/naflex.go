package layers

import (
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// NaFlexBlock is a block of timm's NaFlexVit (naflexvit.py): Block of
// vision_transformer.py or, with a gated MLP, EvaBlock of eva.py.
type NaFlexBlock struct {
	Gamma1 *graph.Param  `w:"gamma_1"` // [width], layer scale of a gated block
	Gamma2 *graph.Param  `w:"gamma_2"`
	Norm1  *LayerNorm    `w:"norm1"`
	Attn   *EvaAttention `w:"attn"`
	LS1    *LayerScale   `w:"ls1"` // that of others
	Norm2  *LayerNorm    `w:"norm2"`
	MLP    Feed          `w:"mlp"`
	LS2    *LayerScale   `w:"ls2"`

	dropPath float64
}

// NewNaFlexBlock returns one block, whose MLP is a SwiGLU with gated.
func NewNaFlexBlock(c TimmConfig, gated bool) *NaFlexBlock {
	eva := EvaConfig{TimmConfig: c, QKVFused: true, SwiGLU: gated}
	b := &NaFlexBlock{
		Norm1: NewLayerNorm(c.Width, c.Eps), Norm2: NewLayerNorm(c.Width, c.Eps),
		Attn: newEvaAttention(eva), MLP: eva.newFeed(), dropPath: c.DropPath,
	}
	if !gated {
		b.Attn.QKV, b.Attn.QBias, b.Attn.VBias = NewTimmLinear(c.Width, 3*c.Width, c.QKVBias), nil, nil
		b.LS1, b.LS2 = NewLayerScale(c.Width, c.LSInit), NewLayerScale(c.Width, c.LSInit)
		return b
	}
	// timm starts the second half of GluMlp as if that were the gate.
	n, fc1 := c.MLPWidth*c.Width, b.MLP.(*swiGLU).FC1
	fc1.Weight = newFusedWeight(timmInit.withScale(n, 2*n, 1e-6), 2, c.MLPWidth, c.Width)
	fc1.Bias.Source = Constant(0).withScale(c.MLPWidth, 2*c.MLPWidth, 1)
	if c.LSInit != nil {
		b.Gamma1, b.Gamma2 = NewParam(Constant(*c.LSInit), c.Width), NewParam(Constant(*c.LSInit), c.Width)
	}
	return b
}

// Forward keeps x's shape [batch, tokens, width]. mask [batch, 1, tokens] hides padding.
func (b *NaFlexBlock) Forward(g *graph.Graph, x, mask graph.Tensor) graph.Tensor {
	h := g.Module("norm1", func() graph.Tensor { return b.Norm1.Forward(g, x) })
	h = g.Module("attn", func() graph.Tensor { return b.Attn.Forward(g, h, graph.Tensor{}, mask) })
	x = g.Add(x, ops.DropPath(g, b.LS1.Forward(g, scaled(g, h, b.Gamma1)), b.dropPath))
	h = g.Module("norm2", func() graph.Tensor { return b.Norm2.Forward(g, x) })
	h = g.Module("mlp", func() graph.Tensor { return b.MLP.Forward(g, h) })
	return g.Add(x, ops.DropPath(g, b.LS2.Forward(g, scaled(g, h, b.Gamma2)), b.dropPath))
}

// scaled is x times gamma, where there is one.
func scaled(g *graph.Graph, x graph.Tensor, gamma *graph.Param) graph.Tensor {
	if gamma == nil {
		return x
	}
	return ops.MulBroadcast(g, x, g.Param(gamma), 1)
}
