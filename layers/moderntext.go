package layers

import (
	"math"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// ModernTextConfig describes the blocks of open_clip's ModernTextTransformer
// (ModernTextBlock in transformer.py).
type ModernTextConfig struct {
	Width, Heads, MLPWidth      int
	MLPType                     string // swiglu, mlp (GELU) or relu2 (Primer, So et al., 2021)
	Eps                         float64
	LayerNorm                   bool     // the norms are LayerNorm, not RMSNorm
	LSInit                      *float64 // LayerScale's initial value; nil for none
	QKNorm, Gated, Sandwich     bool     // Sandwich: what each half adds is normed, too
	ValueResidual               bool     // values are mixed with those of the first block (ResFormer, Zhou et al., 2024)
	AttnBias, GateBias, MLPBias bool
	// Standard deviations of initial weights: of maps into attention, into the MLP, and
	// back into the residual stream.
	AttnStd, FCStd, OutStd float64
}

// Norm returns a norm over width elements.
func (c *ModernTextConfig) Norm(width int) *LayerNorm {
	if c.LayerNorm {
		return NewLayerNorm(width, c.Eps)
	}
	return NewRMSNorm(width, c.Eps)
}

// norm is Norm where there is one.
func (c *ModernTextConfig) norm(have bool, width int) *LayerNorm {
	if !have {
		return nil
	}
	return c.Norm(width)
}

// linear returns parts linear maps in one, with biases of zeros.
func (c *ModernTextConfig) linear(in, parts, width int, bias bool, std float64) *Linear {
	l := &Linear{Weight: newFusedWeight(Normal(std), parts, width, in)}
	if std == 0 {
		l.Weight.Source = Constant(0)
	}
	if bias {
		l.Bias = NewParam(Constant(0), parts*width)
	}
	return l
}

// ModernTextBlock is a transformer block under the names of open_clip's.
type ModernTextBlock struct {
	Norm1     *LayerNorm           `w:"norm1"`
	Attn      *ModernTextAttention `w:"attn"`
	Norm1Post *LayerNorm           `w:"norm1_post"`
	LS1       *LayerScale          `w:"ls1"`
	Norm2     *LayerNorm           `w:"norm2"`
	MLP       *ModernTextMLP       `w:"mlp"`
	Norm2Post *LayerNorm           `w:"norm2_post"`
	LS2       *LayerScale          `w:"ls2"`
}

// NewModernTextBlock returns one block. The first of a stack gives its values to the others.
func NewModernTextBlock(c *ModernTextConfig, first bool) *ModernTextBlock {
	return &ModernTextBlock{
		Norm1: c.Norm(c.Width), Attn: newModernTextAttention(c, first),
		Norm1Post: c.norm(c.Sandwich, c.Width), LS1: NewLayerScale(c.Width, c.LSInit),
		Norm2: c.Norm(c.Width), MLP: newModernTextMLP(c),
		Norm2Post: c.norm(c.Sandwich, c.Width), LS2: NewLayerScale(c.Width, c.LSInit),
	}
}

// Forward keeps x's shape [batch, tokens, width]. angles are those of ops.Rotary, or
// absent. *values are those of the first block, which sets them, where they are mixed.
func (b *ModernTextBlock) Forward(g *graph.Graph, x, angles graph.Tensor, mask Mask, values *graph.Tensor) graph.Tensor {
	h := g.Module("norm1", func() graph.Tensor { return b.Norm1.Forward(g, x) })
	h = g.Module("attn", func() graph.Tensor { return b.Attn.Forward(g, h, angles, mask, values) })
	x = g.Add(x, b.LS1.Forward(g, b.Norm1Post.Forward(g, h)))
	h = g.Module("norm2", func() graph.Tensor { return b.Norm2.Forward(g, x) })
	h = g.Module("mlp", func() graph.Tensor { return b.MLP.Forward(g, h) })
	return g.Add(x, b.LS2.Forward(g, b.Norm2Post.Forward(g, h)))
}

// ModernTextAttention is multi-head self-attention whose result may be gated (Qiu et al.,
// Gated Attention for Large Language Models, 2025).
type ModernTextAttention struct {
	VRLambda *graph.Param `w:"vr_lambda"` // [1], the share of a block's own values; not in the first
	QKV      *Linear      `w:"qkv"`
	QNorm    *LayerNorm   `w:"q_norm"` // over the head width
	KNorm    *LayerNorm   `w:"k_norm"`
	Gate     *Linear      `w:"gate"`
	Proj     *Linear      `w:"proj"`

	heads       int
	shareValues bool
}

func newModernTextAttention(c *ModernTextConfig, first bool) *ModernTextAttention {
	a := &ModernTextAttention{
		QKV:   c.linear(c.Width, 3, c.Width, c.AttnBias, c.AttnStd),
		QNorm: c.norm(c.QKNorm, c.Width/c.Heads), KNorm: c.norm(c.QKNorm, c.Width/c.Heads),
		Proj:  c.linear(c.Width, 1, c.Width, c.AttnBias, c.OutStd),
		heads: c.Heads, shareValues: c.ValueResidual,
	}
	if c.Gated {
		a.Gate = c.linear(c.Width, 1, c.Width, c.GateBias, c.AttnStd)
		if c.GateBias {
			a.Gate.Bias.Source = Constant(1) // mostly open
		}
	}
	if c.ValueResidual && !first {
		a.VRLambda = NewParam(Constant(0.5), 1)
	}
	return a
}

// Forward keeps x's shape; see ModernTextBlock.
func (a *ModernTextAttention) Forward(g *graph.Graph, x, angles graph.Tensor, mask Mask, values *graph.Tensor) graph.Tensor {
	q, k, v := a.QKV.Forward(g, x), graph.Tensor{}, graph.Tensor{}
	turned := 2 * x.Dim(2)
	if a.QNorm != nil || a.shareValues {
		t := ops.Split(g, q, -1, x.Dim(2), x.Dim(2), x.Dim(2))
		q, k, v = perHead(g, t[0], a.heads, a.QNorm), perHead(g, t[1], a.heads, a.KNorm), a.mix(g, t[2], values)
		turned = x.Dim(2)
	}
	if angles.Valid() {
		q = ops.Rotary(g, q, angles, turned)
		if k.Valid() {
			k = ops.Rotary(g, k, angles, turned)
		}
	}
	y := mask.attend(g, q, k, v, attentionOf(x.Dim(2), a.heads))
	if a.Gate != nil {
		y = ops.Mul(g, y, ops.Map(g, a.Gate.Forward(g, x), ops.Sigmoid))
	}
	return a.Proj.Forward(g, y)
}

// mix is first + λ · (v − first): v mixed with the values of the first block.
func (a *ModernTextAttention) mix(g *graph.Graph, v graph.Tensor, first *graph.Tensor) graph.Tensor {
	if a.VRLambda == nil {
		*first = v
		return v
	}
	return g.Add(*first, ops.MulBroadcast(g, g.Add(v, ops.Scale(g, *first, -1)), g.Param(a.VRLambda), 1))
}

// perHead norms the heads of x [batch, tokens, width], one by one.
func perHead(g *graph.Graph, x graph.Tensor, heads int, norm *LayerNorm) graph.Tensor {
	if norm == nil {
		return x
	}
	s := x.Shape()
	return g.Reshape(norm.Forward(g, g.Reshape(x, s[0], s[1], heads, s[2]/heads)), s...)
}

// ModernTextMLP is the block's feed-forward part.
type ModernTextMLP struct {
	W12   *Linear `w:"w12"` // of swiglu: what is gated, and the gate
	W3    *Linear `w:"w3"`
	CFc   *Linear `w:"c_fc"` // of the others
	CProj *Linear `w:"c_proj"`

	squared bool
}

func newModernTextMLP(c *ModernTextConfig) *ModernTextMLP {
	if c.MLPType == "swiglu" {
		return &ModernTextMLP{
			W12: c.linear(c.Width, 2, c.MLPWidth, c.MLPBias, c.FCStd),
			W3:  c.linear(c.MLPWidth, 1, c.Width, c.MLPBias, c.OutStd),
		}
	}
	return &ModernTextMLP{
		CFc:     c.linear(c.Width, 1, c.MLPWidth, c.MLPBias, c.FCStd),
		CProj:   c.linear(c.MLPWidth, 1, c.Width, c.MLPBias, c.OutStd),
		squared: c.MLPType == "relu2",
	}
}

// Forward keeps x's shape.
func (m *ModernTextMLP) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	switch {
	case m.W12 != nil:
		h, gate := m.W12.halves(g, x)
		return m.W3.Forward(g, ops.Mul(g, h, ops.Map(g, gate, ops.SiLU)))
	case m.squared:
		h := ops.Map(g, m.CFc.Forward(g, x), ops.ReLU)
		return m.CProj.Forward(g, ops.Mul(g, h, h))
	}
	return m.CProj.Forward(g, ops.Map(g, m.CFc.Forward(g, x), ops.GELU))
}

// ModernTextPool pools a text by the attention of one learned query (ModernTextPool in
// transformer.py with pool_type map).
type ModernTextPool struct {
	Query *graph.Param `w:"query"` // [1, 1, width]
	Q     *Linear      `w:"q"`
	KV    *Linear      `w:"kv"`
	QNorm *LayerNorm   `w:"q_norm"`
	KNorm *LayerNorm   `w:"k_norm"`

	heads int
}

// NewModernTextPool returns the pooler of a tower of such blocks.
func NewModernTextPool(c *ModernTextConfig) *ModernTextPool {
	std := 1 / math.Sqrt(float64(c.Width))
	return &ModernTextPool{
		Query: NewParam(Normal(std), 1, 1, c.Width),
		Q:     c.linear(c.Width, 1, c.Width, c.AttnBias, std),
		KV:    c.linear(c.Width, 2, c.Width, c.AttnBias, std),
		QNorm: c.norm(c.QKNorm, c.Width/c.Heads), KNorm: c.norm(c.QKNorm, c.Width/c.Heads),
		heads: c.Heads,
	}
}

// Forward maps [batch, tokens, width] to [batch, width].
func (p *ModernTextPool) Forward(g *graph.Graph, x graph.Tensor, mask Mask) graph.Tensor {
	batch, width := x.Dim(0), x.Dim(2)
	q := perHead(g, p.Q.Forward(g, g.Param(p.Query)), p.heads, p.QNorm)
	k, v := p.KV.halves(g, x)
	q = ops.Expand(g, g.Reshape(q, 1, width), batch)
	y := mask.attend(g, q, perHead(g, k, p.heads, p.KNorm), v, attentionOf(width, p.heads))
	return g.Reshape(y, batch, width)
}
