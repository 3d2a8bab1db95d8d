package ops

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// RelativeBiasConfig describes the tokens of a window and the windows of an image.
type RelativeBiasConfig struct {
	Height, Width  int // tokens of a window
	Prefix         int // tokens before them that have no bias
	Rows, Cols     int // windows of an image: one where it is not shifted, whatever they are
	ShiftY, ShiftX int // by which Windows moves it; less than Height and Width
}

func (c RelativeBiasConfig) tokens() int { return c.Prefix + c.Height*c.Width }

func (c RelativeBiasConfig) offsets() int { return (2*c.Height - 1) * (2*c.Width - 1) }

func (c RelativeBiasConfig) shifted() bool { return c.ShiftY > 0 || c.ShiftX > 0 }

func (c RelativeBiasConfig) windows() int {
	if !c.shifted() {
		return 1
	}
	return c.Rows * c.Cols
}

// seam is the bias between tokens that a shift has brought together, of which a softmax
// leaves nothing.
const seam = -100

// relativeBiasOp takes a table [offsets, heads] to biases [windows, heads, tokens, tokens].
var relativeBiasOp = &graph.Op{
	Name: "relative_bias",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		c, table := n.Attr.(RelativeBiasConfig), n.In[0].Spec()
		switch {
		case c.Height < 1 || c.Width < 1 || c.Prefix < 0 || c.ShiftY < 0 || c.ShiftX < 0 || c.ShiftY >= c.Height || c.ShiftX >= c.Width || c.shifted() && min(c.Rows, c.Cols) < 1:
			return nil, fmt.Errorf("%+v: want a window that holds tokens and is larger than the shift, and windows", c)
		case table.Element != graph.F32 || len(table.Shape) != 2 || table.Shape[0] != c.offsets():
			return nil, fmt.Errorf("table %v, windows of %d×%d: want f32 [%d, heads]", table, c.Height, c.Width, c.offsets())
		}
		return []graph.Spec{{Shape: graph.Shape{c.windows(), table.Shape[1], c.tokens(), c.tokens()}}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		c := n.Attr.(RelativeBiasConfig)
		return []graph.Launch{elementwise(kernel("relative_bias"), n.Out[0].Shape.Elems(), []graph.Arg{graph.In(0), graph.Out(0)},
			uint32(n.In[0].Dim(1)), uint32(c.Height), uint32(c.Width), uint32(c.Prefix),
			uint32(max(1, c.Rows)), uint32(max(1, c.Cols)), uint32(c.ShiftY), uint32(c.ShiftX))}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		flow := dy[0]
		if shape := flow.Shape(); shape[0] > 1 {
			flow = SumAxis(g, flow, 0)
		} else {
			flow = g.Reshape(flow, shape[1:]...)
		}
		return g.Apply(relativeBiasGradOp, n.Attr, flow)
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		c, heads := n.Attr.(RelativeBiasConfig), n.In[0].Dim(1)
		for i := range c.windows() * heads {
			window, head := i/heads, i%heads
			c.eachPair(func(q, k, offset int) {
				v := in[0][offset*heads+head]
				if c.shifted() && c.apart(window, q, k) {
					v += seam
				}
				out[0][(i*c.tokens()+c.Prefix+q)*c.tokens()+c.Prefix+k] = v
			})
		}
	},
}

// eachPair calls f for all pairs of a window's tokens, without the prefix, with the row of
// the table that is theirs.
func (c RelativeBiasConfig) eachPair(f func(q, k, offset int)) {
	for q := range c.Height * c.Width {
		for k := range c.Height * c.Width {
			down, right := q/c.Width-k/c.Width+c.Height-1, q%c.Width-k%c.Width+c.Width-1
			f(q, k, down*(2*c.Width-1)+right)
		}
	}
}

// apart tells whether two tokens of a window were far from each other before the shift.
func (c RelativeBiasConfig) apart(window, q, k int) bool {
	along := func(at, last, q, k, size, shift int) bool {
		return shift > 0 && at == last && (q >= size-shift) != (k >= size-shift)
	}
	return along(window/c.Cols, c.Rows-1, q/c.Width, k/c.Width, c.Height, c.ShiftY) ||
		along(window%c.Cols, c.Cols-1, q%c.Width, k%c.Width, c.Width, c.ShiftX)
}

// relativeBiasGradOp takes the gradient of one window's biases [heads, tokens, tokens] to
// that of the table.
var relativeBiasGradOp = &graph.Op{
	Name: "relative_bias_grad",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		return []graph.Spec{{Shape: graph.Shape{n.Attr.(RelativeBiasConfig).offsets(), n.In[0].Dim(0)}}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		c := n.Attr.(RelativeBiasConfig)
		return []graph.Launch{elementwise(kernel("relative_bias_grad"), n.Out[0].Shape.Elems(), []graph.Arg{graph.In(0), graph.Out(0)},
			uint32(n.In[0].Dim(0)), uint32(c.Height), uint32(c.Width), uint32(c.Prefix))}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		c, heads := n.Attr.(RelativeBiasConfig), n.In[0].Dim(0)
		for head := range heads {
			c.eachPair(func(q, k, offset int) {
				out[0][offset*heads+head] += in[0][(head*c.tokens()+c.Prefix+q)*c.tokens()+c.Prefix+k]
			})
		}
	},
}

// RelativeBias records the bias of attention in a window by how far apart its tokens are:
// table [(2·Height − 1)·(2·Width − 1), heads] gives [windows, heads, tokens, tokens] for
// Attention. Between tokens that a shift of the image has brought together it is 100 less.
// (Liu et al., Swin Transformer, 2021, §3.2; WindowAttention in timm's swin_transformer.py.)
func RelativeBias(g *graph.Graph, table graph.Tensor, c RelativeBiasConfig) graph.Tensor {
	return g.Apply(relativeBiasOp, c, table)[0]
}
