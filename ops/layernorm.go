package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// layerNormOp's outputs 1 and 2 are each row's mean and reciprocal deviation.
var layerNormOp = &graph.Op{
	Name: "layernorm",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		if err := wantF32(n.In...); err != nil {
			return nil, err
		}
		y, err := likeRows(n.In[0])
		if err != nil {
			return nil, err
		}
		for _, w := range n.In[1:] {
			if w.Valid() && !slices.Equal(w.Shape(), graph.Shape{n.In[0].Dim(-1)}) {
				return nil, fmt.Errorf("x %v, weight or bias %v: want [..., cols] and [cols]", n.In[0].Spec(), w.Spec())
			}
		}
		rows, _ := rowsOf(n.In[0].Shape())
		stat := graph.Spec{Shape: graph.Shape{rows}}
		return append(y, stat, stat), nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		rows, cols := rowsOf(n.In[0].Shape())
		candidates := tuned("layernorm") // few invocations a row, or a GPU that waits less
		if !n.Software() && cols >= 256 {
			slices.Reverse(candidates)
		}
		return []graph.Launch{{
			Kernel: chooseKernel(n, fmt.Sprintf("layernorm %d×%d", powerOfTwo(rows), cols), candidates),
			Params: []uint32{uint32(rows), uint32(cols), bits(n.Attr.(float64)), flag(n.In[1].Valid()), flag(n.In[2].Valid())},
			Args:   []graph.Arg{graph.In(0), graph.In(1), graph.In(2), graph.Out(0), graph.Out(1), graph.Out(2)},
			Rows:   rows,
		}}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		d := outputs(g.Apply(layerNormGradOp, nil, n.In[0], n.In[1], n.Output(1), n.Output(2), dy[0]), 2)
		rows, cols := rowsOf(n.In[0].Shape())
		var dw graph.Tensor
		if n.In[1].Valid() {
			dw = SumAxis(g, d[1], 0)
		}
		return []graph.Tensor{d[0], dw, SumAxis(g, g.Reshape(dy[0], rows, cols), 0)}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		rows, cols := rowsOf(n.In[0].Shape())
		for r := range rows {
			x, y := in[0][r*cols:(r+1)*cols], out[0][r*cols:(r+1)*cols]
			mean, squares := 0.0, 0.0
			for _, v := range x {
				mean += v / float64(cols)
			}
			for _, v := range x {
				squares += (v - mean) * (v - mean) / float64(cols)
			}
			rstd := 1 / math.Sqrt(squares+n.Attr.(float64))
			for j, v := range x {
				y[j] = (v - mean) * rstd
				if in[1] != nil {
					y[j] *= in[1][j]
				}
				if in[2] != nil {
					y[j] += in[2][j]
				}
			}
			out[1][r], out[2][r] = mean, rstd
		}
	},
}

// layerNormGradOp takes x, weight, mean, rstd and dy to dx and, where there is a
// weight, each row's part of its gradient, [rows, cols].
var layerNormGradOp = &graph.Op{
	Name: "layernorm_grad",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		out := []graph.Spec{n.In[0].Spec()}
		if n.In[1].Valid() {
			rows, cols := rowsOf(n.In[0].Shape())
			out = append(out, graph.Spec{Shape: graph.Shape{rows, cols}})
		}
		return out, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		rows, cols := rowsOf(n.In[0].Shape())
		dw := graph.None()
		if n.In[1].Valid() {
			dw = graph.Out(1)
		}
		return []graph.Launch{{
			Kernel: kernel("layernorm_grad"),
			Params: []uint32{uint32(rows), uint32(cols), flag(n.In[1].Valid())},
			Args:   []graph.Arg{graph.In(0), graph.In(1), graph.In(2), graph.In(3), graph.In(4), graph.Out(0), dw},
			Rows:   rows,
		}}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		_, cols := rowsOf(n.In[0].Shape())
		x, w, mean, rstd, dy := in[0], in[1], in[2], in[3], in[4]
		for r := range mean {
			unit := func(j int) float64 { return (x[r*cols+j] - mean[r]) * rstd[r] }
			weighted := func(j int) float64 { return dy[r*cols+j] }
			if w != nil {
				weighted = func(j int) float64 { return dy[r*cols+j] * w[j] }
				for j := range cols {
					out[1][r*cols+j] = dy[r*cols+j] * unit(j)
				}
			}
			sum, along := 0.0, 0.0
			for j := range cols {
				sum += weighted(j) / float64(cols)
				along += weighted(j) * unit(j) / float64(cols)
			}
			for j := range cols {
				out[0][r*cols+j] = rstd[r] * (weighted(j) - sum - unit(j)*along)
			}
		}
	},
}

// LayerNorm records (x − mean) / √(variance + eps) · w + b over the last
// dimension of x [..., cols], with the biased variance; w and b, [cols], may be
// absent. (Ba, Kiros & Hinton, Layer Normalization, 2016.)
func LayerNorm(g *graph.Graph, x, w, b graph.Tensor, eps float64) graph.Tensor {
	return g.Apply(layerNormOp, eps, x, w, b)[0]
}
