package layers

import (
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// BertConfig describes the blocks of transformers' BERT and RoBERTa (BertLayer in
// modeling_bert.py, RobertaLayer in modeling_roberta.py).
type BertConfig struct {
	Width, Heads, MLPWidth int
	Activation             ops.Function
	Eps                    float64 // of every norm
	InitStd                float64 // of the weights of linear maps
	HiddenDrop, AttnDrop   float64 // rates of dropout of what ends each half, and of attention's weights
}

// NewBertLinear returns a Linear with transformers' initialisation: weights from
// N(0, std²), biases of zeros.
func NewBertLinear(in, out int, std float64) *Linear {
	l := NewLinear(in, out, true)
	l.Weight.Source, l.Bias.Source = Normal(std), Constant(0)
	return l
}

// BertLayer is a post-norm transformer block under BERT's names (Devlin et al., 2019).
type BertLayer struct {
	Query           *Linear     `w:"attention.self.query"`
	Key             *Linear     `w:"attention.self.key"`
	Value           *Linear     `w:"attention.self.value"`
	AttentionOutput *BertOutput `w:"attention.output"`
	Intermediate    *Linear     `w:"intermediate.dense"`
	Output          *BertOutput `w:"output"`

	heads      int
	activation ops.Function
	attnDrop   float64
}

// NewBertLayer returns one block.
func NewBertLayer(c BertConfig) *BertLayer {
	linear := func(in, out int) *Linear { return NewBertLinear(in, out, c.InitStd) }
	output := func(in int) *BertOutput {
		return &BertOutput{linear(in, c.Width), NewLayerNorm(c.Width, c.Eps), c.HiddenDrop}
	}
	return &BertLayer{
		Query: linear(c.Width, c.Width), Key: linear(c.Width, c.Width), Value: linear(c.Width, c.Width),
		AttentionOutput: output(c.Width),
		Intermediate:    linear(c.Width, c.MLPWidth),
		Output:          output(c.MLPWidth),
		heads:           c.Heads, activation: c.Activation, attnDrop: c.AttnDrop,
	}
}

// Forward keeps x's shape [batch, tokens, width].
func (b *BertLayer) Forward(g *graph.Graph, x graph.Tensor, mask Mask) graph.Tensor {
	end := g.Scope("attention")
	h := g.Module("self", func() graph.Tensor { return b.attend(g, x, mask) })
	x = g.Module("output", func() graph.Tensor { return b.AttentionOutput.Forward(g, h, x) })
	end()
	h = g.Module("intermediate", func() graph.Tensor {
		h := g.Module("dense", func() graph.Tensor { return b.Intermediate.Forward(g, x) })
		return ops.Map(g, h, b.activation)
	})
	return g.Module("output", func() graph.Tensor { return b.Output.Forward(g, h, x) })
}

func (b *BertLayer) attend(g *graph.Graph, x graph.Tensor, mask Mask) graph.Tensor {
	q := g.Module("query", func() graph.Tensor { return b.Query.Forward(g, x) })
	k := g.Module("key", func() graph.Tensor { return b.Key.Forward(g, x) })
	v := g.Module("value", func() graph.Tensor { return b.Value.Forward(g, x) })
	config := attentionOf(x.Dim(-1), b.heads)
	config.Dropout = b.attnDrop
	return mask.attend(g, q, k, v, config)
}

// BertOutput ends each half of a block: a linear map, what entered the half, and
// the norm of their sum.
type BertOutput struct {
	Dense     *Linear    `w:"dense"`
	LayerNorm *LayerNorm `w:"LayerNorm"`

	drop float64
}

// Forward maps h [batch, tokens, in] and x [batch, tokens, width] to the shape of x.
func (o *BertOutput) Forward(g *graph.Graph, h, x graph.Tensor) graph.Tensor {
	h = g.Module("dense", func() graph.Tensor { return o.Dense.Forward(g, h) })
	h = ops.Dropout(g, h, o.drop)
	return g.Module("LayerNorm", func() graph.Tensor { return o.LayerNorm.Forward(g, g.Add(h, x)) })
}
