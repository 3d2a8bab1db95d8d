package ops

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// setRowsOp takes y, ids and x to the new y.
var setRowsOp = &graph.Op{
	Name: "set_rows",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		y, ids, x := n.In[0].Spec(), n.In[1].Spec(), n.In[2].Spec()
		last := len(y.Shape) - 1
		if y.Element != graph.F32 || last < 1 || !n.In[1].Valid() || ids.Element != graph.I32 || len(ids.Shape) != 1 ||
			!n.In[2].Valid() || x.Element != graph.F32 || len(x.Shape) != 2 || x.Shape[0] != ids.Shape[0] || x.Shape[1] != y.Shape[last] {
			return nil, fmt.Errorf("%v, ids %v, rows %v: want f32 [..., width], i32 [n] and f32 [n, width]", y, ids, x)
		}
		return []graph.Spec{y}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		x := n.In[2].Spec()
		// All of y as one table: its rows are those of its last dimension.
		table := graph.Spec{Shape: graph.Shape{n.Out[0].Shape.Elems() / x.Shape[1], x.Shape[1]}}
		return n.PerChunk(table, func(c graph.Chunk) graph.Launch {
			return elementwise(kernel("set_rows"), x.Shape.Elems(), []graph.Arg{graph.In(2), graph.In(1), graph.Out(0)}, tableParams(table.Shape, c)...)
		})
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		width := n.In[2].Dim(1)
		copy(out[0], in[0])
		for r, id := range in[1] {
			if at := int(id) * width; at >= 0 && at < len(out[0]) {
				copy(out[0][at:at+width], in[2][r*width:])
			}
		}
	},
}

// SetRows records that rows of y, f32 [..., width], become those of x [n, width]: row
// ids[i], ids i32 [n] and each different, of all rows of y becomes row i. An id that y has
// no row of is passed over. No gradient flows.
func SetRows(g *graph.Graph, y *graph.State, ids, x graph.Tensor) {
	g.Update(setRowsOp, nil, []*graph.State{y}, ids, x)
}
