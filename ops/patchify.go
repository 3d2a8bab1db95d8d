package ops

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// patchSize is a patch's height and width, and how many rows of zeros come
// before an image's patches.
type patchSize struct{ h, w, lead int }

var patchifyOp = &graph.Op{
	Name: "patchify",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		x, p := n.In[0].Spec(), n.Attr.(patchSize)
		if len(x.Shape) != 4 || x.Element != graph.F32 {
			return nil, fmt.Errorf("image %v: want f32 [batch, channels, height, width]", x)
		}
		if p.lead < 0 || p.h <= 0 || p.w <= 0 || p.h > x.Shape[2] || p.w > x.Shape[3] {
			return nil, fmt.Errorf("image %v, patches of %d×%d: want at least one whole patch", x, p.h, p.w)
		}
		s := x.Shape
		return []graph.Spec{{Shape: graph.Shape{s[0], p.lead + (s[2]/p.h)*(s[3]/p.w), s[1] * p.h * p.w}}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		params := patchParams(n.In[0].Shape(), n.Attr.(patchSize))
		return []graph.Launch{elementwise(kernel("patchify"), n.Out[0].Shape.Elems(), []graph.Arg{graph.In(0), graph.Out(0)}, params...)}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		return g.Apply(patchifyGradOp, patchifyGradAttr{n.In[0].Shape(), n.Attr.(patchSize)}, dy[0])
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		eachPixel(n.In[0].Shape(), n.Attr.(patchSize), func(i, pixel int) { out[0][i] = in[0][pixel] })
	},
}

func patchParams(image graph.Shape, p patchSize) []uint32 {
	return []uint32{uint32(image[1]), uint32(image[2]), uint32(image[3]), uint32(p.h), uint32(p.w), uint32(p.lead)}
}

// eachPixel calls f for every element of the patches, in order, with its index in the
// output and the index in the image of the pixel that it is.
func eachPixel(image graph.Shape, p patchSize, f func(i, pixel int)) {
	channels, height, width := image[1], image[2], image[3]
	rows, cols := height/p.h, width/p.w
	size := channels * p.h * p.w
	for b := range image[0] {
		for patch := range rows * cols {
			for e := range size {
				c, y, x := e/(p.w*p.h), patch/cols*p.h+e/p.w%p.h, patch%cols*p.w+e%p.w
				f((b*(p.lead+rows*cols)+p.lead+patch)*size+e, ((b*channels+c)*height+y)*width+x)
			}
		}
	}
}

type patchifyGradAttr struct {
	image graph.Shape
	patch patchSize
}

// patchifyGradOp puts patches back into an image.
var patchifyGradOp = &graph.Op{
	Name: "patchify_grad",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		return []graph.Spec{{Shape: n.Attr.(patchifyGradAttr).image}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		attr := n.Attr.(patchifyGradAttr)
		args := []graph.Arg{graph.In(0), graph.Out(0)}
		return []graph.Launch{elementwise(kernel("patchify_grad"), attr.image.Elems(), args, patchParams(attr.image, attr.patch)...)}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		attr := n.Attr.(patchifyGradAttr)
		eachPixel(attr.image, attr.patch, func(i, pixel int) { out[0][pixel] = in[0][i] })
	},
}

// Patchify cuts an image [batch, channels, height, width] into its whole
// patches, row by row: [batch, lead + patches, channels·patchH·patchW], each in the
// order of an OIHW convolution weight, so that a Linear of the flattened weight
// is the convolution whose stride is its kernel. Pixels beyond the last whole
// patch are dropped. lead rows of zeros before the patches of each image leave
// room for tokens that stand in front of them.
func Patchify(g *graph.Graph, image graph.Tensor, patchH, patchW, lead int) graph.Tensor {
	return g.Apply(patchifyOp, patchSize{patchH, patchW, lead}, image)[0]
}
