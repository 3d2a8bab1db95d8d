package ops

import (
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

var linearOp = &graph.Op{
	Name: "linear",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		x, w, bias := n.In[0], n.In[1], n.In[2]
		if err := wantF32(n.In...); err != nil {
			return nil, err
		}
		if len(x.Shape()) < 1 || len(w.Shape()) != 2 || x.Dim(-1) != w.Dim(1) {
			return nil, fmt.Errorf("x %v, weight %v: want [..., in] and [out, in]", x.Spec(), w.Spec())
		}
		if bias.Valid() && !slices.Equal(bias.Shape(), graph.Shape{w.Dim(0)}) {
			return nil, fmt.Errorf("weight %v, bias %v: want [out, in] and [out]", w.Spec(), bias.Spec())
		}
		shape := slices.Clone(x.Shape())
		shape[len(shape)-1] = w.Dim(0)
		return []graph.Spec{{Shape: shape}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		rows, in := rowsOf(n.In[0].Shape())
		out := n.In[1].Dim(0)
		return []graph.Launch{gemm{
			m: rows, n: out, k: in, batches: 1, heads: 1,
			a: matrices(rows, in), b: matrices(out, in).t(), c: matrices(rows, out),
			alpha: 1, hasBias: n.In[2].Valid(),
		}.launch(graph.In(0), graph.In(1), graph.In(2), graph.Out(0))}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		x, w := n.In[0], n.In[1]
		rows, in := rowsOf(x.Shape())
		flow := g.Reshape(dy[0], rows, w.Dim(0))
		return []graph.Tensor{
			g.Reshape(MatMul(g, flow, w, false, false), x.Shape()...),
			MatMul(g, flow, g.Reshape(x, rows, in), true, false),
			SumAxis(g, flow, 0),
		}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		rows, width := rowsOf(n.In[0].Shape())
		outs := n.In[1].Dim(0)
		for r := range rows {
			for o := range outs {
				sum := 0.0
				for k := range width {
					sum += in[0][r*width+k] * in[1][o*width+k]
				}
				if in[2] != nil {
					sum += in[2][o]
				}
				out[0][r*outs+o] = sum
			}
		}
	},
}

// Linear records x · wᵀ + bias (torch.nn.Linear): x [..., in], w [out, in] and,
// unless it is the zero Tensor, bias [out] give [..., out].
func Linear(g *graph.Graph, x, w, bias graph.Tensor) graph.Tensor {
	return g.Apply(linearOp, nil, x, w, bias)[0]
}
