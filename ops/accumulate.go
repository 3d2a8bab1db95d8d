package ops

import (
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// accumulateOp takes y and x to the new y.
var accumulateOp = &graph.Op{
	Name: "accumulate",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		if err := wantF32(n.In...); err != nil {
			return nil, err
		}
		if !n.In[1].Valid() || !slices.Equal(n.In[0].Shape(), n.In[1].Shape()) {
			return nil, fmt.Errorf("%s: want two of one shape", specs(n.In))
		}
		return []graph.Spec{n.In[0].Spec()}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		return n.PerChunk(n.Out[0], func(c graph.Chunk) graph.Launch {
			return elementwise(kernel("accumulate"), c.Elems, []graph.Arg{graph.In(1), graph.Out(0)})
		})
	},
	Ref: func(_ *graph.Node, in, out [][]float64) {
		for i, x := range in[1] {
			out[0][i] = in[0][i] + x
		}
	},
}

// Accumulate records y += x, f32 of y's shape, where y lies. No gradient flows.
func Accumulate(g *graph.Graph, y *graph.State, x graph.Tensor) {
	g.Update(accumulateOp, nil, []*graph.State{y}, x)
}
