package layers

import (
	"math"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// T5Config describes the encoder blocks of transformers' T5 and mT5 (modeling_mt5.py;
// Raffel et al., 2020; Xue et al., 2021).
type T5Config struct {
	Width, HeadWidth, Heads, MLPWidth int
	Gated                             bool // the MLP multiplies what is activated by a second map
	Activation                        ops.Function
	Eps                               float64 // of every norm
	InitFactor                        float64 // of the initial weights
	Drop                              float64 // rate of all dropout
}

// norm returns the norm over the width, which is RMSNorm.
func (c *T5Config) norm() *LayerNorm {
	n := NewRMSNorm(c.Width, c.Eps)
	n.Weight.Source = Constant(c.InitFactor)
	return n
}

// linear returns a Linear whose weights come from N(0, (InitFactor² / variance)).
func (c *T5Config) linear(in, out, variance int) *Linear {
	l := NewLinear(in, out, false)
	l.Weight.Source = Normal(c.InitFactor / math.Sqrt(float64(variance)))
	return l
}

// NewT5Norm returns the norm that follows the last block.
func NewT5Norm(c T5Config) *LayerNorm { return c.norm() }

// T5Block is a pre-norm transformer block under T5's names.
type T5Block struct {
	Attention     *T5Attention `w:"layer.0.SelfAttention"`
	AttentionNorm *LayerNorm   `w:"layer.0.layer_norm"`
	MLP           *T5MLP       `w:"layer.1.DenseReluDense"`
	MLPNorm       *LayerNorm   `w:"layer.1.layer_norm"`

	drop float64
}

// NewT5Block returns one block. The first one of a stack has the table of buckets'
// biases, of which there are buckets, for all; the others have 0.
func NewT5Block(c T5Config, buckets int) *T5Block {
	inner := c.Heads * c.HeadWidth
	b := &T5Block{
		Attention: &T5Attention{
			Q: c.linear(c.Width, inner, c.Width*c.HeadWidth), K: c.linear(c.Width, inner, c.Width),
			V: c.linear(c.Width, inner, c.Width), O: c.linear(inner, c.Width, inner),
			heads: c.Heads, drop: c.Drop,
		},
		AttentionNorm: c.norm(),
		MLP:           &T5MLP{WO: c.linear(c.MLPWidth, c.Width, c.MLPWidth), activation: c.Activation, drop: c.Drop},
		MLPNorm:       c.norm(),
		drop:          c.Drop,
	}
	if buckets > 0 {
		b.Attention.RelativeBias = NewEmbedding(Normal(c.InitFactor/math.Sqrt(float64(c.Width))), buckets, c.Heads)
	}
	if c.Gated {
		b.MLP.WI0, b.MLP.WI1 = c.linear(c.Width, c.MLPWidth, c.Width), c.linear(c.Width, c.MLPWidth, c.Width)
	} else {
		b.MLP.WI = c.linear(c.Width, c.MLPWidth, c.Width)
	}
	return b
}

// Forward keeps x's shape [batch, tokens, width].
func (b *T5Block) Forward(g *graph.Graph, x graph.Tensor, mask Mask) graph.Tensor {
	x = g.Module("layer.0", func() graph.Tensor {
		h := g.Module("layer_norm", func() graph.Tensor { return b.AttentionNorm.Forward(g, x) })
		h = g.Module("SelfAttention", func() graph.Tensor { return b.Attention.Forward(g, h, mask) })
		return g.Add(x, ops.Dropout(g, h, b.drop))
	})
	return g.Module("layer.1", func() graph.Tensor {
		h := g.Module("layer_norm", func() graph.Tensor { return b.MLPNorm.Forward(g, x) })
		h = g.Module("DenseReluDense", func() graph.Tensor { return b.MLP.Forward(g, h) })
		return g.Add(x, ops.Dropout(g, h, b.drop))
	})
}

// T5Attention is multi-head self-attention without a scale of the scores.
type T5Attention struct {
	Q            *Linear    `w:"q"`
	K            *Linear    `w:"k"`
	V            *Linear    `w:"v"`
	O            *Linear    `w:"o"`
	RelativeBias *Embedding `w:"relative_attention_bias"` // [buckets, heads]; of the first block

	heads int
	drop  float64
}

// Forward keeps x's shape. mask is that of the first block's Mask.
func (a *T5Attention) Forward(g *graph.Graph, x graph.Tensor, mask Mask) graph.Tensor {
	q, k, v := a.Q.Forward(g, x), a.K.Forward(g, x), a.V.Forward(g, x)
	return a.O.Forward(g, mask.attend(g, q, k, v, ops.AttentionConfig{Heads: a.heads, Scale: 1, Dropout: a.drop}))
}

// Mask adds to what hides keys, [batch, 1, tokens], the bias of each pair of tokens, by
// its bucket of buckets [tokens, tokens] in i32: [batch, heads, tokens, tokens].
func (a *T5Attention) Mask(g *graph.Graph, hidden, buckets graph.Tensor) Mask {
	batch, tokens := hidden.Dim(0), buckets.Dim(0)
	x := ops.Transpose(g, a.RelativeBias.Forward(g, g.Reshape(buckets, tokens*tokens)))
	each := ops.MatMul(g, g.Fill(1, batch, a.heads*tokens, 1), hidden, false, false) // for each head and query
	return Mask{Additive: g.Reshape(ops.AddBroadcast(g, each, x, 1), batch, a.heads, tokens, tokens)}
}

// T5MLP is the block's feed-forward part.
type T5MLP struct {
	WI  *Linear `w:"wi"`   // without a gate
	WI0 *Linear `w:"wi_0"` // with one
	WI1 *Linear `w:"wi_1"`
	WO  *Linear `w:"wo"`

	activation ops.Function
	drop       float64
}

// Forward keeps x's shape. (Shazeer, GLU Variants Improve Transformer, 2020.)
func (m *T5MLP) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	var h graph.Tensor
	if m.WI != nil {
		h = ops.Map(g, m.WI.Forward(g, x), m.activation)
	} else {
		h = ops.Mul(g, ops.Map(g, m.WI0.Forward(g, x), m.activation), m.WI1.Forward(g, x))
	}
	return m.WO.Forward(g, ops.Dropout(g, h, m.drop))
}
