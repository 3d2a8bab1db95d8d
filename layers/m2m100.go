package layers

import (
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// M2M100Config describes the encoder blocks of transformers' M2M100 (modeling_m2m_100.py;
// Fan et al., 2021).
type M2M100Config struct {
	Width, Heads, MLPWidth int
	Activation             ops.Function
	InitStd                float64 // of the weights of linear maps
	// Rates of dropout: of what ends each half, of attention's weights, and of the
	// activation.
	Drop, AttnDrop, ActivationDrop float64
}

// M2M100Layer is a pre-norm transformer block under M2M100's names.
type M2M100Layer struct {
	KProj         *Linear    `w:"self_attn.k_proj"`
	VProj         *Linear    `w:"self_attn.v_proj"`
	QProj         *Linear    `w:"self_attn.q_proj"`
	OutProj       *Linear    `w:"self_attn.out_proj"`
	AttentionNorm *LayerNorm `w:"self_attn_layer_norm"`
	FC1           *Linear    `w:"fc1"`
	FC2           *Linear    `w:"fc2"`
	FinalNorm     *LayerNorm `w:"final_layer_norm"`

	config M2M100Config
}

// NewM2M100Layer returns one block.
func NewM2M100Layer(c M2M100Config) *M2M100Layer {
	linear := func(in, out int) *Linear { return NewBertLinear(in, out, c.InitStd) }
	norm := func() *LayerNorm { return NewLayerNorm(c.Width, defaultEps) }
	return &M2M100Layer{
		KProj: linear(c.Width, c.Width), VProj: linear(c.Width, c.Width),
		QProj: linear(c.Width, c.Width), OutProj: linear(c.Width, c.Width),
		AttentionNorm: norm(), FC1: linear(c.Width, c.MLPWidth), FC2: linear(c.MLPWidth, c.Width), FinalNorm: norm(),
		config: c,
	}
}

// Forward keeps x's shape [batch, tokens, width].
func (l *M2M100Layer) Forward(g *graph.Graph, x graph.Tensor, mask Mask) graph.Tensor {
	c := &l.config
	h := g.Module("self_attn_layer_norm", func() graph.Tensor { return l.AttentionNorm.Forward(g, x) })
	h = g.Module("self_attn", func() graph.Tensor { return l.attend(g, h, mask) })
	x = g.Add(x, ops.Dropout(g, h, c.Drop))
	h = g.Module("final_layer_norm", func() graph.Tensor { return l.FinalNorm.Forward(g, x) })
	h = g.Module("fc1", func() graph.Tensor { return ops.Map(g, l.FC1.Forward(g, h), c.Activation) })
	h = ops.Dropout(g, h, c.ActivationDrop)
	h = g.Module("fc2", func() graph.Tensor { return l.FC2.Forward(g, h) })
	return g.Add(x, ops.Dropout(g, h, c.Drop))
}

func (l *M2M100Layer) attend(g *graph.Graph, x graph.Tensor, mask Mask) graph.Tensor {
	config := attentionOf(l.config.Width, l.config.Heads)
	config.Dropout = l.config.AttnDrop
	q, k, v := l.QProj.Forward(g, x), l.KProj.Forward(g, x), l.VProj.Forward(g, x)
	return l.OutProj.Forward(g, mask.attend(g, q, k, v, config))
}

// LayerDrop returns y, the output of a block whose input is x. Where g is for training it
// leaves the block out with probability rate, for the whole batch: it returns x then
// (Fan et al., Reducing Transformer Depth on Demand with Structured Dropout, 2020).
func LayerDrop(g *graph.Graph, x, y graph.Tensor, rate float64) graph.Tensor {
	if !g.Training || rate == 0 {
		return y
	}
	kept := ops.Clamp(g, ops.Dropout(g, g.Fill(1, 1), rate), 0, 1) // 1 or 0
	return g.Add(x, ops.MulBroadcast(g, g.Add(y, ops.Scale(g, x, -1)), kept, 1))
}
