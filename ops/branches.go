package ops

import (
	"fmt"
	"math"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// Convolutions of one image whose results are added are one convolution by the sum of
// their weights, each multiplied by the scale of its batch norm (Ding et al., RepVGG,
// 2021). What is here adds the weights of depthwise ones, [taps, out].

// batchNormFoldOp takes weight, bias, mean and variance to y [2, channels].
var batchNormFoldOp = &graph.Op{
	Name: "batchnorm_fold",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		y, err := sameF32(n)
		if err != nil || len(y[0].Shape) != 1 {
			return nil, fmt.Errorf("%s: want four f32 [channels]", specs(n.In))
		}
		return []graph.Spec{{Shape: graph.Shape{2, y[0].Shape[0]}}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		return []graph.Launch{batchNormFold(n.In[0].Dim(0), n.Attr.(float64), graph.In(0), graph.In(1), graph.In(2), graph.In(3), graph.Out(0))}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		db := g.Reshape(Split(g, dy[0], 0, 1, 1)[0], n.In[1].Dim(0))
		dw := g.Apply(batchNormFoldGradOp, n.Attr, n.In[2], n.In[3], dy[0])[0]
		moments := outputs(g.Apply(batchNormMomentsGradOp, n.Attr, n.In[0], n.In[3], dw, db), 2)
		return []graph.Tensor{dw, db, moments[0], moments[1]}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		channels := len(in[0])
		for c := range channels {
			scale := in[0][c] / math.Sqrt(in[3][c]+n.Attr.(float64))
			out[0][c], out[0][channels+c] = in[1][c]-in[2][c]*scale, scale
		}
	},
}

// batchNormFoldGradOp takes mean, variance and dy to dw.
var batchNormFoldGradOp = &graph.Op{
	Name:  "batchnorm_fold_grad",
	Infer: func(n *graph.Node) ([]graph.Spec, error) { return []graph.Spec{n.In[0].Spec()}, nil },
	Lower: func(n *graph.Node) []graph.Launch {
		args := []graph.Arg{graph.In(0), graph.In(1), graph.In(2), graph.Out(0)}
		return []graph.Launch{elementwise(kernel("batchnorm_fold_grad"), n.In[0].Dim(0), args, bits(n.Attr.(float64)))}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		mean, variance, dy := in[0], in[1], in[2]
		for c := range mean {
			out[0][c] = (dy[len(mean)+c] - mean[c]*dy[c]) / math.Sqrt(variance[c]+n.Attr.(float64))
		}
	},
}

// BatchNormFold records what BatchNorm is of every x, x · scale + bias: bias and scale
// [channels].
func BatchNormFold(g *graph.Graph, w, b, mean, variance graph.Tensor, eps float64) (bias, scale graph.Tensor) {
	y := outputs(Split(g, g.Apply(batchNormFoldOp, eps, w, b, mean, variance)[0], 0, 1, 1), 2)
	return g.Reshape(y[0], w.Shape()...), g.Reshape(y[1], w.Shape()...)
}

// addCenteredOp takes a [side², out] and b [small², out] or nothing to their sum; its
// attribute is added to the taps in the middle.
var addCenteredOp = &graph.Op{
	Name: "add_centered",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		a, b := n.In[0].Spec(), n.In[1]
		if err := wantF32(n.In...); err != nil {
			return nil, err
		}
		side, ok := oddSide(a.Shape)
		if small, odd := oddSide(b.Shape()); !ok || b.Valid() && (!odd || small > side || b.Dim(1) != a.Shape[1]) {
			return nil, fmt.Errorf("%s: want [side², out] and [smaller side², out], the sides odd", specs(n.In))
		}
		return []graph.Spec{a}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		side, _ := oddSide(n.In[0].Shape())
		small, _ := oddSide(n.In[1].Shape())
		args := []graph.Arg{graph.In(0), graph.In(1), graph.Out(0)}
		return []graph.Launch{elementwise(kernel("add_centered"), n.Out[0].Shape.Elems(), args,
			uint32(side), uint32(small), uint32(n.In[0].Dim(1)), bits(n.Attr.(float64)))}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		if !n.In[1].Valid() {
			return []graph.Tensor{dy[0], {}}
		}
		side, _ := oddSide(n.In[0].Shape())
		small, _ := oddSide(n.In[1].Shape())
		db := g.Reshape(dy[0], side, side, n.In[0].Dim(1))
		for axis := range 2 {
			if off := (side - small) / 2; off > 0 {
				db = Split(g, db, axis, off, small, off)[1]
			}
		}
		return []graph.Tensor{dy[0], g.Reshape(db, n.In[1].Shape()...)}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		side, _ := oddSide(n.In[0].Shape())
		cols := n.In[0].Dim(1)
		copy(out[0], in[0])
		for o := range cols {
			out[0][side*side/2*cols+o] += n.Attr.(float64)
		}
		small, _ := oddSide(n.In[1].Shape())
		off := (side - small) / 2
		for i := range in[1] {
			tap := i / cols
			out[0][((tap/small+off)*side+tap%small+off)*cols+i%cols] += in[1][i]
		}
	},
}

// oddSide is the side of a square window [side², out].
func oddSide(s graph.Shape) (side int, ok bool) {
	if len(s) != 2 {
		return 0, false
	}
	side = int(math.Sqrt(float64(s[0])) + 0.5)
	return side, side*side == s[0] && side%2 == 1
}

// AddCentered records a [side², out] and, unless it is the zero Tensor, b [smaller side²,
// out] in the middle of a: weights of depthwise convolutions, as Depthwise takes them.
// plus is added to the taps in the middle, which see the pixel itself.
func AddCentered(g *graph.Graph, a, b graph.Tensor, plus float64) graph.Tensor {
	return g.Apply(addCenteredOp, plus, a, b)[0]
}
