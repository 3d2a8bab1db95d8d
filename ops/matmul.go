package ops

import (
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

type matmulAttr struct{ transA, transB bool }

// matmulDims reads m, n, k of a product and both operands' depths off the
// shapes, after transposition.
func matmulDims(n *graph.Node) (m, cols, k, kb int) {
	attr := n.Attr.(matmulAttr)
	a, b := n.In[0], n.In[1]
	m, k = a.Dim(-2), a.Dim(-1)
	if attr.transA {
		m, k = k, m
	}
	kb, cols = b.Dim(-2), b.Dim(-1)
	if attr.transB {
		kb, cols = cols, kb
	}
	return m, cols, k, kb
}

func batchesOf(t graph.Tensor) int { return t.Shape().Elems() / (t.Dim(-1) * t.Dim(-2)) }

var matmulOp = &graph.Op{
	Name: "matmul",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		if err := wantF32(n.In...); err != nil {
			return nil, err
		}
		a, b, attr := n.In[0].Shape(), n.In[1].Shape(), n.Attr.(matmulAttr)
		rank := len(a)
		if rank < 2 || rank > 3 || len(b) != rank || !slices.Equal(a[:rank-2], b[:rank-2]) {
			return nil, fmt.Errorf("a %v, b %v: want two matrices, or two batches of as many", n.In[0].Spec(), n.In[1].Spec())
		}
		m, cols, ka, kb := matmulDims(n)
		if ka != kb {
			return nil, fmt.Errorf("a %v (transposed: %t), b %v (transposed: %t): the inner dimensions are %d and %d",
				n.In[0].Spec(), attr.transA, n.In[1].Spec(), attr.transB, ka, kb)
		}
		return []graph.Spec{{Shape: append(slices.Clone(a[:rank-2]), m, cols)}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		attr := n.Attr.(matmulAttr)
		a, b := n.In[0], n.In[1]
		m, cols, k, _ := matmulDims(n)
		p := gemm{
			m: m, n: cols, k: k, batches: batchesOf(a), heads: 1,
			a: matrices(a.Dim(-2), a.Dim(-1)), b: matrices(b.Dim(-2), b.Dim(-1)), c: matrices(m, cols),
			alpha: 1,
		}
		if attr.transA {
			p.a = p.a.t()
		}
		if attr.transB {
			p.b = p.b.t()
		}
		return []graph.Launch{p.choose(n, graph.In(0), graph.In(1), graph.None(), graph.Out(0))}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		attr := n.Attr.(matmulAttr)
		a, b := n.In[0], n.In[1]
		// Not MatMul: it refers to this literal.
		product := func(a, b graph.Tensor, transA, transB bool) graph.Tensor {
			return g.Apply(n.Op, matmulAttr{transA, transB}, a, b)[0]
		}
		var da, db graph.Tensor
		if attr.transA {
			da = product(b, dy[0], attr.transB, true)
		} else {
			da = product(dy[0], b, false, !attr.transB)
		}
		if attr.transB {
			db = product(dy[0], a, true, attr.transA)
		} else {
			db = product(a, dy[0], !attr.transA, false)
		}
		return []graph.Tensor{da, db}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		attr := n.Attr.(matmulAttr)
		m, cols, k, _ := matmulDims(n)
		at := func(x []float64, rows, cols, batch, r, c int, trans bool) float64 {
			if trans {
				return x[batch*rows*cols+c*rows+r]
			}
			return x[batch*rows*cols+r*cols+c]
		}
		for i := range out[0] {
			batch, r, c := i/(m*cols), i/cols%m, i%cols
			for j := range k {
				out[0][i] += at(in[0], m, k, batch, r, j, attr.transA) * at(in[1], k, cols, batch, j, c, attr.transB)
			}
		}
	},
}

// MatMul records a · b, either operand transposed first where asked: after that
// a [m, k] and b [k, n] give [m, n], and [batch, m, k] with [batch, k, n] give
// [batch, m, n].
func MatMul(g *graph.Graph, a, b graph.Tensor, transA, transB bool) graph.Tensor {
	return g.Apply(matmulOp, matmulAttr{transA, transB}, a, b)[0]
}
