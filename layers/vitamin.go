package layers

import (
	"fmt"
	"math"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// viTaminEps is the eps of all norms in ViTamin's stem.
const viTaminEps = 1e-6

// ViTaminStem are the convolutions that make the tokens of ViTamin (MbConvStages in timm's
// vitamin.py; Chen et al., 2024): a stem, two stages of MBConv blocks and a convolution
// that strides, as each of the former does. Images have the channels last.
type ViTaminStem struct {
	Conv1  *Conv2D      `w:"stem.conv1"`
	Norm1  *LayerNorm   `w:"stem.norm1"`
	Conv2  *Conv2D      `w:"stem.conv2"`
	Stages [][]*mbConv  `w:"stages"`
	Pool   *viTaminPool `w:"pool"`
}

// NewViTaminStem returns one with stages of depths blocks and dims channels, the last of
// which are those of the tokens.
func NewViTaminStem(width int, depths, dims [2]int, out int) *ViTaminStem {
	s := &ViTaminStem{
		Conv1: viTaminConv(3, width, 3, 2), Norm1: NewLayerNorm(width, viTaminEps), Conv2: viTaminConv(width, width, 3, 1),
		Pool: &viTaminPool{Proj: NewConv2D(dims[1], out, 3, 2, 1).WithBias(), Norm: NewLayerNorm(dims[1], viTaminEps)},
	}
	in := width
	for i, dim := range dims {
		var blocks []*mbConv
		for d := range depths[i] {
			blocks = append(blocks, newMBConv(in, dim, 2-min(d, 1)))
			in = dim
		}
		s.Stages = append(s.Stages, blocks)
	}
	return s
}

// viTaminConv is a convolution with ViTamin's initialisation.
func viTaminConv(in, out, side, stride int) *Conv2D {
	c := NewConv2D(in, out, side, stride, side/2).WithBias()
	c.Weight.Source, c.Bias.Source = heNormal(side*side*out), Constant(0)
	return c
}

// heNormal is He et al.'s initialisation (2015) by the number of weights that an input has.
func heNormal(fanOut int) Init { return Normal(math.Sqrt(2 / float64(fanOut))) }

// Forward maps [batch, height, width, 3] to [batch, ⌈height/16⌉, ⌈width/16⌉, out].
func (s *ViTaminStem) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	x = g.Module("stem", func() graph.Tensor {
		h := ops.Map(g, s.Norm1.Forward(g, s.Conv1.Forward(g, x)), ops.GELU)
		return s.Conv2.Forward(g, h)
	})
	for i, stage := range s.Stages {
		x = g.Module(fmt.Sprintf("stages.%d", i), func() graph.Tensor {
			for j, b := range stage {
				x = g.Block(fmt.Sprint(j), func() graph.Tensor { return b.Forward(g, x) })
			}
			return x
		})
	}
	return g.Module("pool", func() graph.Tensor { return s.Pool.Proj.Forward(g, s.Pool.Norm.Forward(g, x)) })
}

// viTaminPool is timm's StridedConv.
type viTaminPool struct {
	Proj *Conv2D    `w:"proj"`
	Norm *LayerNorm `w:"norm"`
}

// mbConv is timm's MbConvLNBlock: an inverted bottleneck around which x flows.
type mbConv struct {
	Expand  *Conv2D          `w:"shortcut.expand"` // nil where x keeps its channels
	PreNorm *LayerNorm       `w:"pre_norm"`
	Conv1   *Conv2D          `w:"conv1_1x1"`
	Conv2   *DepthwiseConv2D `w:"conv2_kxk"`
	Conv3   *Conv2D          `w:"conv3_1x1"`
}

func newMBConv(in, out, stride int) *mbConv {
	wide := divisible(4*float64(out), 8)
	b := &mbConv{
		PreNorm: NewLayerNorm(in, viTaminEps), Conv1: viTaminConv(in, wide, 1, 1),
		Conv2: NewDepthwiseConv2D(wide, 3, stride, 1, true), Conv3: viTaminConv(wide, out, 1, 1),
	}
	b.Conv2.Weight.Source, b.Conv2.Bias.Source = heNormal(9), Constant(0)
	if in != out {
		b.Expand = viTaminConv(in, out, 1, 1)
	}
	return b
}

// Forward maps [batch, height, width, in] to [batch, ⌈height/stride⌉, ⌈width/stride⌉, out].
func (b *mbConv) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	shortcut := x
	if b.Conv2.Stride > 1 {
		shortcut = ops.AvgPool2D(g, x, 3, b.Conv2.Stride, 1)
	}
	if b.Expand != nil {
		shortcut = b.Expand.Forward(g, shortcut)
	}
	h := ops.Map(g, b.Conv1.Forward(g, b.PreNorm.Forward(g, x)), ops.GELU)
	h = ops.Map(g, b.Conv2.Forward(g, h), ops.GELU)
	return g.Add(b.Conv3.Forward(g, h), shortcut)
}

// NewViTaminBlock returns a TimmBlock whose MLP is a GeGLU.
func NewViTaminBlock(c TimmConfig) *TimmBlock {
	b := NewTimmBlock(c)
	b.MLP = &geGLU{
		Norm: NewLayerNorm(c.Width, viTaminEps),
		W0:   NewTimmLinear(c.Width, c.MLPWidth, true), W1: NewTimmLinear(c.Width, c.MLPWidth, true), W2: NewTimmLinear(c.MLPWidth, c.Width, true),
		drop: c.ProjDrop,
	}
	return b
}

// geGLU is timm's GeGluMlp (vitamin.py; Shazeer, GLU Variants Improve Transformer, 2020)
// behind a norm of its own.
type geGLU struct {
	Norm *LayerNorm `w:"norm"`
	W0   *Linear    `w:"w0"`
	W1   *Linear    `w:"w1"`
	W2   *Linear    `w:"w2"`

	drop float64
}

// Forward keeps x's shape.
func (m *geGLU) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	x = m.Norm.Forward(g, x)
	h := ops.Mul(g, ops.Map(g, m.W0.Forward(g, x), ops.GELU), m.W1.Forward(g, x))
	return ops.Dropout(g, m.W2.Forward(g, ops.Dropout(g, h, m.drop)), m.drop)
}
