package ops

import (
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// pixelPatches are patches of an image [batch, 3, height, width] that is given in bytes.
type pixelPatches struct {
	image graph.Shape
	patch patchSize
}

// levels is how many values a byte has.
const levels = 256

// pixelsOp takes bytes and levels to the image or, fused, to its patches. The image
// itself is its only patch.
var pixelsOp = &graph.Op{
	Name: "pixels",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		bytes, table, image := n.In[0].Spec(), n.In[1].Spec(), n.Attr.(pixelPatches).image
		if image[2] <= 0 || image[3] <= 0 || !n.In[0].Valid() || bytes.Element != graph.I32 || !slices.Equal(bytes.Shape, graph.Shape{image[0], pixelWords(image)}) {
			return nil, fmt.Errorf("bytes %v of images of %d×%d: want i32 [batch, %d]", bytes, image[2], image[3], pixelWords(image))
		}
		if table.Element != graph.F32 || !slices.Equal(table.Shape, graph.Shape{3, levels}) {
			return nil, fmt.Errorf("levels %v: want f32 [3, %d]", table, levels)
		}
		return []graph.Spec{{Shape: image}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		p := n.Attr.(pixelPatches)
		kernel := kernel("patchify").With(map[string]any{"BYTES": true})
		args := []graph.Arg{graph.In(0), graph.In(1), graph.Out(0)}
		return []graph.Launch{elementwise(kernel, n.Out[0].Shape.Elems(), args, append(patchParams(p.image, p.patch), uint32(pixelWords(p.image)))...)}
	},
	Fuse: func(n, user *graph.Node) *graph.Node {
		if user.Op != patchifyOp {
			return nil
		}
		attr := pixelPatches{n.Attr.(pixelPatches).image, user.Attr.(patchSize)}
		return &graph.Node{Op: n.Op, In: n.In, Out: user.Out, Attr: attr}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		p := n.Attr.(pixelPatches)
		area, words := p.image[2]*p.image[3], pixelWords(p.image)
		eachPixel(p.image, p.patch, func(i, pixel int) {
			b, c, at := pixel/(3*area), pixel/area%3, pixel%area
			at = 3*at + c
			word := uint32(int32(in[0][b*words+at/4]))
			out[0][i] = in[1][levels*c+int(word>>(at%4*8)&(levels-1))]
		})
	},
}

// pixelWords is how many words the bytes of one image take.
func pixelWords(image graph.Shape) int { return graph.Ceil(3*image[2]*image[3], 4) }

// Pixels records the image [batch, 3, height, width] that bytes stand for. bytes, i32
// [batch, ⌈3 · height · width / 4⌉], are RGB images [height, width, 3] with four bytes in
// each number, the first one lowest. levels, f32 [3, 256], are the values of each
// channel's bytes. No gradient flows.
func Pixels(g *graph.Graph, bytes, levels graph.Tensor, height, width int) graph.Tensor {
	batch := 0
	if len(bytes.Shape()) > 0 {
		batch = bytes.Dim(0)
	}
	image := graph.Shape{batch, 3, height, width}
	return g.Apply(pixelsOp, pixelPatches{image, patchSize{h: height, w: width}}, bytes, levels)[0]
}
