package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// normAttr says how a row is normalised: uncentered is RMSNorm, whose mean counts as 0.
type normAttr struct {
	eps        float64
	uncentered bool
}

// layerNormOp's output 1 is each row's mean and reciprocal deviation.
var layerNormOp = &graph.Op{
	Name: "layernorm",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		if err := wantF32(n.In...); err != nil {
			return nil, err
		}
		y, err := likeRows(n.In[0])
		if err != nil {
			return nil, err
		}
		for _, w := range n.In[1:] {
			if w.Valid() && !slices.Equal(w.Shape(), graph.Shape{n.In[0].Dim(-1)}) {
				return nil, fmt.Errorf("x %v, weight or bias %v: want [..., cols] and [cols]", n.In[0].Spec(), w.Spec())
			}
		}
		rows, _ := rowsOf(n.In[0].Shape())
		return append(y, graph.Spec{Shape: graph.Shape{rows, 2}}), nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		rows, cols := rowsOf(n.In[0].Shape())
		attr := n.Attr.(normAttr)
		return []graph.Launch{{
			Kernel: rowKernel(n, "layernorm", rows, cols),
			Params: []uint32{uint32(rows), uint32(cols), bits(attr.eps), flag(n.In[1].Valid()), flag(n.In[2].Valid()), flag(attr.uncentered)},
			Args:   []graph.Arg{graph.In(0), graph.In(1), graph.In(2), graph.Out(0), graph.Out(1)},
			Rows:   rows,
		}}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		d := outputs(g.Apply(layerNormGradOp, n.Attr, n.In[0], n.In[1], n.Output(1), dy[0], graph.Tensor{}), 3)
		return d[:3]
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		rows, cols := rowsOf(n.In[0].Shape())
		attr := n.Attr.(normAttr)
		for r := range rows {
			x, y := in[0][r*cols:(r+1)*cols], out[0][r*cols:(r+1)*cols]
			mean, squares := 0.0, 0.0
			for _, v := range x {
				if !attr.uncentered {
					mean += v / float64(cols)
				}
			}
			for _, v := range x {
				squares += (v - mean) * (v - mean) / float64(cols)
			}
			rstd := 1 / math.Sqrt(squares+attr.eps)
			for j, v := range x {
				y[j] = (v - mean) * rstd
				if in[1] != nil {
					y[j] *= in[1][j]
				}
				if in[2] != nil {
					y[j] += in[2][j]
				}
			}
			out[1][2*r], out[1][2*r+1] = mean, rstd
		}
	},
}

// rowKernel chooses how many invocations compute one row.
func rowKernel(n *graph.Node, file string, rows, cols int) shaders.Variant {
	candidates := startWith(tuned(file), rowDefault(file, cols, n.Adapter()))
	return chooseKernel(n, fmt.Sprintf("%s %d×%d", file, powerOfTwo(rows), cols), candidates)
}

// layerNormGradOp takes x, weight, the rows' statistics, dy and what is added to dx,
// or nothing, to dx, dw and db.
var layerNormGradOp = &graph.Op{
	Name: "layernorm_grad",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		w := graph.Spec{Shape: graph.Shape{n.In[0].Dim(-1)}}
		return []graph.Spec{n.In[0].Spec(), w, w}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		rows, cols := rowsOf(n.In[0].Shape())
		kernel := rowKernel(n, "layernorm_grad", rows, cols)
		columns := 0
		if n.Used(1) || n.Used(2) {
			columns = graph.Ceil(cols, tile(kernel)[1])
		}
		groups := columns
		if n.Used(0) {
			groups += rows
		}
		return []graph.Launch{{
			Kernel: kernel,
			Params: []uint32{
				uint32(rows), uint32(cols), uint32(columns),
				flag(n.In[1].Valid()), flag(n.In[4].Valid()), flag(n.Used(1)), flag(n.Used(2)), flag(n.Attr.(normAttr).uncentered),
			},
			Args: []graph.Arg{graph.In(0), graph.In(1), graph.In(2), graph.In(3), graph.In(4), used(n, 0), used(n, 1), used(n, 2)},
			Rows: groups,
		}}
	},
	Fuse: func(n, user *graph.Node) *graph.Node {
		y, in := n.Output(0), slices.Clone(n.In)
		switch {
		case user.Op.Name != "add" || in[4].Valid():
			return nil
		case user.In[0] == y:
			in[4] = user.In[1]
		case user.In[1] == y:
			in[4] = user.In[0]
		default:
			return nil
		}
		return &graph.Node{Op: n.Op, Attr: n.Attr, In: in, Out: n.Out, Scope: n.Scope}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		rows, cols := rowsOf(n.In[0].Shape())
		x, w, dy := in[0], in[1], in[3]
		for r := range rows {
			mean, rstd := in[2][2*r], in[2][2*r+1]
			unit := func(j int) float64 { return (x[r*cols+j] - mean) * rstd }
			weighted := func(j int) float64 { return dy[r*cols+j] }
			if w != nil {
				weighted = func(j int) float64 { return dy[r*cols+j] * w[j] }
			}
			sum, along := 0.0, 0.0
			for j := range cols {
				sum += weighted(j) / float64(cols)
				along += weighted(j) * unit(j) / float64(cols)
				out[1][j] += dy[r*cols+j] * unit(j)
				out[2][j] += dy[r*cols+j]
			}
			if n.Attr.(normAttr).uncentered {
				sum = 0
			}
			for j := range cols {
				out[0][r*cols+j] = rstd * (weighted(j) - sum - unit(j)*along)
				if in[4] != nil {
					out[0][r*cols+j] += in[4][r*cols+j]
				}
			}
		}
	},
}

// used is output i, or a dummy where nothing reads it.
func used(n *graph.Node, i int) graph.Arg {
	if n.Used(i) {
		return graph.Out(i)
	}
	return graph.None()
}

// LayerNorm records (x − mean) / √(variance + eps) · w + b over the last
// dimension of x [..., cols], with the biased variance; w and b, [cols], may be
// absent. (Ba, Kiros & Hinton, Layer Normalization, 2016.)
func LayerNorm(g *graph.Graph, x, w, b graph.Tensor, eps float64) graph.Tensor {
	return g.Apply(layerNormOp, normAttr{eps: eps}, x, w, b)[0]
}

// RMSNorm records x / √(mean of x² + eps) · w over the last dimension of x [..., cols]; w,
// [cols], may be absent. (Zhang & Sennrich, Root Mean Square Layer Normalization, 2019.)
func RMSNorm(g *graph.Graph, x, w graph.Tensor, eps float64) graph.Tensor {
	return g.Apply(layerNormOp, normAttr{eps: eps, uncentered: true}, x, w, graph.Tensor{})[0]
}
