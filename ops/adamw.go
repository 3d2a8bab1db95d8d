package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// hyperSize is the length of AdamW's hyper.
const hyperSize = 7

var adamWOp = &graph.Op{
	Name:   "adamw",
	Packed: []int{0},
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		p, hyper := n.In[0].Spec(), n.In[4].Spec()
		for _, t := range n.In[:4] {
			if !t.Valid() || t.Spec().DType != graph.F32 || !slices.Equal(t.Shape(), p.Shape) {
				return nil, fmt.Errorf("%s: want p, grad, m and v in f32 of one shape", specs(n.In))
			}
		}
		if hyper.DType != graph.F32 || !slices.Equal(hyper.Shape, graph.Shape{hyperSize}) {
			return nil, fmt.Errorf("hyper %v: want f32 [%d]", hyper, hyperSize)
		}
		if s := n.In[0].State(); s != nil {
			if err := s.Trainable(); err != nil {
				return nil, err
			}
		}
		return []graph.Spec{p, p, p}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		args := []graph.Arg{
			graph.In(0), graph.In(1), graph.In(2), graph.In(3), graph.In(4),
			graph.Out(0), graph.Out(1), graph.Out(2),
		}
		return n.PerChunk(n.Out[0], func(c graph.Chunk) graph.Launch {
			w := n.Packing(n.In[0].State())
			return elementwise(kernel("adamw").With(w.Arrangement.Consts()), c.Elems, args, append([]uint32{flag(n.Attr.(bool))}, w.Places()...)...)
		})
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		h := in[4]
		lr, rate1, rate2, eps, decay, bias1, bias2 := h[0], h[1], h[2], h[3], h[4], h[5], h[6]
		if !n.Attr.(bool) {
			decay = 0
		}
		for i, p := range in[0] {
			grad := in[1][i]
			m := in[2][i] + rate1*(grad-in[2][i])
			v := in[3][i] + rate2*(grad*grad-in[3][i])
			out[0][i] = p*(1-lr*decay) - lr/bias1*m/(math.Sqrt(v/bias2)+eps)
			out[1][i], out[2][i] = m, v
		}
	},
}

// AdamW records one step of torch.optim.AdamW on a parameter p with its
// gradient and moments m and v, all of one shape, and returns their new values:
// weight decay first, decoupled (Loshchilov & Hutter, 2019), then Adam's step
// (Kingma & Ba, 2015). hyper, f32 [7], holds the learning rate, 1 − β₁,
// 1 − β₂ (small numbers that f32 holds better than their complements), ε, the
// weight decay, 1 − β₁ᵗ and 1 − β₂ᵗ for step t ≥ 1, so that one program serves
// every step. p may be a packed State in f32; all else is row-major. Without decay the weight decay counts as 0. No gradient flows.
func AdamW(g *graph.Graph, p, grad, m, v, hyper graph.Tensor, decay bool) (p2, m2, v2 graph.Tensor) {
	out := outputs(g.Apply(adamWOp, decay, p, grad, m, v, hyper), 3)
	return out[0], out[1], out[2]
}
