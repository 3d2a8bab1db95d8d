package ops

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// avgPool2DOp's attribute is the side of its windows.
var avgPool2DOp = &graph.Op{
	Name: "avgpool2d",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		x, side := n.In[0].Spec(), n.Attr.(int)
		if len(x.Shape) != 4 || x.Element != graph.F32 {
			return nil, fmt.Errorf("x %v: want f32 [batch, height, width, channels]", x)
		}
		if side < 1 || side > x.Shape[1] || side > x.Shape[2] {
			return nil, fmt.Errorf("x %v, windows of %d×%d: want at least one whole window", x, side, side)
		}
		s := x.Shape
		return []graph.Spec{{Shape: graph.Shape{s[0], s[1] / side, s[2] / side, s[3]}}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		return []graph.Launch{poolLaunch(kernel("avgpool2d"), n.Out[0].Shape.Elems(), n.In[0].Shape(), n.Attr.(int))}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		return g.Apply(avgPool2DGradOp, poolGradAttr{n.In[0].Shape(), n.Attr.(int)}, dy[0])
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		side := n.Attr.(int)
		eachPooled(n.In[0].Shape(), side, func(x, y int) { out[0][y] += in[0][x] / float64(side*side) })
	},
}

func poolLaunch(k shaders.Variant, count int, x graph.Shape, side int) graph.Launch {
	return elementwise(k, count, []graph.Arg{graph.In(0), graph.Out(0)}, uint32(x[1]), uint32(x[2]), uint32(x[3]), uint32(side))
}

// eachPooled calls f for every element of the input that lies in a window, with its
// index x in the input and the index y of that window's mean in the output.
func eachPooled(shape graph.Shape, side int, f func(x, y int)) {
	height, width, channels := shape[1], shape[2], shape[3]
	rows, cols := height/side, width/side
	for i := range shape.Elems() {
		cell := i / channels
		row, col := cell/width%height/side, cell%width/side
		if row < rows && col < cols {
			f(i, ((cell/(width*height)*rows+row)*cols+col)*channels+i%channels)
		}
	}
}

type poolGradAttr struct {
	x    graph.Shape
	side int
}

// avgPool2DGradOp takes dy to dx.
var avgPool2DGradOp = &graph.Op{
	Name:  "avgpool2d_grad",
	Infer: func(n *graph.Node) ([]graph.Spec, error) { return []graph.Spec{{Shape: n.Attr.(poolGradAttr).x}}, nil },
	Lower: func(n *graph.Node) []graph.Launch {
		attr := n.Attr.(poolGradAttr)
		return []graph.Launch{poolLaunch(kernel("avgpool2d_grad"), attr.x.Elems(), attr.x, attr.side)}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		attr := n.Attr.(poolGradAttr)
		eachPooled(attr.x, attr.side, func(x, y int) { out[0][x] = in[0][y] / float64(attr.side*attr.side) })
	},
}

// AvgPool2D records the means of x [batch, height, width, channels] over windows
// of side × side pixels that adjoin (torch.nn.AvgPool2d(side), channels last):
// [batch, height/side, width/side, channels]. Pixels beyond the last whole
// window are dropped.
func AvgPool2D(g *graph.Graph, x graph.Tensor, side int) graph.Tensor {
	return g.Apply(avgPool2DOp, side, x)[0]
}
