package layers

import (
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// EvaConfig describes the blocks of timm's Eva (EvaBlock and EvaBlockPostNorm in eva.py;
// Fang et al., EVA, 2023, and EVA-02, 2024).
type EvaConfig struct {
	TimmConfig
	QKVFused  bool // queries, keys and values come from one weight; their bias has no part for keys in any case
	SwiGLU    bool // the MLP is a gated one
	ScaleMLP  bool // the MLP has a norm before its last linear map, and with SwiGLU two weights in place of one
	InnerNorm bool // attention has a norm before its last linear map
}

// EvaBlock is a transformer block that normalises what enters its parts.
type EvaBlock struct {
	Norm1 *LayerNorm    `w:"norm1"`
	Attn  *EvaAttention `w:"attn"`
	Norm2 *LayerNorm    `w:"norm2"`
	MLP   Feed          `w:"mlp"`

	dropPath float64
}

// NewEvaBlock returns one block.
func NewEvaBlock(c EvaConfig) *EvaBlock {
	return &EvaBlock{NewLayerNorm(c.Width, c.Eps), newEvaAttention(c), NewLayerNorm(c.Width, c.Eps), c.newFeed(), c.DropPath}
}

// Forward keeps x's shape [batch, tokens, width]. angles are those of ops.Rotary, or absent.
func (b *EvaBlock) Forward(g *graph.Graph, x, angles graph.Tensor) graph.Tensor {
	h := g.Module("norm1", func() graph.Tensor { return b.Norm1.Forward(g, x) })
	h = g.Module("attn", func() graph.Tensor { return b.Attn.Forward(g, h, angles, graph.Tensor{}) })
	x = g.Add(x, ops.DropPath(g, h, b.dropPath))
	h = g.Module("norm2", func() graph.Tensor { return b.Norm2.Forward(g, x) })
	h = g.Module("mlp", func() graph.Tensor { return b.MLP.Forward(g, h) })
	return g.Add(x, ops.DropPath(g, h, b.dropPath))
}

// EvaPostNormBlock is one that normalises what its parts give.
type EvaPostNormBlock struct {
	Attn  *EvaAttention `w:"attn"`
	Norm1 *LayerNorm    `w:"norm1"`
	MLP   Feed          `w:"mlp"`
	Norm2 *LayerNorm    `w:"norm2"`

	dropPath float64
}

// NewEvaPostNormBlock returns one block.
func NewEvaPostNormBlock(c EvaConfig) *EvaPostNormBlock {
	return &EvaPostNormBlock{newEvaAttention(c), NewLayerNorm(c.Width, c.Eps), c.newFeed(), NewLayerNorm(c.Width, c.Eps), c.DropPath}
}

// Forward keeps x's shape [batch, tokens, width]. angles are those of ops.Rotary, or absent.
func (b *EvaPostNormBlock) Forward(g *graph.Graph, x, angles graph.Tensor) graph.Tensor {
	h := g.Module("attn", func() graph.Tensor { return b.Attn.Forward(g, x, angles, graph.Tensor{}) })
	h = g.Module("norm1", func() graph.Tensor { return b.Norm1.Forward(g, h) })
	x = g.Add(x, ops.DropPath(g, h, b.dropPath))
	h = g.Module("mlp", func() graph.Tensor { return b.MLP.Forward(g, x) })
	h = g.Module("norm2", func() graph.Tensor { return b.Norm2.Forward(g, h) })
	return g.Add(x, ops.DropPath(g, h, b.dropPath))
}

// EvaAttention is multi-head self-attention whose keys have no bias, unless QKV has one.
type EvaAttention struct {
	QBias *graph.Param `w:"q_bias"` // [width]; with QKV and biases
	VBias *graph.Param `w:"v_bias"`
	QKV   *Linear      `w:"qkv"` // or
	QProj *Linear      `w:"q_proj"`
	KProj *Linear      `w:"k_proj"`
	VProj *Linear      `w:"v_proj"`
	Norm  *LayerNorm   `w:"norm"`
	Proj  *Linear      `w:"proj"`

	zeros  *graph.Param // in place of a bias of keys, in no state dict
	config EvaConfig
}

func newEvaAttention(c EvaConfig) *EvaAttention {
	a := &EvaAttention{Proj: NewTimmLinear(c.Width, c.Width, true), config: c}
	c.last(a.Proj)
	if c.InnerNorm {
		a.Norm = NewLayerNorm(c.Width, c.Eps)
	}
	if !c.QKVFused {
		a.QProj, a.KProj, a.VProj = NewTimmLinear(c.Width, c.Width, c.QKVBias), NewTimmLinear(c.Width, c.Width, false), NewTimmLinear(c.Width, c.Width, c.QKVBias)
		return a
	}
	a.QKV = NewTimmLinear(c.Width, 3*c.Width, false)
	if c.QKVBias {
		a.QBias, a.VBias = NewParam(Constant(0), c.Width), NewParam(Constant(0), c.Width)
		a.zeros = NewParam(Constant(0), c.Width)
		a.zeros.Name, a.zeros.Frozen = "zeros in place of k_bias", true
	}
	return a
}

// Forward keeps x's shape. Where there are angles, queries and keys are turned, and mask is
// added to the scores, where it is there.
func (a *EvaAttention) Forward(g *graph.Graph, x, angles, mask graph.Tensor) graph.Tensor {
	width := x.Dim(-1)
	attention := attentionOf(width, a.config.Heads)
	attention.Dropout = a.config.AttnDrop
	turn := func(x graph.Tensor, turned int) graph.Tensor {
		if !angles.Valid() {
			return x
		}
		return ops.Rotary(g, x, angles, turned)
	}
	var y graph.Tensor
	if a.QKV != nil {
		bias := optional(g, a.QKV.Bias)
		if a.QBias != nil {
			bias = ops.Concat(g, 0, g.Param(a.QBias), g.Param(a.zeros), g.Param(a.VBias))
		}
		qkv := turn(a.QKV.Weight.rows(g, x, bias, 0, 3*width), 2*width)
		y = ops.SelfAttention(g, qkv, mask, attention)
	} else {
		q, k := turn(a.QProj.Forward(g, x), width), turn(a.KProj.Forward(g, x), width)
		y = ops.Attention(g, q, k, a.VProj.Forward(g, x), mask, attention)
	}
	return ops.Dropout(g, a.Proj.Forward(g, a.Norm.Forward(g, y)), a.config.ProjDrop)
}

// newFeed returns the MLP that c describes.
func (c EvaConfig) newFeed() Feed {
	if !c.SwiGLU {
		m := c.newMLP()
		if c.ScaleMLP {
			m.Norm = NewLayerNorm(c.MLPWidth, c.Eps)
		}
		return m
	}
	m := &swiGLU{FC2: NewTimmLinear(c.MLPWidth, c.Width, true), drop: c.ProjDrop}
	c.last(m.FC2)
	if !c.ScaleMLP {
		m.FC1 = &Linear{newFusedWeight(timmInit, 2, c.MLPWidth, c.Width), NewParam(Constant(0), 2*c.MLPWidth)}
		return m
	}
	m.Gate, m.Up = NewTimmLinear(c.Width, c.MLPWidth, true), NewTimmLinear(c.Width, c.MLPWidth, true)
	m.Norm = NewLayerNorm(c.MLPWidth, c.Eps)
	return m
}

// swiGLU is timm's SwiGLU with a norm, or its GluMlp (mlp.py; Shazeer, 2020).
type swiGLU struct {
	FC1  *Linear    `w:"fc1"` // gate and other half, or
	Gate *Linear    `w:"fc1_g"`
	Up   *Linear    `w:"fc1_x"`
	Norm *LayerNorm `w:"norm"`
	FC2  *Linear    `w:"fc2"`

	drop float64
}

// Forward keeps x's shape.
func (m *swiGLU) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	var gate, up graph.Tensor
	if m.FC1 != nil {
		gate, up = m.FC1.halves(g, x)
	} else {
		gate, up = m.Gate.Forward(g, x), m.Up.Forward(g, x)
	}
	h := ops.Dropout(g, ops.Mul(g, ops.Map(g, gate, ops.SiLU), up), m.drop)
	return ops.Dropout(g, m.FC2.Forward(g, m.Norm.Forward(g, h)), m.drop)
}
