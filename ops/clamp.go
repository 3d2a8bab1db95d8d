package ops

import (
	"fmt"
	"math"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// bounds are Clamp's, rounded to f32 as the kernels see them.
type bounds struct{ lo, hi float64 }

// params are the kernels' lo and hi. WGSL need not know infinities.
func (b bounds) params() []uint32 {
	return []uint32{bits(max(b.lo, -math.MaxFloat32)), bits(min(b.hi, math.MaxFloat32))}
}

var clampOp = &graph.Op{
	Name: "clamp",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		if b := n.Attr.(bounds); !(b.lo <= b.hi) {
			return nil, fmt.Errorf("%s to [%g, %g]: want a lower and an upper bound", specs(n.In), b.lo, b.hi)
		}
		return sameF32(n)
	},
	Lower: func(n *graph.Node) []graph.Launch {
		args := []graph.Arg{graph.In(0), graph.Out(0)}
		return []graph.Launch{elementwise(kernel("clamp"), n.Out[0].Shape.Elems(), args, n.Attr.(bounds).params()...)}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		return g.Apply(clampGradOp, n.Attr, n.In[0], dy[0])
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		b := n.Attr.(bounds)
		for i, x := range in[0] {
			out[0][i] = min(max(x, b.lo), b.hi)
		}
	},
}

// clampGradOp takes x and dy to dx.
var clampGradOp = &graph.Op{
	Name:  "clamp_grad",
	Infer: sameF32,
	Lower: func(n *graph.Node) []graph.Launch {
		args := []graph.Arg{graph.In(0), graph.In(1), graph.Out(0)}
		return []graph.Launch{elementwise(kernel("clamp_grad"), n.Out[0].Shape.Elems(), args, n.Attr.(bounds).params()...)}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		b := n.Attr.(bounds)
		for i, x := range in[0] {
			if b.lo <= x && x <= b.hi {
				out[0][i] = in[1][i]
			}
		}
	},
}

// Clamp records min(max(x, lo), hi); a bound may be infinite. The gradient
// passes where lo ≤ x ≤ hi, the bounds included (torch.clamp).
func Clamp(g *graph.Graph, x graph.Tensor, lo, hi float64) graph.Tensor {
	return g.Apply(clampOp, bounds{float64(float32(lo)), float64(float32(hi))}, x)[0]
}
