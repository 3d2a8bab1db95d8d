package ops

import (
	"math"
	mathbits "math/bits"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// drop says what is dropped at random at one place of a model: element i where word i
// of a stream is small. Whoever needs a mask again computes it again, so none is
// stored.
type drop struct {
	rate   float64
	stream uint32
}

// newDrop returns a drop with the next stream of g's random words, and the seed. acts
// is false where nothing is dropped.
func newDrop(g *graph.Graph, rate float64) (d drop, seed graph.Tensor, acts bool) {
	if !(rate >= 0 && rate <= 1) {
		g.Fail("a dropout rate of %v, want 0 to 1", rate)
	}
	if !g.Training || rate == 0 {
		return d, seed, false
	}
	seed, stream := g.Random()
	return drop{rate, stream}, seed, true
}

// dropping returns the variant of a kernel that drops and the seed to bind, or the
// plain kernel and a dummy where nothing is dropped.
func (d drop) dropping(file string, seed graph.Arg) (shaders.Variant, graph.Arg) {
	if d.rate == 0 {
		return kernel(file), graph.None()
	}
	return shaders.Variant{File: file, Consts: map[string]any{"DROPOUT": true}}, seed
}

// limit is the greatest random word for which an element is dropped.
func (d drop) limit() uint32 { return uint32(max(1, math.Round(d.rate*(1<<32))) - 1) }

// scale is what the elements that stay are multiplied by.
func (d drop) scale() float64 {
	if d.rate == 1 {
		return 0 // none stays
	}
	return 1 / (1 - d.rate)
}

// params are those of the kernels that drop.
func (d drop) params() []uint32 { return []uint32{d.stream, d.limit(), bits(d.scale())} }

// mask is the factor of element i: 0 where it is dropped.
func (d drop) mask(seed []float64, i int) float64 {
	if randomWord(seed, d.stream, uint32(i)) <= d.limit() {
		return 0
	}
	return d.scale()
}

// randomWord is random_word of random.wgsl.
func randomWord(seed []float64, stream, i uint32) uint32 {
	key := [3]uint32{uint32(int32(seed[0])), uint32(int32(seed[1]))}
	key[2] = 0x1bd11bda ^ key[0] ^ key[1]
	distances := [2][4]int{{13, 15, 26, 6}, {17, 29, 16, 24}}
	x, y := stream+key[0], i+key[1]
	for group := range 5 {
		for _, distance := range distances[group%2] {
			x += y
			y = mathbits.RotateLeft32(y, distance) ^ x
		}
		x += key[(group+1)%3]
		y += key[(group+2)%3] + uint32(group) + 1
	}
	return x
}

// dropoutAttr is a drop of so many elements side by side at once.
type dropoutAttr struct {
	drop
	run int
}

// dropoutOp takes x and the seed to y. Its gradient is itself.
var dropoutOp = &graph.Op{
	Name:  "dropout",
	Infer: func(n *graph.Node) ([]graph.Spec, error) { return likeRows(n.In[0]) },
	Lower: func(n *graph.Node) []graph.Launch {
		attr := n.Attr.(dropoutAttr)
		return []graph.Launch{attr.launch(n.Out[0], attr.run, graph.In(0), graph.In(1), graph.Out(0))}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		return []graph.Tensor{g.Apply(n.Op, n.Attr, dy[0], n.In[1])[0], {}}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		attr := n.Attr.(dropoutAttr)
		for i, x := range in[0] {
			out[0][i] = x * attr.mask(in[1], i/attr.run)
		}
	},
}

// launch drops elements of x, of the shape s, and writes the result to y. Each run of
// neighbours stays or goes as one.
func (d drop) launch(s graph.Spec, run int, x, seed, y graph.Arg) graph.Launch {
	return elementwise(kernel("dropout"), s.Shape.Elems(), []graph.Arg{x, seed, y}, append([]uint32{uint32(run)}, d.params()...)...)
}

// Dropout records, where g is for training, x [..., cols] with each element set to zero
// with probability rate, 0 to 1, and multiplied by 1/(1 − rate) otherwise
// (torch.nn.functional.dropout; Srivastava et al., 2014). The input "seed" decides
// which: see graph.Graph.Random. Elsewhere, and at rate 0, it returns x.
func Dropout(g *graph.Graph, x graph.Tensor, rate float64) graph.Tensor {
	return dropRuns(g, x, rate, 1)
}

// DropPath is Dropout of whole items, along the first dimension of x [batch, ...]: drop
// path of timm's drop.py (Huang et al., Deep Networks with Stochastic Depth, 2016).
func DropPath(g *graph.Graph, x graph.Tensor, rate float64) graph.Tensor {
	return dropRuns(g, x, rate, x.Shape().Elems()/x.Dim(0))
}

func dropRuns(g *graph.Graph, x graph.Tensor, rate float64, run int) graph.Tensor {
	d, seed, acts := newDrop(g, rate)
	if !acts {
		return x
	}
	return g.Apply(dropoutOp, dropoutAttr{d, run}, x, seed)[0]
}
