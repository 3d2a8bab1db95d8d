package layers

import (
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// NaFlexBlock is a block of timm's NaFlexVit (naflexvit.py): Block of
// vision_transformer.py or, with a gated MLP, EvaBlock of eva.py.
type NaFlexBlock struct {
	Gamma1 *graph.Param     `w:"gamma_1"` // [width], layer scale of a gated block
	Gamma2 *graph.Param     `w:"gamma_2"`
	Norm1  *LayerNorm       `w:"norm1"`
	Attn   *NaFlexAttention `w:"attn"`
	LS1    *LayerScale      `w:"ls1"`
	Norm2  *LayerNorm       `w:"norm2"`
	MLP    *TimmMLP         `w:"mlp"`
	Gated  *naflexSwiGLU    `w:"mlp"` // in place of MLP
	LS2    *LayerScale      `w:"ls2"`

	dropPath float64
}

// NewNaFlexBlock returns one block, whose MLP is a SwiGLU with gated. The last linear maps
// of its parts start with standard deviation std.
func NewNaFlexBlock(c TimmConfig, gated bool, std float64) *NaFlexBlock {
	b := &NaFlexBlock{
		Norm1: NewLayerNorm(c.Width, c.Eps), Norm2: NewLayerNorm(c.Width, c.Eps),
		Attn:     newNaFlexAttention(c, gated),
		dropPath: c.DropPath,
	}
	b.Attn.Proj.Weight.Source = Normal(std)
	if gated {
		b.Gated = newNaFlexSwiGLU(c, std)
		if c.LSInit != nil {
			b.Gamma1, b.Gamma2 = NewParam(Constant(*c.LSInit), c.Width), NewParam(Constant(*c.LSInit), c.Width)
		}
		return b
	}
	b.LS1, b.LS2 = NewLayerScale(c.Width, c.LSInit), NewLayerScale(c.Width, c.LSInit)
	b.MLP = NewTimmMLP(c.Width, c.MLPWidth, c.Width, true, c.Activation)
	b.MLP.HiddenDrop, b.MLP.OutDrop = c.ProjDrop, c.ProjDrop
	b.MLP.FC2.Weight.Source = Normal(std)
	return b
}

// Forward keeps x's shape [batch, tokens, width]. mask [batch, 1, tokens] hides padding.
func (b *NaFlexBlock) Forward(g *graph.Graph, x, mask graph.Tensor) graph.Tensor {
	h := g.Module("norm1", func() graph.Tensor { return b.Norm1.Forward(g, x) })
	h = g.Module("attn", func() graph.Tensor { return b.Attn.Forward(g, h, mask) })
	x = g.Add(x, ops.DropPath(g, b.LS1.Forward(g, scaled(g, h, b.Gamma1)), b.dropPath))
	h = g.Module("norm2", func() graph.Tensor { return b.Norm2.Forward(g, x) })
	h = g.Module("mlp", func() graph.Tensor {
		if b.Gated != nil {
			return b.Gated.Forward(g, h)
		}
		return b.MLP.Forward(g, h)
	})
	return g.Add(x, ops.DropPath(g, b.LS2.Forward(g, scaled(g, h, b.Gamma2)), b.dropPath))
}

// scaled is x times gamma, where there is one.
func scaled(g *graph.Graph, x graph.Tensor, gamma *graph.Param) graph.Tensor {
	if gamma == nil {
		return x
	}
	return ops.MulBroadcast(g, x, g.Param(gamma), 1)
}

// NaFlexAttention is self-attention under a mask: Attention of timm's attention.py or, in a
// gated block, EvaAttention of eva.py, whose keys have no bias.
type NaFlexAttention struct {
	QBias *graph.Param `w:"q_bias"` // [width], of a gated block
	VBias *graph.Param `w:"v_bias"`
	QKV   *Linear      `w:"qkv"`
	Proj  *Linear      `w:"proj"`

	noKeyBias *graph.Param // zeros, in no state dict
	config    TimmConfig
}

func newNaFlexAttention(c TimmConfig, gated bool) *NaFlexAttention {
	a := &NaFlexAttention{QKV: NewTimmLinear(c.Width, 3*c.Width, c.QKVBias && !gated), Proj: NewTimmLinear(c.Width, c.Width, true), config: c}
	if gated && c.QKVBias {
		a.QBias, a.VBias, a.noKeyBias = NewParam(Constant(0), c.Width), NewParam(Constant(0), c.Width), NewParam(Constant(0), c.Width)
		a.noKeyBias.Name, a.noKeyBias.Frozen = "zeros in place of k_bias", true
	}
	return a
}

// Forward keeps x's shape [batch, tokens, width].
func (a *NaFlexAttention) Forward(g *graph.Graph, x, mask graph.Tensor) graph.Tensor {
	bias := optional(g, a.QKV.Bias)
	if a.QBias != nil {
		bias = ops.Concat(g, 0, g.Param(a.QBias), g.Param(a.noKeyBias), g.Param(a.VBias))
	}
	qkv := a.QKV.Weight.rows(g, x, bias, 0, a.QKV.Weight.Shape[0])
	config := attentionOf(x.Dim(2), a.config.Heads)
	config.Dropout = a.config.AttnDrop
	return ops.Dropout(g, a.Proj.Forward(g, ops.SelfAttention(g, qkv, mask, config)), a.config.ProjDrop)
}

// naflexSwiGLU is timm's GluMlp with the gate first (mlp.py; Shazeer, 2020).
type naflexSwiGLU struct {
	FC1 *Linear `w:"fc1"` // the gate, and what it is for
	FC2 *Linear `w:"fc2"`

	drop float64
}

func newNaFlexSwiGLU(c TimmConfig, std float64) *naflexSwiGLU {
	hidden := c.MLPWidth
	m := &naflexSwiGLU{FC2: NewTimmLinear(hidden, c.Width, true), drop: c.ProjDrop}
	m.FC2.Weight.Source = Normal(std)
	// timm starts the second half as if that were the gate.
	first := timmInit.withScale(hidden*c.Width, 2*hidden*c.Width, 1e-6)
	m.FC1 = &Linear{newFusedWeight(first, 2, hidden, c.Width), NewParam(Constant(0).withScale(hidden, 2*hidden, 1), 2*hidden)}
	return m
}

// Forward keeps x's shape.
func (m *naflexSwiGLU) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	gate, h := m.FC1.halves(g, x)
	h = ops.Dropout(g, ops.Mul(g, ops.Map(g, gate, ops.SiLU), h), m.drop)
	return ops.Dropout(g, m.FC2.Forward(g, h), m.drop)
}
