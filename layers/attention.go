package layers

import (
	"math"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Attention is multi-head attention with open_clip's options (Attention in
// transformer.py).
type Attention struct {
	InProjWeight *Weight      `w:"in_proj_weight"` // [3·width, width]; nil: the next three
	QProjWeight  *Weight      `w:"q_proj_weight"`  // [width, width]
	KProjWeight  *Weight      `w:"k_proj_weight"`  // [width, context width]
	VProjWeight  *Weight      `w:"v_proj_weight"`  // [width, context width]
	InProjBias   *graph.Param `w:"in_proj_bias"`   // [3·width]
	LogitScale   *graph.Param `w:"logit_scale"`    // [heads, 1, 1]: scaled cosine attention
	HeadScale    *graph.Param `w:"head_scale"`     // [heads, 1, 1]
	LnQ          *LayerNorm   `w:"ln_q"`           // over the head width
	LnK          *LayerNorm   `w:"ln_k"`
	LnInner      *LayerNorm   `w:"ln_inner"`
	OutProj      *Linear      `w:"out_proj"`

	Heads int
}

// logitScaleMax caps scaled cosine attention's temperature at 100, as Swin
// Transformer V2 does.
var logitScaleMax = math.Log(100)

// NewAttention returns self-attention of width, or attention to a context of
// another width.
func NewAttention(width, heads, contextWidth int) *Attention {
	a := &Attention{
		InProjBias: NewParam(Constant(0), 3*width),
		OutProj:    NewLinear(width, width, true),
		Heads:      heads,
	}
	a.OutProj.Bias.Source = Constant(0)
	if contextWidth == width {
		a.InProjWeight = newFusedWeight(xavierUniform(3*width, width), 3, width, width)
		return a
	}
	a.QProjWeight = NewWeight(xavierUniform(width, width), width, width)
	a.KProjWeight = NewWeight(xavierUniform(width, contextWidth), width, contextWidth)
	a.VProjWeight = NewWeight(xavierUniform(width, contextWidth), width, contextWidth)
	return a
}

// Mask says which keys a query sees: Causal, those up to its own position; and
// what Additive, the mask or the bias of ops.Attention, adds to the logits, where given.
type Mask struct {
	Causal   bool
	Additive graph.Tensor
}

// attend is attention under the mask. Without k and v, q holds all three.
func (m Mask) attend(g *graph.Graph, q, k, v graph.Tensor, c ops.AttentionConfig) graph.Tensor {
	c.Causal = m.Causal
	return ops.Attention(g, q, k, v, m.Additive, c)
}

// Forward attends from x [batch, queries, width] to context [batch, keys,
// context width], or to x itself without one.
func (a *Attention) Forward(g *graph.Graph, x, context graph.Tensor, mask Mask) graph.Tensor {
	config := a.config(mask)
	if !context.Valid() && a.InProjWeight != nil && a.LogitScale == nil && a.LnQ == nil {
		qkv := a.InProjWeight.Forward(g, x, a.InProjBias)
		return a.finish(g, ops.SelfAttention(g, qkv, mask.Additive, config))
	}
	q, k, v := a.project(g, x, context)
	q, k = a.normalize(g, q, k)
	return a.finish(g, ops.Attention(g, q, k, v, mask.Additive, config))
}

// config is how heads attend.
func (a *Attention) config(mask Mask) ops.AttentionConfig {
	c := ops.AttentionConfig{Heads: a.Heads, Scale: 1 / math.Sqrt(float64(a.headWidth())), Causal: mask.Causal}
	if a.LogitScale != nil {
		c.Scale = 1
	}
	return c
}

func (a *Attention) headWidth() int { return a.OutProj.Weight.Shape[0] / a.Heads }

// normalize does what comes between the projections of queries and keys and their
// products: the norms of scaled cosine attention, with its scale, or of qk_norm.
func (a *Attention) normalize(g *graph.Graph, q, k graph.Tensor) (graph.Tensor, graph.Tensor) {
	perHead := func(t graph.Tensor, f func(graph.Tensor) graph.Tensor) graph.Tensor {
		s := t.Shape()
		return g.Reshape(f(g.Reshape(t, t.Dim(0), t.Dim(1), a.Heads, a.headWidth())), s...)
	}
	if a.LogitScale != nil {
		unit := func(t graph.Tensor) graph.Tensor { return ops.L2Normalize(g, t, 1e-12) }
		s := ops.Clamp(g, g.Reshape(g.Param(a.LogitScale), a.Heads), math.Inf(-1), logitScaleMax)
		return ops.MulBroadcast(g, perHead(q, unit), ops.Map(g, s, ops.Exp), a.headWidth()), perHead(k, unit)
	}
	if a.LnQ != nil {
		q = perHead(q, func(t graph.Tensor) graph.Tensor { return a.LnQ.Forward(g, t) })
		k = perHead(k, func(t graph.Tensor) graph.Tensor { return a.LnK.Forward(g, t) })
	}
	return q, k
}

// finish takes the heads' results [batch, queries, width] to the output.
func (a *Attention) finish(g *graph.Graph, y graph.Tensor) graph.Tensor {
	if a.HeadScale != nil {
		y = ops.MulBroadcast(g, y, g.Reshape(g.Param(a.HeadScale), a.Heads), y.Dim(-1)/a.Heads)
	}
	y = a.LnInner.Forward(g, y)
	return g.Module("out_proj", func() graph.Tensor { return a.OutProj.Forward(g, y) })
}

// project makes queries of x and keys and values of context, or of x where there is
// none: [batch, queries or keys, width].
func (a *Attention) project(g *graph.Graph, x, context graph.Tensor) (q, k, v graph.Tensor) {
	width := a.OutProj.Weight.Shape[0]
	if !context.Valid() && a.InProjWeight != nil {
		t := ops.Split(g, a.InProjWeight.Forward(g, x, a.InProjBias), -1, width, width, width)
		return t[0], t[1], t[2]
	}
	if !context.Valid() {
		context = x
	}
	if a.InProjWeight != nil {
		k, v = a.keysValues(g, context)
		return a.queries(g, x), k, v
	}
	b := ops.Split(g, g.Param(a.InProjBias), 0, width, width, width)
	part := func(w *Weight, x, bias graph.Tensor) graph.Tensor { return w.rows(g, x, bias, 0, width) }
	return part(a.QProjWeight, x, b[0]), part(a.KProjWeight, context, b[1]), part(a.VProjWeight, context, b[2])
}

// AttentionalPooler attends from learned queries to a sequence (AttentionalPooler
// in transformer.py; CoCa, Yu et al., 2022).
type AttentionalPooler struct {
	Query *graph.Param `w:"query"` // [queries, width]
	Attn  *Attention   `w:"attn"`
	LnQ   *LayerNorm   `w:"ln_q"`
	LnK   *LayerNorm   `w:"ln_k"`
}

// NewAttentionalPooler returns a pooler from contextWidth to width. Its norms
// keep torch's eps whatever the tower's is.
func NewAttentionalPooler(width, contextWidth, heads, queries int) *AttentionalPooler {
	return &AttentionalPooler{
		Query: NewParam(Normal(1), queries, width),
		Attn:  NewAttention(width, heads, contextWidth),
		LnQ:   NewLayerNorm(width, defaultEps),
		LnK:   NewLayerNorm(contextWidth, defaultEps),
	}
}

// defaultEps is torch's nn.LayerNorm eps.
const defaultEps = 1e-5

// Forward maps [batch, tokens, context width] to [batch, queries, width].
func (p *AttentionalPooler) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	context := p.LnK.Forward(g, x)
	q := ops.Expand(g, p.LnQ.Forward(g, g.Param(p.Query)), x.Dim(0))
	return p.Attn.Forward(g, q, context, Mask{})
}
