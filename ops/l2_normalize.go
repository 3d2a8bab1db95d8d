package ops

import (
	"math"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// l2NormalizeOp's output 1 is each row's norm.
var l2NormalizeOp = &graph.Op{
	Name: "l2_normalize",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		y, err := likeRows(n.In[0])
		rows, _ := rowsOf(n.In[0].Shape())
		return append(y, graph.Spec{Shape: graph.Shape{rows}}), err
	},
	Lower: func(n *graph.Node) []graph.Launch {
		rows, cols := rowsOf(n.In[0].Shape())
		return []graph.Launch{{
			Kernel: kernel("l2_normalize"),
			Params: []uint32{uint32(rows), uint32(cols), bits(n.Attr.(float64))},
			Args:   []graph.Arg{graph.In(0), graph.Out(0), graph.Out(1)},
			Rows:   rows,
		}}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		return g.Apply(l2NormalizeGradOp, n.Attr, n.Output(0), n.Output(1), dy[0])
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		rows, cols := rowsOf(n.In[0].Shape())
		for r := range rows {
			squares := 0.0
			for _, v := range in[0][r*cols : (r+1)*cols] {
				squares += v * v
			}
			norm := math.Sqrt(squares)
			for i := r * cols; i < (r+1)*cols; i++ {
				out[0][i] = in[0][i] / max(norm, n.Attr.(float64))
			}
			out[1][r] = norm
		}
	},
}

// l2NormalizeGradOp takes y, the norms and dy to dx.
var l2NormalizeGradOp = &graph.Op{
	Name: "l2_normalize_grad",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		return []graph.Spec{n.In[0].Spec()}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		rows, cols := rowsOf(n.In[0].Shape())
		return []graph.Launch{{
			Kernel: kernel("l2_normalize_grad"),
			Params: []uint32{uint32(rows), uint32(cols), bits(n.Attr.(float64))},
			Args:   []graph.Arg{graph.In(0), graph.In(1), graph.In(2), graph.Out(0)},
			Rows:   rows,
		}}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		rows, cols := rowsOf(n.In[0].Shape())
		y, dy, eps := in[0], in[2], n.Attr.(float64)
		for r := range rows {
			norm, dot := in[1][r], 0.0
			if norm == 0 {
				continue
			}
			for i := r * cols; i < (r+1)*cols && norm >= eps; i++ {
				dot += y[i] * dy[i]
			}
			for i := r * cols; i < (r+1)*cols; i++ {
				out[0][i] = (dy[i] - y[i]*dot) / max(norm, eps)
			}
		}
	},
}

// NormalizeEps is the least norm that torch's F.normalize divides by, so that a
// zero vector stays zero.
const NormalizeEps = 1e-12

// L2Normalize records x / max(‖x‖₂, eps) over the last dimension
// (torch.nn.functional.normalize). The zero vector gives zeros, and zeros as
// its gradient.
func L2Normalize(g *graph.Graph, x graph.Tensor, eps float64) graph.Tensor {
	return g.Apply(l2NormalizeOp, eps, x)[0]
}
