package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// linearAttr says which linear map it is.
type linearAttr struct {
	project     bool     // w is P [in, out] of x·P instead of W [out, in …] of x·Wᵀ
	first, rows int      // the rows of W, and elements of the bias, that take part
	act         Function // or none
	after       bool     // act is applied after the residual is added, not before
	eps         float64  // of the batch normalization, where it has its inputs
	window      window   // whose view of x, an image, is multiplied; the zero window: x itself
}

// none is no Function.
const none = Function(len(functions))

// linearOp takes x, w, bias and residual, the last two optional, to y; where w is
// packed and the length of x's rows is no multiple of 4, output 1 is x padded with
// zeros to the next. What
// Build fuses may have four inputs more, BatchNorm's but x, in place of the bias, or one, a
// factor of each column of y: its last output is what is made of them, [bias and scale, out].
var linearOp = &graph.Op{
	Name:   "linear",
	Packed: []int{1},
	Infer:  inferLinear,
	Lower: func(n *graph.Node) []graph.Launch {
		attr := n.Attr.(linearAttr)
		if w := n.In[1].State(); w != nil && w.Packed() {
			p := attr.packed(n, w)
			if len(n.In) > 4 {
				bias := graph.Out(len(n.Out) - 1)
				fold := elementwise(kernel("scale_fold"), attr.rows, []graph.Arg{graph.In(2), graph.In(4), bias}, flag(n.In[2].Valid()))
				if len(n.In) > 5 {
					fold = batchNormFold(attr.rows, attr.eps, graph.In(4), graph.In(5), graph.In(6), graph.In(7), bias)
				}
				return append([]graph.Launch{fold}, p.launches(n, bias, 2, attr.residualRows(n.In[3]))...)
			}
			return p.launches(n, graph.In(2), int(flag(n.In[2].Valid())), attr.residualRows(n.In[3]))
		}
		rows, in := rowsOf(n.In[0].Shape())
		b := matrices(attr.rows, in).t()
		if attr.project {
			b = matrices(in, attr.rows)
		}
		return []graph.Launch{gemm{
			m: rows, n: attr.rows, k: in, batches: 1, heads: 1,
			a: matrices(rows, in), b: b, c: matrices(rows, attr.rows),
			alpha: 1, hasBias: n.In[2].Valid(),
		}.choose(n, graph.In(0), graph.In(1), graph.In(2), graph.Out(0))}
	},
	Fuse: fuseLinear,
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		x, w, attr := n.In[0], n.In[1], n.Attr.(linearAttr)
		dx := linearGrad(g, dy[0], w, x, attr)
		if attr.project {
			return []graph.Tensor{dx, weightGrads(g, x, dy[0])[0], {}, {}} // Project has no bias
		}
		d := weightGrads(g, dy[0], x)
		dw := g.Reshape(d[0], append([]int{attr.rows}, w.Shape()[1:]...)...)
		return []graph.Tensor{dx, widen(g, dw, attr.first, w.Dim(0)), widen(g, d[1], attr.first, w.Dim(0)), {}}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		attr := n.Attr.(linearAttr)
		x, width := in[0], n.In[1].Shape().Elems()/n.In[1].Dim(attr.outAxis())
		if attr.window != (window{}) {
			x = attr.window.unfolded(n.In[0].Shape(), x)
		}
		for i := range len(x) / width * attr.rows {
			r, o := i/attr.rows, i%attr.rows
			sum := 0.0
			for k := range width {
				sum += x[r*width+k] * in[1][attr.at(width, o, k)]
			}
			if in[2] != nil {
				sum += in[2][attr.first+o]
			}
			if len(in) == 5 {
				sum *= in[4][o]
			}
			if len(in) > 5 {
				sum = (sum-in[6][o])/math.Sqrt(in[7][o]+attr.eps)*in[4][o] + in[5][o]
			}
			if attr.act != none && !attr.after {
				sum = functions[attr.act].at(sum)
			}
			if in[3] != nil {
				sum += in[3][i%len(in[3])]
			}
			if attr.after {
				sum = functions[attr.act].at(sum)
			}
			out[0][i] = sum
		}
	},
}

// packed is the product that n asks for.
func (a linearAttr) packed(n *graph.Node, w *graph.State) packedLinear {
	weight := n.Packing(w)
	p := packedLinear{w: weight, n: a.rows, k: weight.K, first: a.first, act: a.act, after: a.after, window: a.window}
	p.m, _ = rowsOf(n.Out[0].Shape)
	if a.window != (window{}) {
		p.image = n.In[0].Shape()
	}
	return p
}

// at is where w, of width inputs, holds the factor from input k to output o.
func (a linearAttr) at(width, o, k int) int {
	if a.project {
		return k*a.rows + o
	}
	return (a.first+o)*width + k
}

func inferLinear(n *graph.Node) ([]graph.Spec, error) {
	x, w, bias, attr := n.In[0], n.In[1], n.In[2], n.Attr.(linearAttr)
	if err := wantF32(n.In...); err != nil {
		return nil, err
	}
	shape := w.Shape()
	if len(x.Shape()) < 1 || len(shape) < 2 || x.Dim(-1)*w.Dim(attr.outAxis()) != shape.Elems() || attr.project && len(shape) != 2 {
		return nil, fmt.Errorf("x %v, weight %v: want [..., in] and %s", x.Spec(), w.Spec(), attr.want())
	}
	if bias.Valid() && !slices.Equal(bias.Shape(), graph.Shape{w.Dim(attr.outAxis())}) {
		return nil, fmt.Errorf("weight %v, bias %v: want %s and [out]", w.Spec(), bias.Spec(), attr.want())
	}
	if attr.first < 0 || attr.rows < 1 || attr.first+attr.rows > w.Dim(attr.outAxis()) {
		return nil, fmt.Errorf("rows %d to %d of weight %v", attr.first, attr.first+attr.rows-1, w.Spec())
	}
	y := graph.Spec{Shape: slices.Clone(x.Shape())}
	y.Shape[len(y.Shape)-1] = attr.rows
	return withPadded(y, x.Shape(), w, attr)
}

// residualRows is how many rows of y the residual has; they repeat. 0 is none.
func (a linearAttr) residualRows(residual graph.Tensor) int {
	if !residual.Valid() {
		return 0
	}
	return residual.Shape().Elems() / a.rows
}

// outAxis is the dimension of w that is y's last.
func (a linearAttr) outAxis() int {
	if a.project {
		return 1
	}
	return 0
}

func (a linearAttr) want() string {
	if a.project {
		return "[in, out]"
	}
	return "[out, in …]"
}

// fuseLinear takes a BatchNorm or a factor of each column, a Function and an addition into
// the launch of a packed weight: the first before the others, these in either order.
func fuseLinear(n, user *graph.Node) *graph.Node {
	w, attr := n.In[1].State(), n.Attr.(linearAttr)
	if w == nil || !w.Packed() {
		return nil
	}
	in, out := slices.Clone(n.In), n.Out
	y := n.Output(0)
	switch {
	case user.Op == mapOp && attr.act == none:
		attr.act, attr.after = user.Attr.(Function), in[3].Valid()
	case in[3].Valid():
		return nil
	case user.Op == batchNormOp && user.In[0] == y && attr.act == none && len(in) == 4 && !in[2].Valid() && attr.rows == w.Shape[0]:
		attr.eps = user.Attr.(float64)
		in = append(in, user.In[1:]...)
		out = append(slices.Clone(out), graph.Spec{Shape: graph.Shape{2, attr.rows}})
	case user.Op == mulBroadcastOp && !n.Exact() && user.In[0] == y && attr.act == none && len(in) == 4 && attr.rows == w.Shape[0] &&
		user.Attr.(int) == 1 && user.In[1].Shape().Elems() == attr.rows:
		in = append(in, user.In[1])
		out = append(slices.Clone(out), graph.Spec{Shape: graph.Shape{2, attr.rows}})
	case user.Op.Name == "add" && user.In[0] == y:
		in[3] = user.In[1]
	case user.Op.Name == "add" && user.In[1] == y:
		in[3] = user.In[0]
	case user.Op == addBroadcastOp && user.In[0] == y && user.Attr.(int) == 1 && user.In[1].Shape().Elems()%attr.rows == 0:
		in[3] = user.In[1]
	default:
		return nil
	}
	return &graph.Node{Op: n.Op, In: in, Out: out, Attr: attr, Scope: user.Scope}
}

// linearGrad is the gradient of x from that of y.
func linearGrad(g *graph.Graph, dy, w, x graph.Tensor, attr linearAttr) graph.Tensor {
	if s := w.State(); s != nil && s.Packed() {
		return g.Apply(linearGradOp, attr, dy, w)[0]
	}
	rows, in := rowsOf(x.Shape())
	flow := g.Reshape(dy, rows, attr.rows)
	if !attr.project {
		w = g.Reshape(w, w.Shape().Elems()/in, in)
	}
	return g.Reshape(MatMul(g, flow, w, false, attr.project), x.Shape()...)
}

// weightGrads are the gradients dw [out, in] and db [out] from that of y.
func weightGrads(g *graph.Graph, dy, x graph.Tensor) []graph.Tensor {
	return outputs(g.Apply(linearWeightGradOp, nil, dy, x), 2)
}

// widen puts x among zeros: it becomes the elements from first on of count
// along the first dimension.
func widen(g *graph.Graph, x graph.Tensor, first, count int) graph.Tensor {
	var parts []graph.Tensor
	zeros := func(n int) {
		if n > 0 {
			parts = append(parts, g.Fill(0, append([]int{n}, x.Shape()[1:]...)...))
		}
	}
	zeros(first)
	parts = append(parts, x)
	zeros(count - first - x.Dim(0))
	if len(parts) == 1 {
		return x
	}
	return Concat(g, 0, parts...)
}

// narrow takes count elements along the first dimension, from first on.
func narrow(g *graph.Graph, x graph.Tensor, first, count int) graph.Tensor {
	sizes, part := []int{count}, 0
	if first > 0 {
		sizes, part = []int{first, count}, 1
	}
	if rest := x.Dim(0) - first - count; rest > 0 {
		sizes = append(sizes, rest)
	}
	return Split(g, x, 0, sizes...)[part]
}

// Linear records x · wᵀ + bias (torch.nn.Linear): x [..., in], w [out, in …],
// its dimensions but the first taken as one, and, unless it is the zero Tensor,
// bias [out] give [..., out].
func Linear(g *graph.Graph, x, w, bias graph.Tensor) graph.Tensor {
	return LinearRows(g, x, w, bias, 0, w.Dim(0))
}

// LinearRows is Linear by count rows of w and elements of the bias, from first
// on, which is a multiple of 4 where w is a packed State.
func LinearRows(g *graph.Graph, x, w, bias graph.Tensor, first, count int) graph.Tensor {
	if s := w.State(); count != w.Dim(0) && (s == nil || !s.Packed()) {
		w = narrow(g, w, first, count)
		if bias.Valid() {
			bias = narrow(g, bias, first, count)
		}
		first = 0
	} else if s != nil && s.Packed() && !s.Transposed && s.Bytes() > g.BindingLimit() && first >= 0 && count > 0 && first+count <= w.Dim(0) {
		return linearParts(g, x, w, bias, first, count)
	}
	return g.Apply(linearOp, linearAttr{first: first, rows: count, act: none}, x, w, bias, graph.Tensor{})[0]
}

// linearParts is LinearRows of a packed weight that is too long to be bound whole: by
// as many rows at a time as can be bound.
func linearParts(g *graph.Graph, x, w, bias graph.Tensor, first, count int) graph.Tensor {
	weight := g.Packing(w.State())
	step := weight.PartRows()
	least, _ := weight.Part(0, step)
	step *= max(1, int(g.BindingLimit()/least.Bytes()))
	var parts []graph.Tensor
	for at, end := first, first+count; at < end; {
		next := min(end, (at/step+1)*step)
		attr := linearAttr{first: at, rows: next - at, act: none}
		parts = append(parts, g.Apply(linearOp, attr, x, w, graph.Tensor{}, graph.Tensor{})[0])
		at = next
	}
	y := parts[0]
	if len(parts) > 1 {
		y = Concat(g, len(x.Shape())-1, parts...)
	}
	if bias.Valid() {
		y = AddBroadcast(g, y, narrow(g, bias, first, count), 1)
	}
	return y
}

// Project records x · p: x [..., in] and p [in, out] give [..., out].
func Project(g *graph.Graph, x, p graph.Tensor) graph.Tensor {
	return g.Apply(linearOp, linearAttr{project: true, rows: p.Dim(-1), act: none}, x, p, graph.Tensor{}, graph.Tensor{})[0]
}
