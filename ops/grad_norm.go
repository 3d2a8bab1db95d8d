package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// gradNormOp takes the loss, slabs of gradients and as many records to the norm and the
// factor. Output 2 holds the sums that the first pass leaves.
var gradNormOp = &graph.Op{
	Name: "grad_norm",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		if maxNorm := n.Attr.(float64); !(maxNorm >= 0) || !isNumber(n.In[0]) {
			return nil, fmt.Errorf("loss %v, norm %g: want one f32, and a norm of 0 or more", n.In[0].Spec(), maxNorm)
		}
		slabs, sums := len(n.In)/2, 0
		for i := range slabs {
			grad := n.In[1+i]
			if err := wantSlab(grad, n.In[1+slabs+i]); err != nil {
				return nil, err
			}
			n.PerChunk(grad.Spec(), func(c graph.Chunk) (none graph.Launch) {
				sums += graph.Ceil(c.Elems, gradNormSpan())
				return none
			})
		}
		one := graph.Spec{Shape: graph.Shape{1}}
		return []graph.Spec{one, one, {Shape: graph.Shape{max(1, sums)}}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		var launches []graph.Launch
		slabs, sums := len(n.In)/2, 0
		for i := range slabs {
			args := []graph.Arg{graph.In(1 + i), graph.In(1 + slabs + i), graph.Out(2)}
			records := uint32(recordCount(n.In[1+i], n.In[1+slabs+i]))
			launches = append(launches, n.PerChunk(n.In[1+i].Spec(), func(c graph.Chunk) graph.Launch {
				l := elementwise(kernel("grad_norm").With(n.Arrangement().Consts()), c.Elems, args, records, uint32(sums))
				sums += graph.Ceil(c.Elems, gradNormSpan())
				return l
			})...)
		}
		return append(launches, graph.Launch{
			Kernel: kernel("grad_clip"),
			Params: []uint32{uint32(sums), bits(n.Attr.(float64))},
			Args:   []graph.Arg{graph.Out(2), graph.In(0), graph.Out(0), graph.Out(1)},
			Rows:   1,
		})
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		slabs, sum := len(in)/2, 0.0
		for i := range slabs {
			for r := range rowsOfRecords(n.In[1+i], in[1+slabs+i]) {
				first := int(r[0])
				for _, x := range in[1+i][first : first+int(r[2])] {
					sum += x * x
				}
			}
		}
		norm, factor := math.Sqrt(sum), 1.0
		if maxNorm := n.Attr.(float64); maxNorm > 0 {
			factor = min(1, maxNorm/(norm+1e-6))
		}
		if bad := norm + in[0][0]; bad-bad != 0 {
			factor = 0
		}
		out[0][0], out[1][0] = norm, factor
	},
}

// gradNormSpan is how many elements one workgroup of the first pass adds up.
func gradNormSpan() int { return tile(kernel("grad_norm"))[0] }

// GradNorm records the Euclidean norm [1] of all gradients together, and the factor [1]
// that makes it maxNorm where it is greater: min(1, maxNorm / (norm + 1e-6)), as
// torch.nn.utils.clip_grad_norm_ has it. With a maxNorm of 0 the factor is 1. Where the
// norm or loss, one f32, is NaN or infinite the factor is 0. grads and records are those
// of as many calls of Update. No gradient flows.
func GradNorm(g *graph.Graph, loss graph.Tensor, maxNorm float64, grads, records []graph.Tensor) (norm, factor graph.Tensor) {
	out := g.Apply(gradNormOp, maxNorm, slices.Concat([]graph.Tensor{loss}, grads, records)...)
	return out[0], append(out, graph.Tensor{})[1] // after a mistake there is one output
}
