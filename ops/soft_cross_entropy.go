package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// softCrossEntropyOp gives each row's loss. Outputs 1 to 3 are the row's largest logit,
// Σ exp(logit − largest) and the sum of its targets.
var softCrossEntropyOp = &graph.Op{
	Name: "soft_cross_entropy",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		if err := wantF32(n.In...); err != nil {
			return nil, err
		}
		x := n.In[0].Spec()
		if len(x.Shape) != 2 || !n.In[1].Valid() || !slices.Equal(n.In[1].Shape(), x.Shape) {
			return nil, fmt.Errorf("%s: want logits and targets [rows, classes]", specs(n.In))
		}
		row := graph.Spec{Shape: x.Shape[:1]}
		return []graph.Spec{row, row, row, row}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		rows, cols := rowsOf(n.In[0].Shape())
		return []graph.Launch{{
			Kernel: kernel("soft_cross_entropy"),
			Params: []uint32{uint32(rows), uint32(cols)},
			Args:   []graph.Arg{graph.In(0), graph.In(1), graph.Out(0), graph.Out(1), graph.Out(2), graph.Out(3)},
			Rows:   rows,
		}}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		return append(g.Apply(softCrossEntropyGradOp, nil, n.In[0], n.In[1], n.Output(1), n.Output(2), n.Output(3), dy[0]), graph.Tensor{})
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		rows, cols := rowsOf(n.In[0].Shape())
		for r := range rows {
			x, t := in[0][r*cols:(r+1)*cols], in[1][r*cols:(r+1)*cols]
			greatest, sum, mass, below := slices.Max(x), 0.0, 0.0, 0.0
			for j, v := range x {
				sum += math.Exp(v - greatest)
				mass += t[j]
				below += t[j] * (greatest - v)
			}
			out[0][r], out[1][r], out[2][r], out[3][r] = mass*math.Log(sum)+below, greatest, sum, mass
		}
	},
}

// softCrossEntropyGradOp takes the logits, the targets, the largest logits, the sums of
// exponentials and of targets, and dy to the gradient of the logits.
var softCrossEntropyGradOp = &graph.Op{
	Name:  "soft_cross_entropy_grad",
	Infer: func(n *graph.Node) ([]graph.Spec, error) { return []graph.Spec{n.In[0].Spec()}, nil },
	Lower: func(n *graph.Node) []graph.Launch {
		rows, cols := rowsOf(n.In[0].Shape())
		args := []graph.Arg{graph.In(0), graph.In(1), graph.In(2), graph.In(3), graph.In(4), graph.In(5), graph.Out(0)}
		return []graph.Launch{elementwise(kernel("soft_cross_entropy_grad"), rows*cols, args, uint32(cols))}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		_, cols := rowsOf(n.In[0].Shape())
		for i, x := range in[0] {
			r := i / cols
			out[0][i] = (math.Exp(x-in[2][r])/in[3][r]*in[4][r] - in[1][i]) * in[5][r]
		}
	},
}

// SoftCrossEntropy records the mean over the rows of −Σ targets · log softmax(logits):
// both f32 [rows, classes], they give a scalar of shape []. No gradient flows to the
// targets, which are a teacher's probabilities (Hinton et al., Distilling the Knowledge
// in a Neural Network, 2015).
func SoftCrossEntropy(g *graph.Graph, logits, targets graph.Tensor) graph.Tensor {
	return MeanAxis(g, g.Apply(softCrossEntropyOp, nil, logits, targets)[0], 0)
}
