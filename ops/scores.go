package ops

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/half"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// scoresGroup is how many numbers of a vector a kernel loads at once.
const scoresGroup = 8

// scoresOp has no gradient: the vectors are no parameters.
var scoresOp = &graph.Op{
	Name: "scores",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		x, v := n.In[0].Spec(), n.In[1].Spec()
		if len(x.Shape) != 2 || x.Element != graph.F32 || len(v.Shape) != 2 || v.Element != graph.I32 || x.Shape[1] != 2*v.Shape[1] || x.Shape[1]%scoresGroup != 0 {
			return nil, fmt.Errorf("queries %v, vectors %v: want f32 [queries, width] and i32 [rows, width / 2], width a multiple of %d", x, v, scoresGroup)
		}
		return []graph.Spec{{Shape: graph.Shape{x.Shape[0], v.Shape[0]}}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		queries, rows, width := n.In[0].Dim(0), n.In[1].Dim(0), n.In[0].Dim(1)
		unmeasured := scoresDefault(n.Adapter())
		return []graph.Launch{{
			Kernel: chooseKernel(n, fmt.Sprintf("scores %d×%d", powerOfTwo(rows), width), startWith(tuned("scores"), unmeasured)),
			Params: []uint32{uint32(queries), uint32(rows), uint32(width / scoresGroup)},
			Args:   []graph.Arg{graph.In(0), graph.In(1), graph.Out(0)},
			Batch:  queries,
			Rows:   rows,
			FLOPs:  2 * int64(queries) * int64(rows) * int64(width),
		}}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		rows, width := n.In[1].Dim(0), n.In[0].Dim(1)
		for i := range out[0] {
			x, v := in[0][i/rows*width:][:width], in[1][i%rows*width/2:][:width/2]
			for k := range x {
				word := uint32(int32(v[k/2]))
				out[0][i] += x[k] * float64(half.F16ToF32(uint16(word>>(k%2*16))))
			}
		}
	},
}

// scoresDefault is where nothing was measured: on a GPU the invocations of a row load what
// is side by side in its memory. Only CPUs were measured.
func scoresDefault(a graph.Adapter) shaders.Variant {
	alone, together := pick{"scores", by("SPAN"), smallest}, pick{"scores", by("SPAN"), largest}
	return byAdapter{cpu: alone, integrated: together, discrete: together}.of(a).variant()
}

// Scores records the products of queries, f32 [queries, width], with vectors, i32
// [rows, width / 2]: f32 [queries, rows]. The vectors are in IEEE 754 binary16, row-major,
// with two numbers in each word, the first one lower. width is a multiple of 8. No
// gradient flows.
func Scores(g *graph.Graph, queries, vectors graph.Tensor) graph.Tensor {
	return g.Apply(scoresOp, nil, queries, vectors)[0]
}
