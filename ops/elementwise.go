package ops

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// elementwise is a launch of a kernel that makes count elements, one each
// invocation; its first parameter is count.
func elementwise(kernel shaders.Variant, count int, args []graph.Arg, params ...uint32) graph.Launch {
	return graph.Launch{
		Kernel: kernel,
		Params: append([]uint32{uint32(count)}, params...),
		Args:   args,
		Rows:   count,
	}
}

// kernel is the Variant of a file with its own constants.
func kernel(file string) shaders.Variant { return shaders.Variant{File: file} }

// tile is how many rows and columns one workgroup of a kernel makes: 1 of a
// kernel that cannot be read, which Build reports.
func tile(v shaders.Variant) [2]int {
	k, err := v.Load()
	if err != nil {
		return [2]int{1, 1}
	}
	return k.Tile
}

// tuned returns the variants that the tune lines of a kernel's file ask for. A file
// that cannot be read gives the plain kernel, and Build reports the error.
func tuned(file string) []shaders.Variant {
	all, err := kernel(file).Tuned()
	if err != nil {
		return []shaders.Variant{kernel(file)}
	}
	return all
}

// by orders variants of a file by a constant that it tunes, the smallest first. They
// are all equal where it does not.
func by(constant string) func(a, b shaders.Variant) int {
	return func(a, b shaders.Variant) int {
		x, _ := a.Consts[constant].(int)
		y, _ := b.Consts[constant].(int)
		return cmp.Compare(x, y)
	}
}

// startWith are candidates with first, one of them, before the others.
func startWith(candidates []shaders.Variant, first shaders.Variant) []shaders.Variant {
	others := slices.DeleteFunc(slices.Clone(candidates), func(v shaders.Variant) bool {
		return v.File == first.File && maps.Equal(v.Consts, first.Consts)
	})
	return append([]shaders.Variant{first}, others...)
}

// chooseKernel picks one of several kernels that compute the same.
func chooseKernel(n *graph.Node, class string, candidates []shaders.Variant) shaders.Variant {
	names := make([]string, len(candidates))
	for i, c := range candidates {
		names[i] = c.String()
	}
	return candidates[n.Choose(class, names...)]
}

// The kernel binary by its operator.
var (
	addKernel      = shaders.Variant{File: "binary", Consts: map[string]any{"OP": 0}}
	multiplyKernel = shaders.Variant{File: "binary", Consts: map[string]any{"OP": 2}}
)

// sameF32 wants every input present, in f32 and of one shape, which it gives to
// the output.
func sameF32(n *graph.Node) ([]graph.Spec, error) {
	x := n.In[0].Spec()
	for _, t := range n.In {
		if !t.Valid() || t.Spec().Element != graph.F32 || !slices.Equal(t.Shape(), x.Shape) {
			return nil, fmt.Errorf("%s: want f32 of one shape", specs(n.In))
		}
	}
	return []graph.Spec{x}, nil
}

// specs lists what tensors are, for messages.
func specs(ts []graph.Tensor) string {
	s := ""
	for i, t := range ts {
		if i > 0 {
			s += ", "
		}
		if t.Valid() {
			s += t.Spec().String()
		} else {
			s += "absent"
		}
	}
	return s
}

// outputs pads what Apply returned after a misuse, when it knows of one output
// only, to the count that the caller will index.
func outputs(ts []graph.Tensor, count int) []graph.Tensor {
	for len(ts) < count {
		ts = append(ts, ts[0])
	}
	return ts
}

var mulOp = &graph.Op{
	Name:  "mul",
	Infer: sameF32,
	Lower: func(n *graph.Node) []graph.Launch {
		count := n.Out[0].Shape.Elems()
		args := []graph.Arg{graph.In(0), graph.In(1), graph.Out(0)}
		return []graph.Launch{elementwise(multiplyKernel, count, args, uint32(count), 1)}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		return []graph.Tensor{
			g.Apply(n.Op, nil, dy[0], n.In[1])[0],
			g.Apply(n.Op, nil, dy[0], n.In[0])[0],
		}
	},
	Ref: func(_ *graph.Node, in, out [][]float64) {
		for i := range out[0] {
			out[0][i] = in[0][i] * in[1][i]
		}
	},
}

// Mul records a · b, element by element, of one shape.
func Mul(g *graph.Graph, a, b graph.Tensor) graph.Tensor { return g.Apply(mulOp, nil, a, b)[0] }

var scaleOp = &graph.Op{
	Name:  "scale",
	Infer: sameF32,
	Lower: func(n *graph.Node) []graph.Launch {
		args := []graph.Arg{graph.In(0), graph.Out(0)}
		return []graph.Launch{elementwise(kernel("scale"), n.Out[0].Shape.Elems(), args, bits(n.Attr.(float64)))}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		return []graph.Tensor{g.Apply(n.Op, n.Attr, dy[0])[0]}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		for i, x := range in[0] {
			out[0][i] = n.Attr.(float64) * x
		}
	},
}

// Scale records factor · x.
func Scale(g *graph.Graph, x graph.Tensor, factor float64) graph.Tensor {
	return g.Apply(scaleOp, factor, x)[0]
}
