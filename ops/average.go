package ops

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// averageOp takes averages, w, records and factor to the new averages.
var averageOp = &graph.Op{
	Name: "average",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		average, w, rate := n.In[0].Spec(), n.In[1].Spec(), n.Attr.(float64)
		if err := wantSlab(n.In[0], n.In[2]); err != nil {
			return nil, err
		}
		if w.Element != graph.F32 || !isNumber(n.In[3]) || !(rate >= 0 && rate <= 1) {
			return nil, fmt.Errorf("parameters %v, factor %v, rate %g: want f32, f32 [1] and a rate in [0, 1]", w, n.In[3].Spec(), rate)
		}
		return []graph.Spec{average}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		args := []graph.Arg{graph.In(1), graph.In(2), graph.In(3), graph.Out(0)}
		return n.PerChunk(n.In[0].Spec(), func(c graph.Chunk) graph.Launch {
			return elementwise(kernel("ema").With(n.Arrangement().Consts()), c.Elems, args, uint32(recordCount(n.In[0], n.In[2])), bits(n.Attr.(float64)))
		})
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		copy(out[0], in[0])
		if in[3][0] == 0 {
			return
		}
		for r := range rowsOfRecords(n.In[0], in[2]) {
			first, home := int(r[0]), int(r[1])
			for i := range int(r[2]) {
				out[0][first+i] += n.Attr.(float64) * (in[1][home+i] - in[0][first+i])
			}
		}
	},
}

// Average records one step of exponential moving averages in place: average += rate ·
// (w − average), torch.lerp. w is a parameter or a slab, averages lie as moments of
// Update do, and records are like Update's, of those parameters that have one. With a
// factor, f32 [1], of 0 nothing changes. No gradient flows.
func Average(g *graph.Graph, average, w *graph.State, rate float64, records, factor graph.Tensor) {
	g.Update(averageOp, rate, []*graph.State{average}, g.State(w), records, factor)
}
