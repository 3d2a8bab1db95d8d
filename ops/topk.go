package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// maxTopK is the longest row of TopK: its indices are whole numbers in f32.
const maxTopK = 1 << 24

// topKOp's attribute is k. Its outputs 2 and 3 are pairs of an order and an index, which
// are sorted from the one into the other, outputs 4 and 5 the orders of the numbers and the
// greatest of each part of a row. It has no gradient.
var topKOp = &graph.Op{
	Name: "topk",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		x, mask, k := n.In[0].Spec(), n.In[1], n.Attr.(int)
		if len(x.Shape) != 2 || x.Element != graph.F32 || x.Shape[1] > maxTopK || k < 1 || k > x.Shape[1] {
			return nil, fmt.Errorf("%d of %v: want 1 to n of f32 [queries, n], n at most %d", k, x, maxTopK)
		}
		if words := graph.Ceil(x.Shape[1], 32); mask.Valid() && (mask.Spec().Element != graph.I32 || !slices.Equal(mask.Shape(), graph.Shape{words})) {
			return nil, fmt.Errorf("mask %v of %v: want i32 [%d]", mask.Spec(), x, words)
		}
		d := topKDims{x.Shape[0], x.Shape[1], k}
		words := func(shape ...int) graph.Spec { return graph.Spec{Shape: shape, Element: graph.I32} }
		found, pairs, part := graph.Spec{Shape: graph.Shape{d.queries, k}}, words(d.queries*d.longest(), 2), max(1, d.part())
		return []graph.Spec{found, found, pairs, pairs, words(x.Shape...), words(d.queries, graph.Ceil(d.n, part))}, nil
	},
	Lower: lowerTopK,
	Ref: func(n *graph.Node, in, out [][]float64) {
		length, k := n.In[0].Dim(1), n.Attr.(int)
		for query := range n.In[0].Dim(0) {
			x := in[0][query*length:][:length]
			var indices []int
			for i := range x {
				if in[1] == nil || uint32(int32(in[1][i/32]))>>(i%32)&1 == 1 {
					indices = append(indices, i)
				}
			}
			slices.SortStableFunc(indices, func(a, b int) int { return descending(x[a], x[b]) })
			for i := range k {
				values, places := out[0][query*k:], out[1][query*k:]
				if values[i], places[i] = 0, -1; i < len(indices) {
					values[i], places[i] = x[indices[i]], float64(indices[i])
				}
			}
		}
	},
}

// descending compares so that NaN comes last.
func descending(a, b float64) int {
	switch {
	case a > b || math.IsNaN(b) && !math.IsNaN(a):
		return -1
	case b > a || math.IsNaN(a) && !math.IsNaN(b):
		return 1
	}
	return 0
}

// topKDims are the k greatest of n numbers for each query.
type topKDims struct{ queries, n, k int }

// part is how many numbers share a maximum, or 0 where that saves nothing. The k greatest
// numbers of a row lie in the k parts with the greatest maxima: so n / part maxima and
// part · k numbers are sorted, in place of n.
func (d topKDims) part() int {
	part := powerOfTwo(int(math.Sqrt(float64(d.n / d.k))))
	if graph.Ceil(d.n, part)+part*d.k > d.n/2 {
		return 0
	}
	return part
}

// longest is the most pairs that there are of a query at a time.
func (d topKDims) longest() (longest int) {
	counts := []int{d.n}
	if part := d.part(); part > 0 {
		counts = []int{graph.Ceil(d.n, part), part * d.k}
	}
	for _, n := range counts {
		for _, m := range d.merges(n) {
			longest = max(longest, m.runs*m.run)
		}
	}
	return longest
}

// topKRuns are the sorted runs of pairs that one launch leaves of each query.
type topKRuns struct{ runs, run int }

// merges are the runs that sorting leaves of n candidates, and those that each merging
// leaves, until there is one. No run is longer than k.
func (d topKDims) merges(n int) []topKRuns {
	block := tile(kernel("topk_sort"))[0]
	all := []topKRuns{{graph.Ceil(n, block), min(block, d.k)}}
	for {
		last := all[len(all)-1]
		if last.runs == 1 {
			return all
		}
		all = append(all, topKRuns{graph.Ceil(last.runs, 2), min(2*last.run, d.k)})
	}
}

func lowerTopK(n *graph.Node) []graph.Launch {
	d := topKDims{n.In[0].Dim(0), n.In[0].Dim(1), n.Attr.(int)}
	orders, greatest := graph.Out(4), graph.Out(5)
	launches := []graph.Launch{elementwise(kernel("topk_order"), d.queries*d.n, []graph.Arg{graph.In(0), graph.In(1), orders},
		uint32(d.n), flag(n.In[1].Valid()))}
	pairs, other := graph.Out(2), graph.Out(3)
	// sort leaves the k first of count candidates of each query in pairs.
	sort := func(orders, chosen graph.Arg, count, width, part int) {
		merges := d.merges(count)
		launches = append(launches, graph.Launch{
			Kernel: kernel("topk_sort"),
			Params: []uint32{uint32(d.queries), uint32(count), uint32(width), uint32(part), uint32(merges[0].run)},
			Args:   []graph.Arg{orders, chosen, other},
			Batch:  d.queries,
			Rows:   count,
		})
		pairs, other = other, pairs
		for i, m := range merges[1:] {
			before := merges[i]
			launches = append(launches, elementwise(kernel("topk_merge"), d.queries*2*m.runs*before.run, []graph.Arg{pairs, other},
				uint32(before.runs), uint32(before.run), uint32(m.run)))
			pairs, other = other, pairs
		}
	}
	if part := d.part(); part > 0 {
		parts := graph.Ceil(d.n, part)
		launches = append(launches, elementwise(kernel("topk_greatest"), d.queries*parts, []graph.Arg{orders, greatest}, uint32(d.n), uint32(part)))
		sort(greatest, graph.None(), parts, parts, 0)
		sort(orders, pairs, part*d.k, d.n, part)
	} else {
		sort(orders, graph.None(), d.n, d.n, 0)
	}
	return append(launches, elementwise(kernel("topk"), d.queries*d.k, []graph.Arg{pairs, graph.Out(0), graph.Out(1)}))
}

// TopK records the k greatest of each row of x, f32 [queries, n], in descending order:
// values, f32 [queries, k], and indices of the same shape, whole numbers in f32. Of equal
// ones the lower index comes first, and NaN come last. mask, i32 [⌈n / 32⌉], takes in the
// numbers i of which bit i % 32 of its word i / 32 is set; the zero Tensor takes all in.
// Where there are fewer than k, values are 0 and indices -1. n is at most 2²⁴. No gradient
// flows.
func TopK(g *graph.Graph, x, mask graph.Tensor, k int) (values, indices graph.Tensor) {
	out := outputs(g.Apply(topKOp, k, x, mask), 2)
	return out[0], out[1]
}
