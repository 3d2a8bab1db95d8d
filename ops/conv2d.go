package ops

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// window is what a convolution sees of an image: the sides of its kernel, the
// distance of neighbouring windows and how many pixels of zeros surround the
// image.
type window struct{ h, w, stride, pad int }

// over are the numbers of windows down and across an image.
func (k window) over(height, width int) (rows, cols int) {
	return (height+2*k.pad-k.h)/k.stride + 1, (width+2*k.pad-k.w)/k.stride + 1
}

// check refuses windows of which an image has none.
func (k window) check(x graph.Spec) error {
	if s := x.Shape; k.h < 1 || k.w < 1 || k.stride < 1 || k.pad < 0 || k.h > s[1]+2*k.pad || k.w > s[2]+2*k.pad {
		return fmt.Errorf("x %v, windows of %d×%d, stride %d, padding %d: want at least one window", x, k.h, k.w, k.stride, k.pad)
	}
	return nil
}

var unfoldOp = &graph.Op{
	Name: "unfold",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		x, k := n.In[0].Spec(), n.Attr.(window)
		if len(x.Shape) != 4 || x.Element != graph.F32 {
			return nil, fmt.Errorf("x %v: want f32 [batch, height, width, channels]", x)
		}
		if err := k.check(x); err != nil {
			return nil, err
		}
		s := x.Shape
		rows, cols := k.over(s[1], s[2])
		return []graph.Spec{{Shape: graph.Shape{s[0], rows, cols, s[3] * k.h * k.w}}}, nil
	},
	Fuse: fuseUnfold,
	Lower: func(n *graph.Node) []graph.Launch {
		k := n.Attr.(window)
		return []graph.Launch{k.launch(kernel("unfold"), n.Out[0].Shape.Elems()/(k.h*k.w), n.In[0].Shape())}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		return g.Apply(unfoldGradOp, unfoldGradAttr{n.In[0].Shape(), n.Attr.(window)}, dy[0])
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		n.Attr.(window).each(n.In[0].Shape(), func(i, pixel int) { out[0][i] = in[0][pixel] })
	},
}

// fuseUnfold has a GPU's kernels of a packed weight read windows from the image, which
// saves their memory: 8 images in RN50 take 82 MB of activations, not 180. Software
// drivers unfold: their linear_step would look for every number whether it lies in the
// image.
func fuseUnfold(n, user *graph.Node) *graph.Node {
	if n.Adapter() == graph.CPU || user.Op != linearOp || user.In[0] != n.Output(0) {
		return nil
	}
	if w := user.In[1].State(); w == nil || !w.Packed() {
		return nil
	}
	attr := user.Attr.(linearAttr)
	attr.window = n.Attr.(window)
	in := append([]graph.Tensor{n.In[0]}, user.In[1:]...)
	out := append([]graph.Spec{user.Out[0]}, padded(n.In[0].Shape())...)
	return &graph.Node{Op: user.Op, In: in, Out: out, Attr: attr}
}

func (k window) launch(kernel shaders.Variant, count int, x graph.Shape) graph.Launch {
	p := k.params(x)
	return elementwise(kernel, count, []graph.Arg{graph.In(0), graph.Out(0)}, append(p, uint32(k.h), uint32(k.w))...)
}

// params say how kernels find the windows of x.
func (k window) params(x graph.Shape) []uint32 {
	rows, cols := k.over(x[1], x[2])
	return []uint32{
		uint32(x[1]), uint32(x[2]), uint32(x[3]), uint32(rows), uint32(cols), uint32(k.stride), uint32(k.pad),
	}
}

// unfolded are the windows of an image's values.
func (k window) unfolded(x graph.Shape, image []float64) []float64 {
	rows, cols := k.over(x[1], x[2])
	all := make([]float64, x[0]*rows*cols*x[3]*k.h*k.w)
	k.each(x, func(i, pixel int) { all[i] = image[pixel] })
	return all
}

// each calls f for every element of every window that lies within the image, not in
// the padding. i is the element's index in the unfolded output, pixel its index in the
// image.
func (k window) each(x graph.Shape, f func(i, pixel int)) {
	height, width, channels := x[1], x[2], x[3]
	rows, cols := k.over(height, width)
	size := channels * k.h * k.w
	for cell := range x[0] * rows * cols {
		for e := range size {
			row := cell/cols%rows*k.stride + e/k.w%k.h - k.pad
			col := cell%cols*k.stride + e%k.w - k.pad
			if row >= 0 && row < height && col >= 0 && col < width {
				f(cell*size+e, ((cell/(rows*cols)*height+row)*width+col)*channels+e/(k.h*k.w))
			}
		}
	}
}

type unfoldGradAttr struct {
	x graph.Shape
	k window
}

// unfoldGradOp adds the windows up to an image.
var unfoldGradOp = &graph.Op{
	Name: "unfold_grad",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		return []graph.Spec{{Shape: n.Attr.(unfoldGradAttr).x}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		attr := n.Attr.(unfoldGradAttr)
		return []graph.Launch{attr.k.launch(kernel("unfold_grad"), attr.x.Elems(), attr.x)}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		attr := n.Attr.(unfoldGradAttr)
		attr.k.each(attr.x, func(i, pixel int) { out[0][pixel] += in[0][i] })
	},
}

// Conv2D records the convolution (torch.nn.Conv2d of one group) of x [batch,
// height, width, channels], the channels last, with w [out, channels, kernel
// height, kernel width] and, unless it is the zero Tensor, bias [out]: [batch,
// rows, cols, out]. padding pixels of zeros surround x on every side. It is a
// Linear of what Unfold gives.
func Conv2D(g *graph.Graph, x, w, bias graph.Tensor, stride, padding int) graph.Tensor {
	if s := w.Shape(); g.Err() == nil && (len(s) != 4 || len(x.Shape()) != 4 || s[1] != x.Dim(3)) {
		g.Fail("conv2d: x %v, weight %v: want [batch, height, width, channels] and [out, channels, height, width]", x.Spec(), w.Spec())
	}
	return Linear(g, Unfold(g, x, w.Dim(2), w.Dim(3), stride, padding), w, bias)
}

// Unfold records the windows of x [batch, height, width, channels] that a
// convolution's kernel sees, with padding pixels of zeros on every side of x:
// [batch, rows, cols, channels·kernelH·kernelW], each in the order of an OIHW
// weight. It is x itself where a window is a pixel.
func Unfold(g *graph.Graph, x graph.Tensor, kernelH, kernelW, stride, padding int) graph.Tensor {
	k := window{kernelH, kernelW, stride, padding}
	if k == (window{1, 1, 1, 0}) {
		return x
	}
	return g.Apply(unfoldOp, k, x)[0]
}
