package ops

import (
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// gatherOp's attribute is the row of the table without gradient, noPadding for none.
var gatherOp = &graph.Op{
	Name: "gather",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		table, ids := n.In[0].Spec(), n.In[1].Spec()
		if len(table.Shape) != 2 || table.Element != graph.F32 || !n.In[1].Valid() || ids.Element != graph.I32 {
			return nil, fmt.Errorf("table %v, ids %v: want f32 [rows, width] and i32 [...]", table, ids)
		}
		return []graph.Spec{{Shape: append(slices.Clone(ids.Shape), table.Shape[1])}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		count, table := n.Out[0].Shape.Elems(), n.In[0].Spec()
		args := []graph.Arg{graph.In(0), graph.In(1), graph.Out(0)}
		return n.PerChunk(table, func(c graph.Chunk) graph.Launch {
			return elementwise(kernel("gather"), count, args, tableParams(table.Shape, c)...)
		})
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		return []graph.Tensor{g.Apply(gatherGradOp, gatherGradAttr{n.In[0].Shape(), n.Attr.(int)}, n.In[1], dy[0])[0], {}}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		rows, width := n.In[0].Dim(0), n.In[0].Dim(1)
		for r, id := range in[1] {
			at := nearestRow(id, rows) * width
			copy(out[0][r*width:], in[0][at:at+width])
		}
	},
}

// tableParams tell a kernel which rows of a table it has.
func tableParams(table graph.Shape, c graph.Chunk) []uint32 {
	return []uint32{uint32(table[0]), uint32(table[1]), uint32(c.Row), uint32(c.Rows)}
}

// nearestRow keeps an id inside the table.
func nearestRow(id float64, rows int) int { return min(max(int(id), 0), rows-1) }

const noPadding = -1

type gatherGradAttr struct {
	table   graph.Shape
	padding int
}

// gatherGradOp takes ids and dy to the gradient of the table. A merge sort of
// (id, row of dy) brings the occurrences of each id side by side, so that every row
// of the result is summed by one invocation in one order. Those of padding are
// sorted behind the table. Outputs 1 and 2 are the pairs, sorted from the one into
// the other.
var gatherGradOp = &graph.Op{
	Name: "gather_grad",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		pairs := graph.Spec{Shape: graph.Shape{n.In[0].Shape().Elems(), 2}, Element: graph.I32}
		return []graph.Spec{{Shape: n.Attr.(gatherGradAttr).table}, pairs, pairs}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		ids, dy, table := n.In[0].Shape().Elems(), n.In[1].Shape().Elems(), n.Out[0]
		launches := n.PerChunk(table, func(c graph.Chunk) graph.Launch {
			return elementwise(kernel("fill"), c.Elems, []graph.Arg{graph.Out(0)}, bits(0))
		})
		pairs, other := graph.Out(1), graph.Out(2)
		launches = append(launches, elementwise(kernel("gather_sort"), ids, []graph.Arg{graph.In(0), pairs},
			uint32(table.Shape[0]), uint32(n.Attr.(gatherGradAttr).padding)))
		for run := tile(kernel("gather_sort"))[0]; run < ids; run *= 2 {
			launches = append(launches, elementwise(kernel("gather_merge"), ids, []graph.Arg{pairs, other}, uint32(run)))
			pairs, other = other, pairs
		}
		return append(launches, n.PerChunk(table, func(c graph.Chunk) graph.Launch {
			return elementwise(kernel("gather_grad"), dy, []graph.Arg{pairs, graph.In(1), graph.Out(0)}, tableParams(table.Shape, c)...)
		})...)
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		attr := n.Attr.(gatherGradAttr)
		rows, width := attr.table[0], attr.table[1]
		for i, flow := range in[1] {
			if row := nearestRow(in[0][i/width], rows); row != attr.padding {
				out[0][row*width+i%width] += flow
			}
		}
	},
}

// Gather records the rows of table [rows, width] that ids [...], i32, name:
// [..., width] (torch.nn.functional.embedding). Callers keep ids in [0, rows);
// one outside reads the nearest row.
func Gather(g *graph.Graph, table, ids graph.Tensor) graph.Tensor {
	return g.Apply(gatherOp, noPadding, table, ids)[0]
}

// GatherPadded is Gather, but that no gradient flows into the row padding of the
// table (padding_idx of torch.nn.functional.embedding).
func GatherPadded(g *graph.Graph, table, ids graph.Tensor, padding int) graph.Tensor {
	return g.Apply(gatherOp, padding, table, ids)[0]
}
