package ops

import (
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// linearGradOp takes dy [..., out] and a packed w to dx [..., in]. What Build fuses has
// the input of a Function as input 3, where its gradient is that of all.
var linearGradOp = &graph.Op{
	Name:   "linear_grad",
	Packed: []int{1},
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		dy := n.In[0].Shape()
		dx := slices.Clone(dy)
		_, dx[len(dx)-1] = n.In[1].State().Matrix()
		return withPadded(graph.Spec{Shape: dx}, dy, n.In[1], n.Attr.(linearAttr))
	},
	Lower: func(n *graph.Node) []graph.Launch {
		rows, out := rowsOf(n.In[0].Shape())
		w, attr := n.Packing(n.In[1].State()), n.Attr.(linearAttr)
		p := packedLinear{w: w, m: rows, n: w.K, k: out, first: attr.first, act: attr.act, backward: true}
		residualRows := 0
		if len(n.In) > 2 {
			residualRows = rows
		}
		return p.launches(n, graph.None(), 0, residualRows)
	},
	Fuse: func(n, user *graph.Node) *graph.Node {
		if user.Op != mapGradOp || user.In[1] != n.Output(0) || len(n.In) > 2 {
			return nil
		}
		attr := n.Attr.(linearAttr)
		attr.act = user.Attr.(Function)
		in := []graph.Tensor{n.In[0], n.In[1], {}, user.In[0]}
		return &graph.Node{Op: n.Op, In: in, Out: n.Out, Attr: attr, Scope: n.Scope}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		attr := n.Attr.(linearAttr)
		width := n.Out[0].Shape[len(n.Out[0].Shape)-1]
		for i := range out[0] {
			for o := range attr.rows {
				out[0][i] += in[0][i/width*attr.rows+o] * in[1][attr.at(width, o, i%width)]
			}
			if len(in) > 2 {
				out[0][i] *= functions[attr.act].slope(in[3][i])
			}
		}
	},
}

// linearWeightGradOp takes dy [..., out] and x [..., in] to dw [out, in], the gradient
// of W or, by the other order of the inputs, of P, and db [out]. Outputs from 2 on are
// those of slices of the rows, dw and db, and what the passes of a sum leave that makes
// db alone.
var linearWeightGradOp = &graph.Op{
	Name: "linear_weight_grad",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		rows, out := rowsOf(n.In[0].Shape())
		_, in := rowsOf(n.In[1].Shape())
		count, _ := rowSlices(rows, out, in)
		specs := []graph.Spec{
			{Shape: graph.Shape{out, in}}, {Shape: graph.Shape{out}},
			{Shape: graph.Shape{count, out, in}}, {Shape: graph.Shape{count, out}},
		}
		return append(specs, sumLeaves(1, rows, out)...), nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		rows, out := rowsOf(n.In[0].Shape())
		_, in := rowsOf(n.In[1].Shape())
		if n.Used(0) && out%4 == 0 && in%4 == 0 {
			return weightGrad(n, rows, out, in)
		}
		var launches []graph.Launch
		if n.Used(0) {
			launches = append(launches, gemm{
				m: out, n: in, k: rows, batches: 1, heads: 1,
				a: matrices(rows, out).t(), b: matrices(rows, in), c: matrices(out, in), alpha: 1,
			}.choose(n, graph.In(0), graph.In(1), graph.None(), graph.Out(0)))
		}
		if n.Used(1) {
			launches = append(launches, sumPasses(1, rows, out, 1, graph.In(0), graph.Out(1), 4)...)
		}
		return launches
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		_, cols := rowsOf(n.In[0].Shape())
		_, width := rowsOf(n.In[1].Shape())
		for i, flow := range in[0] {
			r, o := i/cols, i%cols
			out[1][o] += flow
			for j := range width {
				out[0][o*width+j] += flow * in[1][r*width+j]
			}
		}
	},
}

// weightGrad makes outputs 0 and 1, this one where it is used. Both lengths are
// multiples of four.
func weightGrad(n *graph.Node, rows, out, in int) []graph.Launch {
	class := fmt.Sprintf("linear_weight_grad %d×%d×%d", powerOfTwo(rows), out, in)
	v := chooseKernel(n, class, weightGradKernels(n.Adapter(), rows, out, in))
	if v.File == weightGradTile.File {
		return weightGradInTiles(n, v, rows, out, in)
	}
	return []graph.Launch{{
		Kernel: v,
		Params: []uint32{uint32(rows), uint32(out / 4), uint32(in / 4), flag(n.Used(1))},
		Args:   []graph.Arg{graph.In(0), graph.In(1), graph.Out(0), used(n, 1)},
		Rows:   out,
		Cols:   in,
		FLOPs:  2 * int64(rows) * int64(out) * int64(in),
	}}
}

var weightGradTile = kernel("linear_weight_grad_tile")

// weightGradKernels are the kernels of weightGrad, the one to take where nothing was
// measured first.
func weightGradKernels(a graph.Adapter, rows, out, in int) []shaders.Variant {
	return startWith(slices.Concat(tuned("linear_weight_grad"), []shaders.Variant{weightGradTile}), weightGradDefault(a, rows, out, in))
}

// rowSlices says how the kernel of tiles parts the rows that are summed: where a gradient
// [out, in] has few tiles, it makes several, one of each slice of the rows, which are added
// after that. An NVIDIA H100 made a plain product of 336 tiles at 0.6 of the rate of one
// of 2,400, and of 600 at 0.86. A slice has sliceRows or more, so that adding costs little, and adding is one
// pass.
func rowSlices(rows, out, in int) (count, size int) {
	const wantTiles, sliceRows = 576, 256
	have, _ := tiles(weightGradTile, out, in)
	count = max(1, min(graph.Ceil(wantTiles, have), rows/sliceRows, sumTerms))
	size = graph.Ceil(graph.Ceil(rows, count), leastDepth) * leastDepth
	return graph.Ceil(rows, size), size
}

// weightGradInTiles is weightGrad by the kernel of tiles, in as many slices as rowSlices
// says. These are in outputs 2 and 3 before they are added up.
func weightGradInTiles(n *graph.Node, v shaders.Variant, rows, out, in int) []graph.Launch {
	count, size := rowSlices(rows, out, in)
	dw, db := graph.Out(0), used(n, 1)
	if count > 1 {
		dw = graph.Out(2)
		if n.Used(1) {
			db = graph.Out(3)
		}
	}
	launches := []graph.Launch{{
		Kernel: v,
		Params: []uint32{uint32(rows), uint32(out / 4), uint32(in / 4), uint32(count), uint32(size), flag(n.Used(1))},
		Args:   []graph.Arg{graph.In(0), graph.In(1), dw, db},
		Batch:  count,
		Rows:   out,
		Cols:   in,
		FLOPs:  2 * int64(rows) * int64(out) * int64(in),
	}}
	if count > 1 {
		launches = append(launches, sumPasses(1, count, out*in, 1, dw, graph.Out(0), 0)...)
		if n.Used(1) {
			launches = append(launches, sumPasses(1, count, out, 1, db, graph.Out(1), 0)...)
		}
	}
	return launches
}
