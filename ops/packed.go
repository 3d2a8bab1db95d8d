package ops

import (
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// packedLinear is one product with a packed weight W [N, K], made by one of
// several kernels: y [m, n] = x [m, k] · W[first: first + n]ᵀ or, backward,
// x [m, k] · W[first: first + k].
type packedLinear struct {
	w        packing.Weight
	m, n, k  int
	first    int
	act      Function
	after    bool // act comes after the residual
	backward bool

	image  graph.Shape // whose windows are the rows of x; nil where x is no image
	window window
}

// candidates are the kernels that make y, all with the same parameters. The first is
// the one to take where nothing was measured.
func (p packedLinear) candidates(a graph.Adapter) []shaders.Variant {
	all := slices.Concat(tuned("linear_split"), tuned("linear_tile"))
	if p.image == nil {
		all = slices.Concat(all, tuned("linear_step"), tuned("linear_row"))
	}
	return startWith(all, p.unmeasured(a))
}

// class names problems that one kernel suits: m counts to the next power of two.
func (p packedLinear) class() string {
	way := "linear"
	switch {
	case p.backward:
		way = "linear_grad"
	case p.image != nil:
		way = "conv"
	}
	return fmt.Sprintf("%s %v %d×%d×%d", way, p.w.Format, powerOfTwo(p.m), p.n, p.k)
}

// powerOfTwo is n or the next one above it.
func powerOfTwo(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}

// launches make output 0 of node from inputs 0 and 1 and, where biasRows is not 0,
// bias. Where the length of input 0's rows is no multiple of 4, they first pad it to
// the next multiple, in output 1.
func (p packedLinear) launches(node *graph.Node, bias graph.Arg, biasRows, residualRows int) []graph.Launch {
	x := graph.In(0)
	outer, length := p.m, p.k
	if p.image != nil {
		outer, length = rowsOf(p.image)
	}
	groups := graph.Ceil(length, 4)
	var launches []graph.Launch
	if length%4 != 0 {
		x = graph.Out(1)
		rows := slice{outer: outer, length: length, inner: 1, x: runs{0, length}, xStep: 1, y: runs{0, 4 * groups}}
		launches = append(launches,
			elementwise(kernel("fill"), outer*groups*4, []graph.Arg{x}, bits(0)),
			rows.launch(graph.In(0), x))
	}
	residual := graph.None()
	if residualRows > 0 {
		residual = graph.In(3)
	}
	consts := map[string]any{"weight": p.w.Format, "ACT": int(p.act), "BACKWARD": p.backward}
	inner, windows := groups, make([]uint32, 7)
	if p.image != nil {
		consts["x"], consts["SIDE_H"], consts["SIDE_W"] = "windows", p.window.h, p.window.w
		inner, windows = groups*p.window.h*p.window.w, p.window.params(p.image)
	}
	w, from := p.part(node)
	return append(launches, graph.Launch{
		Kernel: chooseKernel(node, p.class(), p.candidates(node.Adapter())).With(consts).With(p.w.Arrangement.Consts()),
		Params: append([]uint32{
			uint32(p.m), uint32(p.n), uint32(inner),
			uint32(w.Blocks()), uint32(w.Depth()), uint32((p.first - from) / 4),
			uint32(biasRows), uint32(residualRows), flag(p.after),
		}, windows...),
		Args:  []graph.Arg{x, graph.In(1), bias, residual, graph.Out(0)},
		Rows:  p.m,
		Cols:  p.n,
		FLOPs: 2 * int64(p.m) * int64(p.n) * int64(p.k),
	}.OfPart(w, from))
}

// part is what the product binds of a weight that is too long to be bound whole, and
// the row that it begins with; else it is the weight.
func (p packedLinear) part(node *graph.Node) (packing.Weight, int) {
	switch {
	case node.BindsWeight(p.w) || p.w.Transposed:
		return p.w, 0
	case p.backward:
		return p.w.Part(p.first, p.k)
	}
	return p.w.Part(p.first, p.n)
}

// withPadded returns the outputs of a linear op: y and, where the weight is packed and
// the length of x's rows is no multiple of 4, x padded to the next. It refuses a State
// that is packed for the other product (W for x·P, P for x·Wᵀ), and first rows that do
// not begin a packed block of 4 × 4.
func withPadded(y graph.Spec, x graph.Shape, w graph.Tensor, attr linearAttr) ([]graph.Spec, error) {
	s := w.State()
	if s == nil || !s.Packed() {
		return []graph.Spec{y}, nil
	}
	if s.Transposed != attr.project {
		return nil, fmt.Errorf("weight %s is packed (transposed: %t), want %s", s.Name, s.Transposed, attr.want())
	}
	if attr.first%4 != 0 {
		return nil, fmt.Errorf("rows from %d on of the packed weight %s: want a multiple of 4", attr.first, s.Name)
	}
	return append([]graph.Spec{y}, padded(x)...), nil
}

// padded is what launches pad x to: nothing where its rows are whole groups of four.
func padded(x graph.Shape) []graph.Spec {
	rows, k := rowsOf(x)
	if k%4 == 0 {
		return nil
	}
	return []graph.Spec{{Shape: graph.Shape{rows, 4 * graph.Ceil(k, 4)}}}
}
