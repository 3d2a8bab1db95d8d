package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// lowest is the least f32; a score that is not above it counts as hidden.
const lowest = -math.MaxFloat32

var softmaxOp = &graph.Op{
	Name: "softmax",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		return likeRows(n.In[0])
	},
	Lower: func(n *graph.Node) []graph.Launch {
		rows, cols := rowsOf(n.In[0].Shape())
		return []graph.Launch{{
			Kernel: kernel("softmax"),
			Params: []uint32{uint32(rows), uint32(cols), flag(false), flag(false), uint32(rows), 1, 0, 1},
			Args:   []graph.Arg{graph.In(0), graph.None(), graph.Out(0)},
			Rows:   rows,
		}}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		return g.Apply(softmaxGradOp, nil, n.Output(0), dy[0])
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		copy(out[0], in[0])
		_, cols := rowsOf(n.In[0].Shape())
		for row := range slices.Chunk(out[0], cols) {
			softmaxRow(row)
		}
	},
}

var softmaxGradOp = &graph.Op{
	Name: "softmax_grad",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		y, dy := n.In[0].Spec(), n.In[1].Spec()
		if !slices.Equal(y.Shape, dy.Shape) {
			return nil, fmt.Errorf("y %v, dy %v: want one shape", y, dy)
		}
		return []graph.Spec{y}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		rows, cols := rowsOf(n.In[0].Shape())
		return []graph.Launch{{
			Kernel: kernel("softmax_grad"),
			Params: []uint32{uint32(rows), uint32(cols)},
			Args:   []graph.Arg{graph.In(0), graph.In(1), graph.Out(0)},
			Rows:   rows,
		}}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		_, cols := rowsOf(n.In[0].Shape())
		copy(out[0], in[1])
		for at := 0; at < len(out[0]); at += cols {
			softmaxGradRow(in[0][at:at+cols], out[0][at:at+cols])
		}
	},
}

// softmaxRow works in place.
func softmaxRow(x []float64) {
	greatest, sum := max(lowest, slices.Max(x)), 0.0
	for i, v := range x {
		x[i] = 0
		if v > lowest {
			x[i] = math.Exp(v - greatest)
		}
		sum += x[i]
	}
	if sum == 0 {
		return
	}
	for i := range x {
		x[i] /= sum
	}
}

// softmaxGradRow turns dy into dx.
func softmaxGradRow(y, d []float64) {
	dot := 0.0
	for i := range d {
		dot += y[i] * d[i]
	}
	for i := range d {
		d[i] = y[i] * (d[i] - dot)
	}
}

// likeRows is the shape rule of operations on rows: f32 with at least one
// dimension, kept as it is.
func likeRows(x graph.Tensor) ([]graph.Spec, error) {
	if s := x.Spec(); len(s.Shape) == 0 || s.Element != graph.F32 {
		return nil, fmt.Errorf("x %v: want f32 [..., cols]", s)
	}
	return []graph.Spec{x.Spec()}, nil
}

// Softmax records exp(x) / Σ exp(x) over the last dimension. A row with nothing
// above the least f32 (all −Inf) gives zeros.
func Softmax(g *graph.Graph, x graph.Tensor) graph.Tensor {
	return g.Apply(softmaxOp, nil, x)[0]
}
