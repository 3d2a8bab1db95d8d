package ops

import (
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// Rule is how an optimizer updates an element of a parameter from its gradient.
type Rule struct {
	Kernel   string   // the file in shaders, which lib/slab.wgsl helps
	Moments  []string // what it keeps for every element, as torch's state dict names it
	Settings []string // its numbers, in the kernel's order; the first is the learning rate
	// Ref returns the new value of an element w in float64, and changes its moments.
	// decays tells whether w is one that weight decay is for.
	Ref func(settings []float64, decays bool, w, grad float64, moments []float64) float64
}

// updateOp takes w, moments, their gradient, its factor, records and settings.
var updateOp = &graph.Op{
	Name: "update",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		rule := n.Attr.(*Rule)
		states := 1 + len(rule.Moments)
		grad, factor, settings := n.In[states].Spec(), n.In[states+1].Spec(), n.In[states+3].Spec()
		out := make([]graph.Spec, states)
		for i, t := range n.In[:states] {
			if out[i] = t.Spec(); !t.Valid() || out[i].Element != graph.F32 || i > 0 && !slices.Equal(out[i].Shape, grad.Shape) {
				return nil, fmt.Errorf("%s: want a parameter, its moments and a gradient like them in f32", specs(n.In[:states+1]))
			}
		}
		if err := wantSlab(n.In[states], n.In[states+2]); err != nil {
			return nil, err
		}
		if !isNumber(n.In[states+1]) {
			return nil, fmt.Errorf("factor %v: want f32 [1]", factor)
		}
		if settings.Element != graph.F32 || !slices.Equal(settings.Shape, graph.Shape{len(rule.Settings)}) {
			return nil, fmt.Errorf("settings %v: want f32 [%d]", settings, len(rule.Settings))
		}
		return out, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		rule := n.Attr.(*Rule)
		states := 1 + len(rule.Moments)
		args := []graph.Arg{graph.In(states), graph.In(states + 1), graph.In(states + 2), graph.In(states + 3)}
		for i := range states {
			args = append(args, graph.Out(i))
		}
		records := uint32(recordCount(n.In[states], n.In[states+2]))
		return n.PerChunk(n.In[states].Spec(), func(c graph.Chunk) graph.Launch {
			return elementwise(kernel(rule.Kernel).With(n.Arrangement().Consts()), c.Elems, args, records)
		})
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		rule := n.Attr.(*Rule)
		states := 1 + len(rule.Moments)
		for i := range states {
			copy(out[i], in[i])
		}
		grad, factor, records, settings := in[states], in[states+1][0], in[states+2], slices.Clone(in[states+3])
		if factor == 0 {
			return
		}
		rate, moments := settings[0], make([]float64, len(rule.Moments))
		for r := range rowsOfRecords(n.In[states], records) {
			first, home := int(r[0]), int(r[1])
			settings[0] = rate * float64(math.Float32frombits(uint32(int32(r[8]))))
			for i := range int(r[2]) {
				for j := range moments {
					moments[j] = in[1+j][first+i]
				}
				out[0][home+i] = rule.Ref(settings, r[3] != 0, in[0][home+i], factor*grad[first+i], moments)
				for j, m := range moments {
					out[1+j][first+i] = m
				}
			}
		}
	},
}

// wantSlab refuses what are no gradients and their records.
func wantSlab(grad, records graph.Tensor) error {
	r := records.Spec()
	if !grad.Valid() || grad.Spec().Element != graph.F32 || r.Element != graph.I32 || len(r.Shape) != 1 || recordCount(grad, records) < 1 {
		return fmt.Errorf("gradient %v, records %v: want f32, and the i32 that Records gives for as many elements", grad.Spec(), r)
	}
	return nil
}

// recordCount is how many parameters the records of gradients are of; 0 where they are
// no such records.
func recordCount(grad, records graph.Tensor) int {
	words := records.Dim(0) - graph.Ceil(4*grad.Shape().Elems(), SlabAlign)
	if words%recordWords != 0 {
		return 0
	}
	return words / recordWords
}

// rowsOfRecords are the values of records by parameter.
func rowsOfRecords(grad graph.Tensor, records []float64) iter.Seq[[]float64] {
	return slices.Chunk(records[:len(records)-graph.Ceil(4*grad.Shape().Elems(), SlabAlign)], recordWords)
}

// isNumber tells whether t is one f32.
func isNumber(t graph.Tensor) bool {
	return t.Valid() && t.Spec().Element == graph.F32 && t.Shape().Elems() == 1
}

// Update records one step of rule on w, a parameter or a slab of parameters, in place.
// moments are those of rule.Moments, in order. Where w is a parameter, each moment and
// grad have its shape. Where w is a slab, each is a vector of the moments or gradients
// of those parameters that are to change, side by side, each from a multiple of
// SlabAlign bytes on. Moments have the Format of their parameters; gradients are
// row-major. factor, f32 [1], is what gradients are multiplied by; with 0 nothing
// changes, whatever they are. records, i32, are what Records gives. settings, f32 [len(rule.Settings)], holds the rule's
// numbers. No gradient flows.
func Update(g *graph.Graph, rule *Rule, w *graph.State, moments []*graph.State, grad, factor, records, settings graph.Tensor) {
	g.Update(updateOp, rule, append([]*graph.State{w}, moments...), grad, factor, records, settings)
}

// SlabAlign, in bytes, divides the offset of every parameter in a slab, so that no
// workgroup of a rule's kernel has elements of two parameters.
const SlabAlign = 1024

const recordWords = 9

// Records are Update's, of gradients of so many elements: rows, which are the Records of
// the parameters in the order in which their gradients lie, and after them, for every
// SlabAlign bytes of gradients, the number of the row that these are of.
func Records(elems int, rows ...[]int32) []int32 {
	all, row := slices.Concat(rows...), 0
	for at := 0; at < elems; at += SlabAlign / 4 {
		for row+1 < len(rows) && int(rows[row+1][0]) <= at {
			row++
		}
		all = append(all, int32(row))
	}
	return all
}

// Record returns p's row of Update's records: p begins at byte first of the moments and
// gradients and at byte home of w; decays tells whether weight decay is for it, and its
// learning rate is rate times that of the settings.
func Record(p *graph.State, first, home int64, decays bool, rate float64) []int32 {
	index := graph.Target{}.Packing(p).IndexParams() // which are the same for all arrangements
	r := []int32{int32(first / 4), int32(home / 4), int32(p.Shape.Elems()), int32(flag(decays))}
	for _, word := range index {
		r = append(r, int32(word))
	}
	return append(r, int32(bits(rate)))
}
