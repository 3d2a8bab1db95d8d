package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// crossEntropyOp gives each row's loss. Outputs 1 and 2 are the row's largest
// logit and Σ exp(logit − largest): together in one logarithm they would lose
// what the gradient needs of large logits.
var crossEntropyOp = &graph.Op{
	Name: "cross_entropy",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		x, labels := n.In[0].Spec(), n.In[1].Spec()
		if len(x.Shape) != 2 || x.Element != graph.F32 || labels.Element != graph.I32 || !slices.Equal(labels.Shape, x.Shape[:1]) {
			return nil, fmt.Errorf("logits %v, labels %v: want f32 [rows, classes] and i32 [rows]", x, labels)
		}
		row := graph.Spec{Shape: x.Shape[:1]}
		return []graph.Spec{row, row, row}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		rows, cols := rowsOf(n.In[0].Shape())
		return []graph.Launch{{
			Kernel: kernel("cross_entropy"),
			Params: []uint32{uint32(rows), uint32(cols)},
			Args:   []graph.Arg{graph.In(0), graph.In(1), graph.Out(0), graph.Out(1), graph.Out(2)},
			Rows:   rows,
		}}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		return g.Apply(crossEntropyGradOp, nil, n.In[0], n.In[1], n.Output(1), n.Output(2), dy[0])
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		rows, cols := rowsOf(n.In[0].Shape())
		for r := range rows {
			x := in[0][r*cols : (r+1)*cols]
			greatest, sum := slices.Max(x), 0.0
			for _, v := range x {
				sum += math.Exp(v - greatest)
			}
			out[1][r], out[2][r] = greatest, sum
			if label := int(in[1][r]); label >= 0 && label < cols {
				out[0][r] = math.Log(sum) + greatest - x[label]
			}
		}
	},
}

// crossEntropyGradOp takes the logits, labels, largest logits, sums and dy to
// the gradient of the logits.
var crossEntropyGradOp = &graph.Op{
	Name: "cross_entropy_grad",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		return []graph.Spec{n.In[0].Spec()}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		rows, cols := rowsOf(n.In[0].Shape())
		args := []graph.Arg{graph.In(0), graph.In(1), graph.In(2), graph.In(3), graph.In(4), graph.Out(0)}
		return []graph.Launch{elementwise(kernel("cross_entropy_grad"), rows*cols, args, uint32(cols))}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		_, cols := rowsOf(n.In[0].Shape())
		for i := range out[0] {
			r := i / cols
			label := int(in[1][r])
			if label < 0 || label >= cols {
				continue
			}
			out[0][i] = math.Exp(in[0][i]-in[2][r]) / in[3][r] * in[4][r]
			if i%cols == label {
				out[0][i] -= in[4][r]
			}
		}
	},
}

// CrossEntropy records the mean over the rows of −log softmax(logits)[label]:
// logits [rows, classes] and labels i32 [rows] in [0, classes) give a scalar of
// shape []. A row with another label adds nothing but counts in the mean.
func CrossEntropy(g *graph.Graph, logits, labels graph.Tensor) graph.Tensor {
	return MeanAxis(g, CrossEntropies(g, logits, labels), 0)
}

// CrossEntropies records −log softmax(logits)[label] of each row, f32 [rows], for what
// CrossEntropy takes.
func CrossEntropies(g *graph.Graph, logits, labels graph.Tensor) graph.Tensor {
	return g.Apply(crossEntropyOp, nil, logits, labels)[0]
}
