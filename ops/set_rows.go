package ops

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// setRowsOp takes y, ids and x to the new y. Its attribute is the first column of x that
// counts.
var setRowsOp = &graph.Op{
	Name: "set_rows",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		y, ids, x := n.In[0].Spec(), n.In[1].Spec(), n.In[2].Spec()
		last := len(y.Shape) - 1
		if y.Element != graph.F32 || last < 1 || !n.In[1].Valid() || ids.Element != graph.I32 || len(ids.Shape) != 1 ||
			!n.In[2].Valid() || x.Element != graph.F32 || len(x.Shape) != 2 || x.Shape[0] != ids.Shape[0] ||
			n.Attr.(int) < 0 || x.Shape[1] < n.Attr.(int)+y.Shape[last] {
			return nil, fmt.Errorf("%v, ids %v, rows %v from column %d: want f32 [..., width], i32 [n] and f32 [n, column + width or more]", y, ids, x, n.Attr)
		}
		return []graph.Spec{y}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		y, wide := n.Out[0].Shape, n.In[2].Dim(1)
		width := y[len(y)-1]
		// All of y as one table: its rows are those of its last dimension.
		table := graph.Spec{Shape: graph.Shape{y.Elems() / width, width}}
		return n.PerChunk(table, func(c graph.Chunk) graph.Launch {
			params := append(tableParams(table.Shape, c), uint32(wide), uint32(n.Attr.(int)))
			return elementwise(kernel("set_rows"), n.In[2].Dim(0)*width, []graph.Arg{graph.In(2), graph.In(1), graph.Out(0)}, params...)
		})
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		width, wide := n.Out[0].Shape[len(n.Out[0].Shape)-1], n.In[2].Dim(1)
		copy(out[0], in[0])
		for r, id := range in[1] {
			if at := int(id) * width; at >= 0 && at < len(out[0]) {
				copy(out[0][at:at+width], in[2][r*wide+n.Attr.(int):])
			}
		}
	},
}

// SetRows records that rows of y, f32 [..., width], become those of x, f32 [n, column +
// width or more], from a column on: row ids[i], ids i32 [n] and each different, of all rows
// of y becomes that of row i. An id that y has no row of is passed over. No gradient flows.
func SetRows(g *graph.Graph, y *graph.State, ids, x graph.Tensor, column int) {
	g.Update(setRowsOp, column, []*graph.State{y}, ids, x)
}
