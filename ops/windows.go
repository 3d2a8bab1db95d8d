package ops

import (
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// WindowConfig says how an image is cut into windows.
type WindowConfig struct {
	Height, Width int // of a window
	// ShiftY and ShiftX are how many rows and columns of the image first move from its
	// start to its end: less than it has.
	ShiftY, ShiftX int
	ByColumn       bool // a window's tokens lie column by column, not row by row
}

// windowsAttr is a WindowConfig, the image [batch, height, width, channels], and whether
// windows are put together to it.
type windowsAttr struct {
	WindowConfig
	image graph.Shape
	back  bool
}

// grid is how many rows and columns of windows cover the image.
func (a windowsAttr) grid() (rows, cols int) {
	return graph.Ceil(a.image[1], a.Height), graph.Ceil(a.image[2], a.Width)
}

func (a windowsAttr) windows() graph.Shape {
	rows, cols := a.grid()
	return graph.Shape{a.image[0] * rows * cols, a.Height * a.Width, a.image[3]}
}

// windowsOp cuts images into windows, or puts these together. Each is the other's gradient.
var windowsOp = &graph.Op{
	Name: "windows",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		a := n.Attr.(windowsAttr)
		if err := a.check(); err != nil {
			return nil, err
		}
		from, to := a.image, a.windows()
		if a.back {
			from, to = to, from
		}
		if x := n.In[0].Spec(); x.Element != graph.F32 || !slices.Equal(x.Shape, from) {
			return nil, fmt.Errorf("%v: want f32 %v", x, from)
		}
		return []graph.Spec{{Shape: to}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		a := n.Attr.(windowsAttr)
		v := shaders.Variant{File: "windows", Consts: map[string]any{"BACK": a.back}}
		return []graph.Launch{elementwise(v, n.Out[0].Shape.Elems(), []graph.Arg{graph.In(0), graph.Out(0)},
			uint32(a.image[1]), uint32(a.image[2]), uint32(a.image[3]),
			uint32(a.Height), uint32(a.Width), uint32(a.ShiftY), uint32(a.ShiftX), flag(a.ByColumn))}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		a := n.Attr.(windowsAttr)
		a.back = !a.back
		return g.Apply(n.Op, a, dy[0])
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		a := n.Attr.(windowsAttr)
		channels := a.image[3]
		a.eachToken(func(token, pixel int) {
			if a.back {
				token, pixel = pixel, token
			}
			copy(out[0][token*channels:][:channels], in[0][pixel*channels:])
		})
	},
}

func (a windowsAttr) check() error {
	s := a.image
	switch {
	case len(s) != 4 || a.Height < 1 || a.Width < 1:
		return fmt.Errorf("%v in windows of %d×%d: want [batch, height, width, channels] and windows of one token at least", s, a.Height, a.Width)
	case a.ShiftY < 0 || a.ShiftX < 0 || a.ShiftY >= s[1] || a.ShiftX >= s[2]:
		return fmt.Errorf("%v moved by %d rows and %d columns: want fewer than it has", s, a.ShiftY, a.ShiftX)
	}
	return nil
}

// eachToken calls f with every token of the windows that lies in the image, and its pixel.
func (a windowsAttr) eachToken(f func(token, pixel int)) {
	rows, cols := a.grid()
	for token := range a.image[0] * rows * cols * a.Height * a.Width {
		window, t := token/(a.Height*a.Width), token%(a.Height*a.Width)
		ty, tx := t/a.Width, t%a.Width
		if a.ByColumn {
			ty, tx = t%a.Height, t/a.Height
		}
		y, x := window/cols%rows*a.Height+ty, window%cols*a.Width+tx
		if height, width := a.image[1], a.image[2]; y < height && x < width {
			f(token, (window/(rows*cols)*height+(y+a.ShiftY)%height)*width+(x+a.ShiftX)%width)
		}
	}
}

// Windows cuts images [batch, height, width, channels] into windows, row by row:
// [batch·windows, Height·Width, channels]. Beyond the images they hold zeros.
// (Liu et al., Swin Transformer, 2021, §3.2.)
func Windows(g *graph.Graph, x graph.Tensor, c WindowConfig) graph.Tensor {
	return g.Apply(windowsOp, windowsAttr{WindowConfig: c, image: x.Shape()}, x)[0]
}

// FromWindows puts together what Windows makes of images of a shape [batch, height, width,
// channels].
func FromWindows(g *graph.Graph, x graph.Tensor, image graph.Shape, c WindowConfig) graph.Tensor {
	return g.Apply(windowsOp, windowsAttr{WindowConfig: c, image: image, back: true}, x)[0]
}
