package ops

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// avgPool2DOp's attribute is its window.
var avgPool2DOp = &graph.Op{
	Name: "avgpool2d",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		x, k := n.In[0].Spec(), n.Attr.(window)
		if len(x.Shape) != 4 || x.Element != graph.F32 {
			return nil, fmt.Errorf("x %v: want f32 [batch, height, width, channels]", x)
		}
		if err := k.check(x); err != nil {
			return nil, err
		}
		if k.pad >= k.h {
			return nil, fmt.Errorf("windows of %d×%d, padding %d: want windows that see the image", k.h, k.w, k.pad)
		}
		s := x.Shape
		rows, cols := k.over(s[1], s[2])
		return []graph.Spec{{Shape: graph.Shape{s[0], rows, cols, s[3]}}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		return []graph.Launch{poolLaunch(kernel("avgpool2d"), n.Out[0].Shape.Elems(), n.In[0].Shape(), n.Attr.(window))}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		return g.Apply(avgPool2DGradOp, unfoldGradAttr{n.In[0].Shape(), n.Attr.(window)}, dy[0])
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		k, x := n.Attr.(window), n.In[0].Shape()
		k.eachPooled(x, func(x, y int, share float64) { out[0][y] += share * in[0][x] })
	},
}

func poolLaunch(kernel shaders.Variant, count int, x graph.Shape, k window) graph.Launch {
	return elementwise(kernel, count, []graph.Arg{graph.In(0), graph.Out(0)}, append(k.params(x), uint32(k.h))...)
}

// eachPooled calls f for every element of the image x that lies in a window, with the
// index of that window's mean in the output and the element's share in it.
func (k window) eachPooled(shape graph.Shape, f func(x, y int, share float64)) {
	channels := shape[3]
	spatial := graph.Shape{shape[0], shape[1], shape[2], 1}
	counts := map[int]int{}
	k.each(spatial, func(i, _ int) { counts[i/(k.h*k.w)]++ })
	k.each(spatial, func(i, pixel int) {
		cell := i / (k.h * k.w)
		for c := range channels {
			f(pixel*channels+c, cell*channels+c, 1/float64(counts[cell]))
		}
	})
}

// avgPool2DGradOp takes dy to dx.
var avgPool2DGradOp = &graph.Op{
	Name: "avgpool2d_grad",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		return []graph.Spec{{Shape: n.Attr.(unfoldGradAttr).x}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		attr := n.Attr.(unfoldGradAttr)
		return []graph.Launch{poolLaunch(kernel("avgpool2d_grad"), attr.x.Elems(), attr.x, attr.k)}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		attr := n.Attr.(unfoldGradAttr)
		attr.k.eachPooled(attr.x, func(x, y int, share float64) { out[0][x] += share * in[0][y] })
	},
}

// AvgPool2D records the means of x [batch, height, width, channels] over windows of side ×
// side pixels, stride apart (torch.nn.AvgPool2d with count_include_pad=False, channels
// last): [batch, rows, cols, channels]. padding pixels on every side of x widen the
// windows' range and take no part in the means, nor do pixels beyond the last whole window.
func AvgPool2D(g *graph.Graph, x graph.Tensor, side, stride, padding int) graph.Tensor {
	return g.Apply(avgPool2DOp, window{side, side, stride, padding}, x)[0]
}
