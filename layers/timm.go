package layers

import (
	"math"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// TimmConfig describes the blocks of timm's Vision Transformers (Block in
// vision_transformer.py and, for those with rotary positions, EvaBlock in eva.py).
type TimmConfig struct {
	Width, Heads, MLPWidth int
	QKVBias, ProjBias      bool // ProjBias is also that of the MLP
	Activation             ops.Function
	Eps                    float64  // of every norm
	LSInit                 *float64 // LayerScale's initial value; nil for none
	// Rates of dropout of what linear maps give and of attention's weights, and of drop path.
	ProjDrop, AttnDrop, DropPath float64
	// LastStd is the standard deviation that the last linear maps of attention and of the
	// MLP start with; 0: that of the others.
	LastStd float64
}

// last initialises the last linear maps of a block's parts.
func (c TimmConfig) last(ls ...*Linear) {
	for _, l := range ls {
		if c.LastStd > 0 {
			l.Weight.Source = Normal(c.LastStd)
		}
	}
}

// timmInit is timm's initialisation of Linear weights; their biases are zeros.
var timmInit = Normal(0.02)

// NewTimmLinear returns a Linear with timm's initialisation.
func NewTimmLinear(in, out int, bias bool) *Linear {
	l := NewLinear(in, out, bias)
	l.Weight.Source = timmInit
	if bias {
		l.Bias.Source = Constant(0)
	}
	return l
}

// TimmBlock is a pre-norm transformer block under timm's names.
type TimmBlock struct {
	Norm1 *LayerNorm    `w:"norm1"`
	Attn  selfAttention `w:"attn"`
	LS1   *LayerScale   `w:"ls1"`
	Norm2 *LayerNorm    `w:"norm2"`
	MLP   Feed          `w:"mlp"` // a TimmMLP, unless it is replaced
	LS2   *LayerScale   `w:"ls2"`

	dropPath float64
}

// selfAttention is the part of a block that maps tokens [batch, tokens, width] to as many,
// whose queries and keys it turns by angles where there are any. It taps its result.
type selfAttention interface {
	Forward(g *graph.Graph, x, angles graph.Tensor) graph.Tensor
}

// Feed is the part of a block that maps each token by itself: [..., width] to its own
// shape.
type Feed interface {
	Forward(g *graph.Graph, x graph.Tensor) graph.Tensor
}

// newMLP returns the MLP that c describes.
func (c TimmConfig) newMLP() *TimmMLP {
	mlp := NewTimmMLP(c.Width, c.MLPWidth, c.Width, c.ProjBias, c.Activation)
	mlp.HiddenDrop, mlp.OutDrop = c.ProjDrop, c.ProjDrop
	c.last(mlp.FC2)
	return mlp
}

// NewTimmBlock returns one block.
func NewTimmBlock(c TimmConfig) *TimmBlock {
	return &TimmBlock{
		Norm1: NewLayerNorm(c.Width, c.Eps),
		Attn:  c.newAttention(),
		LS1:   NewLayerScale(c.Width, c.LSInit),
		Norm2: NewLayerNorm(c.Width, c.Eps),
		MLP:   c.newMLP(),
		LS2:   NewLayerScale(c.Width, c.LSInit), dropPath: c.DropPath,
	}
}

// Forward keeps x's shape [..., width], which for most Attn is [batch, tokens, width].
// angles are those of ops.Rotary, or absent.
func (b *TimmBlock) Forward(g *graph.Graph, x, angles graph.Tensor) graph.Tensor {
	h := g.Module("norm1", func() graph.Tensor { return b.Norm1.Forward(g, x) })
	end := g.Scope("attn")
	h = b.Attn.Forward(g, h, angles)
	end()
	x = g.Add(x, ops.DropPath(g, b.LS1.Forward(g, h), b.dropPath))
	h = g.Module("norm2", func() graph.Tensor { return b.Norm2.Forward(g, x) })
	h = g.Module("mlp", func() graph.Tensor { return b.MLP.Forward(g, h) })
	return g.Add(x, ops.DropPath(g, b.LS2.Forward(g, h), b.dropPath))
}

// TimmAttention is multi-head self-attention (Attention and AttentionRope in
// timm's attention.py).
type TimmAttention struct {
	QKV  *Linear `w:"qkv"`
	Proj *Linear `w:"proj"`

	config   ops.AttentionConfig
	projDrop float64
}

// newAttention returns the attention that c describes.
func (c TimmConfig) newAttention() *TimmAttention {
	a := &TimmAttention{
		QKV: NewTimmLinear(c.Width, 3*c.Width, c.QKVBias), Proj: NewTimmLinear(c.Width, c.Width, c.ProjBias),
		config: attentionOf(c.Width, c.Heads), projDrop: c.ProjDrop,
	}
	a.config.Dropout = c.AttnDrop
	c.last(a.Proj)
	return a
}

// Forward keeps x's shape. Where there are angles, queries and keys are turned.
func (a *TimmAttention) Forward(g *graph.Graph, x, angles graph.Tensor) graph.Tensor {
	qkv := a.QKV.Forward(g, x)
	if angles.Valid() {
		qkv = ops.Rotary(g, qkv, angles, 2*x.Dim(-1))
	}
	return g.Tap(ops.Dropout(g, a.Proj.Forward(g, ops.SelfAttention(g, qkv, graph.Tensor{}, a.config)), a.projDrop))
}

func attentionOf(width, heads int) ops.AttentionConfig {
	return ops.AttentionConfig{Heads: heads, Scale: 1 / math.Sqrt(float64(width/heads))}
}

// TimmMLP is timm's Mlp (mlp.py).
type TimmMLP struct {
	FC1  *Linear    `w:"fc1"`
	Norm *LayerNorm `w:"norm"` // or nil
	FC2  *Linear    `w:"fc2"`

	Activation          ops.Function
	HiddenDrop, OutDrop float64 // rates of dropout behind the activation and behind FC2
}

// NewTimmMLP returns an MLP from in to out features with timm's initialisation.
func NewTimmMLP(in, hidden, out int, bias bool, act ops.Function) *TimmMLP {
	return &TimmMLP{FC1: NewTimmLinear(in, hidden, bias), FC2: NewTimmLinear(hidden, out, bias), Activation: act}
}

// Forward maps [..., in] to [..., out].
func (m *TimmMLP) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	h := g.Module("fc1", func() graph.Tensor { return m.FC1.Forward(g, x) })
	h = g.Module("act", func() graph.Tensor { return ops.Map(g, h, m.Activation) })
	h = m.Norm.Forward(g, ops.Dropout(g, h, m.HiddenDrop))
	return ops.Dropout(g, g.Module("fc2", func() graph.Tensor { return m.FC2.Forward(g, h) }), m.OutDrop)
}

// AttentionPoolLatent pools a sequence by the attention of one learned query and
// an MLP (AttentionPoolLatent in timm's attention_pool.py; MAP in Zhai et al.,
// Scaling Vision Transformers, 2022).
type AttentionPoolLatent struct {
	Latent *graph.Param `w:"latent"` // [1, 1, width]
	Q      *Linear      `w:"q"`
	KV     *Linear      `w:"kv"`
	Proj   *Linear      `w:"proj"`
	Norm   *LayerNorm   `w:"norm"`
	MLP    *TimmMLP     `w:"mlp"`

	Heads int
}

// NewAttentionPoolLatent returns the pooler that c.Width, Heads, MLPWidth,
// Activation and Eps describe. All its layers have biases.
func NewAttentionPoolLatent(c TimmConfig) *AttentionPoolLatent {
	return &AttentionPoolLatent{
		Latent: NewParam(TruncatedNormal(1/math.Sqrt(float64(c.Width))), 1, 1, c.Width),
		Q:      NewTimmLinear(c.Width, c.Width, true),
		KV:     &Linear{newFusedWeight(timmInit, 2, c.Width, c.Width), NewParam(Constant(0), 2*c.Width)},
		Proj:   NewTimmLinear(c.Width, c.Width, true),
		Norm:   NewLayerNorm(c.Width, c.Eps),
		MLP:    NewTimmMLP(c.Width, c.MLPWidth, c.Width, true, c.Activation),
		Heads:  c.Heads,
	}
}

// Forward maps [batch, tokens, width] to [batch, width].
func (p *AttentionPoolLatent) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	return p.ForwardMasked(g, x, graph.Tensor{})
}

// ForwardMasked is Forward under a mask [batch, 1, tokens], which is added to the scores.
func (p *AttentionPoolLatent) ForwardMasked(g *graph.Graph, x, mask graph.Tensor) graph.Tensor {
	batch, width := x.Dim(0), x.Dim(2)
	q := p.Q.Forward(g, g.Reshape(g.Param(p.Latent), 1, width))
	w, b := p.KV.Weight, p.KV.Bias
	k, v := w.Rows(g, x, b, 0, width), w.Rows(g, x, b, width, width)
	y := ops.Attention(g, ops.Expand(g, q, batch), k, v, mask, attentionOf(width, p.Heads))
	y = p.Proj.Forward(g, g.Reshape(y, batch, width))
	return g.Add(y, p.MLP.Forward(g, p.Norm.Forward(g, y)))
}
