package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// batchNormOp takes x, weight, bias, mean and variance to y; its attribute is eps.
var batchNormOp = &graph.Op{
	Name: "batchnorm",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		for _, c := range n.In {
			if !c.Valid() || c.Spec().Element != graph.F32 || len(n.In[0].Shape()) == 0 {
				return nil, fmt.Errorf("%s: want five f32", specs(n.In))
			}
		}
		x := n.In[0].Spec()
		for _, c := range n.In[1:] {
			if !slices.Equal(c.Shape(), x.Shape[len(x.Shape)-1:]) {
				return nil, fmt.Errorf("%s: want [..., channels] and four of [channels]", specs(n.In))
			}
		}
		return []graph.Spec{x}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		args := []graph.Arg{graph.In(0), graph.In(1), graph.In(2), graph.In(3), graph.In(4), graph.Out(0)}
		return []graph.Launch{elementwise(kernel("batchnorm"), n.Out[0].Shape.Elems(), args, uint32(n.In[0].Dim(-1)), bits(n.Attr.(float64)))}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		w, mean, variance := n.In[1], n.In[3], n.In[4]
		d := outputs(g.Apply(batchNormGradOp, n.Attr, n.In[0], w, mean, variance, dy[0]), 3)
		moments := outputs(g.Apply(batchNormMomentsGradOp, n.Attr, w, variance, d[1], d[2]), 2)
		return append(d[:3], moments[:2]...)
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		cols := len(in[1])
		for i, x := range in[0] {
			c := i % cols
			out[0][i] = (x-in[3][c])/math.Sqrt(in[4][c]+n.Attr.(float64))*in[1][c] + in[2][c]
		}
	},
}

// batchNormFold makes y [2, cols] of a normalization's other inputs: it is x·y[1] + y[0].
func batchNormFold(cols int, eps float64, w, b, mean, variance, y graph.Arg) graph.Launch {
	return elementwise(kernel("batchnorm_fold"), cols, []graph.Arg{w, b, mean, variance, y}, bits(eps))
}

// batchNormGradOp takes x, weight, mean, variance and dy to dx, dw and db.
var batchNormGradOp = &graph.Op{
	Name: "batchnorm_grad",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		return []graph.Spec{n.In[0].Spec(), n.In[1].Spec(), n.In[1].Spec()}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		kernel := kernel("batchnorm_grad")
		elems, cols := n.Out[0].Shape.Elems(), n.In[0].Dim(-1)
		columns, rows := 0, 0
		dw, db := graph.None(), graph.None()
		if n.Used(1) || n.Used(2) {
			columns, dw, db = graph.Ceil(cols, tile(kernel)[1]), graph.Out(1), graph.Out(2)
		}
		if n.Used(0) {
			rows = elems
		}
		return []graph.Launch{{
			Kernel: kernel,
			Params: []uint32{uint32(elems), uint32(cols), bits(n.Attr.(float64)), uint32(columns)},
			Args:   []graph.Arg{graph.In(0), graph.In(1), graph.In(2), graph.In(3), graph.In(4), used(n, 0), dw, db},
			Rows:   columns*tile(kernel)[0] + rows,
		}}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		x, w, mean, variance, dy := in[0], in[1], in[2], in[3], in[4]
		for i := range x {
			c := i % len(w)
			rstd := 1 / math.Sqrt(variance[c]+n.Attr.(float64))
			out[0][i] = dy[i] * w[c] * rstd
			out[1][c] += dy[i] * (x[i] - mean[c]) * rstd
			out[2][c] += dy[i]
		}
	},
}

// batchNormMomentsGradOp takes weight, variance, dw and db to dmean and dvariance.
var batchNormMomentsGradOp = &graph.Op{
	Name:  "batchnorm_moments_grad",
	Infer: func(n *graph.Node) ([]graph.Spec, error) { return []graph.Spec{n.In[0].Spec(), n.In[0].Spec()}, nil },
	Lower: func(n *graph.Node) []graph.Launch {
		args := []graph.Arg{graph.In(0), graph.In(1), graph.In(2), graph.In(3), graph.Out(0), graph.Out(1)}
		return []graph.Launch{elementwise(kernel("batchnorm_moments_grad"), n.Out[0].Shape.Elems(), args, bits(n.Attr.(float64)))}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		w, variance, dw, db := in[0], in[1], in[2], in[3]
		for c := range w {
			width := variance[c] + n.Attr.(float64)
			out[0][c], out[1][c] = -w[c]*db[c]/math.Sqrt(width), -w[c]*dw[c]/(2*width)
		}
	},
}

// BatchNorm records (x − mean) / √(variance + eps) · w + b for every channel, the
// last dimension of x [..., channels], with w, b, mean and variance [channels].
// (Ioffe & Szegedy, Batch Normalization, 2015.)
func BatchNorm(g *graph.Graph, x, w, b, mean, variance graph.Tensor, eps float64) graph.Tensor {
	return g.Apply(batchNormOp, eps, x, w, b, mean, variance)[0]
}

// MeanVariance records the mean and the biased variance, both [channels], of every
// channel of x [..., channels].
func MeanVariance(g *graph.Graph, x graph.Tensor) (mean, variance graph.Tensor) {
	rows, cols := rowsOf(x.Shape())
	x = g.Reshape(x, rows, cols)
	mean = MeanAxis(g, x, 0)
	centered := AddBroadcast(g, x, Scale(g, mean, -1), 1)
	return mean, MeanAxis(g, Mul(g, centered, centered), 0)
}
