package layers

import (
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// KVCache keeps keys and values of an attention between runs, [groups, slots, width] each.
// The queries of a group see the slots of their group.
type KVCache struct{ K, V *graph.State }

// NewKVCache returns a cache whose name errors tell.
func NewKVCache(name string, groups, slots, width int) KVCache {
	state := func(part string) *graph.State {
		return &graph.State{Name: name + part, Spec: graph.Spec{Shape: graph.Shape{groups, slots, width}}}
	}
	return KVCache{K: state(".k"), V: state(".v")}
}

// Clear records that all slots become zeros: what is in one that no query sees must be
// finite.
func (c KVCache) Clear(g *graph.Graph) {
	for _, s := range []*graph.State{c.K, c.V} {
		g.Assign(s, g.Fill(0, s.Shape...))
	}
}

// Slots says where a step of attention keeps its keys and values, and what it sees.
type Slots struct {
	At   graph.Tensor // i32 [rows]: of all groups' slots, side by side; each different
	Mask graph.Tensor // f32 [groups, rows of a group, slots]: added to the logits
}

// Step is Forward for one token of each of some rows [rows, 1, width]: c has the keys and
// values of those before.
func (b *ResidualAttentionBlock) Step(g *graph.Graph, x graph.Tensor, c KVCache, s Slots) graph.Tensor {
	return b.around(g, x, func(h graph.Tensor) graph.Tensor {
		rows, width := x.Dim(0), x.Dim(2)
		q := b.Attn.queries(g, h)
		kv := g.Reshape(b.Attn.InProjWeight.Rows(g, h, b.Attn.InProjBias, width, 2*width), rows, 2*width)
		k := kv
		if b.Attn.LogitScale != nil || b.Attn.LnK != nil {
			k = g.Reshape(ops.Split(g, kv, 1, width, width)[0], rows, 1, width)
			q, k = b.Attn.normalize(g, q, k)
			k = g.Reshape(k, rows, width)
		}
		ops.SetRows(g, c.K, s.At, k, 0)
		ops.SetRows(g, c.V, s.At, kv, width)
		return b.Attn.recall(g, q, c, s.Mask)
	})
}

// Remember keeps in c what Cross makes of context [groups, slots, width].
func (b *ResidualAttentionBlock) Remember(g *graph.Graph, context graph.Tensor, c KVCache) {
	k, v := b.Attn.keysValues(g, b.Ln1KV.Forward(g, context))
	g.Assign(c.K, k)
	g.Assign(c.V, v)
}

// CrossStep is Cross for one token of each of some rows [rows, 1, width], and the context
// that c has.
func (b *ResidualAttentionBlock) CrossStep(g *graph.Graph, x graph.Tensor, c KVCache) graph.Tensor {
	return b.around(g, x, func(h graph.Tensor) graph.Tensor {
		return b.Attn.recall(g, b.Attn.queries(g, h), c, graph.Tensor{})
	})
}

// recall attends from q [rows, 1, width] to what c has.
func (a *Attention) recall(g *graph.Graph, q graph.Tensor, c KVCache, mask graph.Tensor) graph.Tensor {
	rows, width, groups := q.Dim(0), q.Dim(2), c.K.Shape[0]
	y := ops.Attention(g, g.Reshape(q, groups, rows/groups, width), g.State(c.K), g.State(c.V), mask, a.config(Mask{}))
	return a.finish(g, g.Reshape(y, rows, 1, width))
}

// queries are those of x, where one weight makes queries, keys and values.
func (a *Attention) queries(g *graph.Graph, x graph.Tensor) graph.Tensor {
	return a.InProjWeight.Rows(g, x, a.InProjBias, 0, a.OutProj.Weight.Shape[0])
}

// keysValues are those of context.
func (a *Attention) keysValues(g *graph.Graph, context graph.Tensor) (k, v graph.Tensor) {
	width := a.OutProj.Weight.Shape[0]
	return a.InProjWeight.Rows(g, context, a.InProjBias, width, width), a.InProjWeight.Rows(g, context, a.InProjBias, 2*width, width)
}
