package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// depthwiseAttr says which depthwise convolution it is.
type depthwiseAttr struct {
	window
	flip bool     // w is read backwards: the gradient of x where the stride is 1
	act  Function // or none
	eps  float64  // of the batch normalization, where it has its inputs
}

// depthwiseOp takes x [batch, height, width, channels], w [taps, out] and bias [out] or
// nothing to y [batch, rows, cols, out]. Neighbouring channels of y are made of one of x
// where out is a multiple of channels. What Build fuses may have BatchNorm's inputs but x
// from 3 on, in place of the bias: output 1 is what BatchNorm makes of them, [bias and
// scale, out].
var depthwiseOp = &graph.Op{
	Name:  "depthwise",
	Infer: inferDepthwise,
	Lower: func(n *graph.Node) []graph.Launch {
		k, x, y := n.Attr.(depthwiseAttr), n.In[0].Shape(), n.Out[0].Shape
		bias, biasRows := graph.In(2), flag(n.In[2].Valid())
		var launches []graph.Launch
		if len(n.In) > 3 {
			bias, biasRows = graph.Out(1), 2
			launches = append(launches, batchNormFold(y[3], k.eps, graph.In(3), graph.In(4), graph.In(5), graph.In(6), bias))
		}
		kernel := kernel("depthwise").With(map[string]any{"SIDE_W": k.w, "STRIDE": k.stride, "FLIP": k.flip, "ACT": int(k.act)})
		runs := y[0] * y[1] * graph.Ceil(y[2], depthwiseCols) * y[3]
		args := []graph.Arg{graph.In(0), graph.In(1), bias, graph.Out(0)}
		return append(launches, elementwise(kernel, runs, args,
			uint32(x[1]), uint32(x[2]), uint32(x[3]), uint32(y[1]), uint32(y[2]), uint32(k.pad), uint32(k.h), uint32(y[3]), biasRows))
	},
	Fuse: fuseDepthwise,
	Ref: func(n *graph.Node, in, out [][]float64) {
		k := n.Attr.(depthwiseAttr)
		k.each(n.In[0].Shape(), n.Out[0].Shape, func(x, w, y int) {
			if k.flip {
				w = len(in[1]) - n.Out[0].Shape[3] - w + 2*(w%n.Out[0].Shape[3])
			}
			out[0][y] += in[0][x] * in[1][w]
		})
		for i, sum := range out[0] {
			o := i % n.Out[0].Shape[3]
			if in[2] != nil {
				sum += in[2][o]
			}
			if len(in) > 3 {
				sum = (sum-in[5][o])/math.Sqrt(in[6][o]+k.eps)*in[3][o] + in[4][o]
			}
			if k.act != none {
				sum = functions[k.act].at(sum)
			}
			out[0][i] = sum
		}
	},
}

// depthwiseCols is COLS in shaders/depthwise.wgsl.
const depthwiseCols = 4

func inferDepthwise(n *graph.Node) ([]graph.Spec, error) {
	x, w, bias, k := n.In[0].Spec(), n.In[1].Spec(), n.In[2], n.Attr.(depthwiseAttr)
	if err := wantF32(n.In...); err != nil {
		return nil, err
	}
	s := x.Shape
	if len(s) != 4 || len(w.Shape) != 2 || w.Shape[0] != k.h*k.w || w.Shape[1]%s[3] != 0 {
		return nil, fmt.Errorf("x %v, weight %v: want [batch, height, width, channels] and [%d·%d, a multiple of channels]", x, w, k.h, k.w)
	}
	if bias.Valid() && !slices.Equal(bias.Shape(), w.Shape[1:]) {
		return nil, fmt.Errorf("weight %v, bias %v: want [taps, out] and [out]", w, bias.Spec())
	}
	if err := k.check(x); err != nil {
		return nil, err
	}
	rows, cols := k.over(s[1], s[2])
	return []graph.Spec{{Shape: graph.Shape{s[0], rows, cols, w.Shape[1]}}}, nil
}

// fuseDepthwise takes a BatchNorm and then a Function into the launch.
func fuseDepthwise(n, user *graph.Node) *graph.Node {
	attr, in, out := n.Attr.(depthwiseAttr), slices.Clone(n.In), slices.Clone(n.Out)
	switch {
	case attr.act != none:
		return nil
	case user.Op == mapOp:
		attr.act = user.Attr.(Function)
	case user.Op == batchNormOp && user.In[0] == n.Output(0) && len(in) == 3 && !in[2].Valid():
		attr.eps = user.Attr.(float64)
		in = append(in, user.In[1:]...)
		out = append(out, graph.Spec{Shape: graph.Shape{2, n.Out[0].Shape[3]}})
	default:
		return nil
	}
	return &graph.Node{Op: n.Op, In: in, Out: out, Attr: attr, Scope: user.Scope}
}

// each calls f for every product of an image x and taps that makes y, with the index of
// each factor and of the sum.
func (k depthwiseAttr) each(x, y graph.Shape, f func(x, w, y int)) {
	out, channels := y[3], x[3]
	spatial := graph.Shape{x[0], x[1], x[2], 1}
	k.window.each(spatial, func(i, pixel int) {
		cell, tap := i/(k.h*k.w), i%(k.h*k.w)
		for o := range out {
			f(pixel*channels+o/(out/channels), tap*out+o, cell*out+o)
		}
	})
}

type depthwiseGradAttr struct {
	x graph.Shape
	k window
}

// depthwiseGradOp takes dy and w to dx.
var depthwiseGradOp = &graph.Op{
	Name: "depthwise_grad",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		return []graph.Spec{{Shape: n.Attr.(depthwiseGradAttr).x}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		attr := n.Attr.(depthwiseGradAttr)
		params := append(attr.k.params(attr.x), uint32(attr.k.h), uint32(attr.k.w), uint32(n.In[0].Dim(3)/attr.x[3]))
		return []graph.Launch{elementwise(kernel("depthwise_grad"), attr.x.Elems(), []graph.Arg{graph.In(0), graph.In(1), graph.Out(0)}, params...)}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		attr := n.Attr.(depthwiseGradAttr)
		depthwiseAttr{window: attr.k}.each(attr.x, n.In[0].Shape(), func(x, w, y int) { out[0][x] += in[0][y] * in[1][w] })
	},
}

// depthwiseWeightGradOp takes dy and x to dw [taps, out]. Output 1 holds the sums over
// slices of the rows.
var depthwiseWeightGradOp = &graph.Op{
	Name: "depthwise_weight_grad",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		k, dy := n.Attr.(window), n.In[0].Shape()
		count, _ := imageRowSlices(dy[0] * dy[1])
		return []graph.Spec{{Shape: graph.Shape{k.h * k.w, dy[3]}}, {Shape: graph.Shape{count, k.h * k.w, dy[3]}}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		k, x, dy := n.Attr.(window), n.In[1].Shape(), n.In[0].Shape()
		lines := dy[0] * dy[1]
		count, size := imageRowSlices(lines)
		kernel := kernel("depthwise_weight_grad").With(map[string]any{"SIDE_W": k.w})
		params := append(k.params(x), uint32(k.h), uint32(dy[3]), uint32(lines), uint32(size))
		part := elementwise(kernel, count*k.h*dy[3], []graph.Arg{graph.In(0), graph.In(1), graph.Out(1)}, params...)
		return append([]graph.Launch{part}, sumPasses(1, count, k.h*k.w*dy[3], 1, graph.Out(1), graph.Out(0), 2)...)
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		k := depthwiseAttr{window: n.Attr.(window)}
		k.each(n.In[1].Shape(), n.In[0].Shape(), func(x, w, y int) { out[0][w] += in[0][y] * in[1][x] })
	},
}

// imageRowSlices parts the rows of images so that adding up what is made of each is one
// pass.
func imageRowSlices(rows int) (count, size int) {
	size = graph.Ceil(rows, sumTerms)
	return graph.Ceil(rows, size), size
}

func init() { // the op is a part of its own gradient
	depthwiseOp.VJP = func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		x, w, k := n.In[0], n.In[1], n.Attr.(depthwiseAttr)
		var dx, db graph.Tensor
		if back := k.h - 1 - k.pad; !k.flip && k.stride == 1 && k.h == k.w && back >= 0 && w.Dim(1) == x.Dim(3) {
			dx = g.Apply(depthwiseOp, depthwiseAttr{window: window{k.h, k.w, 1, back}, flip: true, act: none}, dy[0], w, graph.Tensor{})[0]
		} else {
			dx = g.Apply(depthwiseGradOp, depthwiseGradAttr{x.Shape(), k.window}, dy[0], w)[0]
		}
		if n.In[2].Valid() {
			db = sumBroadcast(g, dy[0], n.In[2].Shape(), 1)
		}
		return []graph.Tensor{dx, g.Apply(depthwiseWeightGradOp, k.window, dy[0], x)[0], db}
	}
}

// DepthwiseConv2D records a convolution in which each channel has kernels of its own:
// torch.nn.Conv2d with as many groups as channels. It takes x [batch, height, width,
// channels] and w [out, 1, kernel height, kernel width] to [batch, rows, cols, out]. out is
// a multiple of channels. bias is [out], or the zero Tensor. On every side x has padding
// pixels of zeros.
func DepthwiseConv2D(g *graph.Graph, x, w, bias graph.Tensor, stride, padding int) graph.Tensor {
	if s := w.Shape(); g.Err() == nil && (len(s) != 4 || s[1] != 1) {
		g.Fail("depthwise: weight %v: want [out, 1, height, width]", w.Spec())
	}
	return Depthwise(g, x, TapsFirst(g, w), bias, w.Dim(2), stride, padding)
}

// TapsFirst records w [out, 1, height, width] as Depthwise takes it: [height·width, out],
// which lets neighbours read neighbours.
func TapsFirst(g *graph.Graph, w graph.Tensor) graph.Tensor {
	return Transpose(g, g.Reshape(w, w.Dim(0), w.Shape().Elems()/w.Dim(0)))
}

// Depthwise is DepthwiseConv2D by a weight [kernelH·kernel width, out], which may be
// computed.
func Depthwise(g *graph.Graph, x, w, bias graph.Tensor, kernelH, stride, padding int) graph.Tensor {
	k := window{kernelH, w.Dim(0) / max(1, kernelH), stride, padding}
	return g.Apply(depthwiseOp, depthwiseAttr{window: k, act: none}, x, w, bias)[0]
}

// scaleChannelsOp takes x [batch, …, channels] and s [batch, channels] to x · s.
var scaleChannelsOp = &graph.Op{
	Name: "scale_channels",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		x, s := n.In[0], n.In[1]
		if err := wantF32(n.In...); err != nil {
			return nil, err
		}
		if len(x.Shape()) < 2 || !slices.Equal(s.Shape(), graph.Shape{x.Dim(0), x.Dim(-1)}) {
			return nil, fmt.Errorf("%s: want [batch, …, channels] and [batch, channels]", specs(n.In))
		}
		return []graph.Spec{x.Spec()}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		batch, channels, elems := n.In[0].Dim(0), n.In[0].Dim(-1), n.Out[0].Shape.Elems()
		args := []graph.Arg{graph.In(0), graph.In(1), graph.Out(0)}
		return []graph.Launch{elementwise(kernel("scale_channels"), elems, args, uint32(elems/(batch*channels)), uint32(channels))}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		x, s := n.In[0], n.In[1]
		flow := g.Reshape(Mul(g, dy[0], x), s.Dim(0), x.Shape().Elems()/s.Shape().Elems(), s.Dim(1))
		return []graph.Tensor{g.Apply(n.Op, nil, dy[0], s)[0], SumAxis(g, flow, 1)}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		channels := n.In[1].Dim(1)
		item := len(in[0]) / n.In[1].Dim(0)
		for i, x := range in[0] {
			out[0][i] = x * in[1][i/item*channels+i%channels]
		}
	},
}

// ScaleChannels records x [batch, …, channels] · s [batch, channels]: every channel of
// every item has a factor (Hu et al., Squeeze-and-Excitation Networks, 2018).
func ScaleChannels(g *graph.Graph, x, s graph.Tensor) graph.Tensor {
	return g.Apply(scaleChannelsOp, nil, x, s)[0]
}
