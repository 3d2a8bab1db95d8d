package layers

import (
	"math"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// bottleneckExpansion is how many times wider a Bottleneck's output is than its
// convolutions of 3 × 3.
const bottleneckExpansion = 4

// Bottleneck is the residual block of CLIP's ResNets (Bottleneck in open_clip's
// modified_resnet.py): all convolutions have stride 1, an average pool before the
// last one strides. Images have the channels last.
type Bottleneck struct {
	Conv1      *Conv2D      `w:"conv1"`
	BN1        *BatchNorm2D `w:"bn1"`
	Conv2      *Conv2D      `w:"conv2"`
	BN2        *BatchNorm2D `w:"bn2"`
	Conv3      *Conv2D      `w:"conv3"`
	BN3        *BatchNorm2D `w:"bn3"`
	Downsample *ConvNorm    `w:"downsample"` // nil where x is added as it is
	Stride     int
}

// NewBottleneck returns a block from in to 4·planes channels that starts as the
// identity, or the downsampling, alone.
func NewBottleneck(in, planes, stride int) *Bottleneck {
	out := planes * bottleneckExpansion
	b := &Bottleneck{
		Conv1: NewConv2D(in, planes, 1, 1, 0), BN1: NewBatchNorm2D(planes),
		Conv2: NewConv2D(planes, planes, 3, 1, 1), BN2: NewBatchNorm2D(planes),
		Conv3: NewConv2D(planes, out, 1, 1, 0), BN3: NewBatchNorm2D(out),
		Stride: stride,
	}
	b.BN3.Weight.Source = Constant(0)
	if stride > 1 || in != out {
		b.Downsample = &ConvNorm{NewConv2D(in, out, 1, 1, 0), NewBatchNorm2D(out)}
	}
	return b
}

// Forward maps [batch, height, width, in] to [batch, height/stride, width/stride,
// 4·planes].
func (b *Bottleneck) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	y := ConvNormReLU(g, "1", b.Conv1, b.BN1, x)
	y = b.pool(g, "avgpool", ConvNormReLU(g, "2", b.Conv2, b.BN2, y))
	y = g.Module("conv3", func() graph.Tensor { return b.Conv3.Forward(g, y) })
	y = g.Module("bn3", func() graph.Tensor { return b.BN3.Forward(g, y) })
	identity := x
	if b.Downsample != nil {
		identity = g.Module("downsample", func() graph.Tensor { return b.downsample(g, x) })
	}
	return g.Module("act3", func() graph.Tensor { return ops.Map(g, g.Add(y, identity), ops.ReLU) })
}

func (b *Bottleneck) downsample(g *graph.Graph, x graph.Tensor) graph.Tensor {
	x = b.pool(g, "-1", x)
	x = g.Module("0", func() graph.Tensor { return b.Downsample.Conv.Forward(g, x) })
	return g.Module("1", func() graph.Tensor { return b.Downsample.BN.Forward(g, x) })
}

func (b *Bottleneck) pool(g *graph.Graph, name string, x graph.Tensor) graph.Tensor {
	if b.Stride == 1 {
		return x
	}
	return g.Module(name, func() graph.Tensor { return ops.AvgPool2D(g, x, b.Stride, b.Stride, 0) })
}

// ConvNormReLU applies conv, bn and ReLU to x [batch, height, width, in], as modules
// named conv, bn and act with number behind: [batch, rows, cols, out].
func ConvNormReLU(g *graph.Graph, number string, conv *Conv2D, bn *BatchNorm2D, x graph.Tensor) graph.Tensor {
	x = g.Module("conv"+number, func() graph.Tensor { return conv.Forward(g, x) })
	x = g.Module("bn"+number, func() graph.Tensor { return bn.Forward(g, x) })
	return g.Module("act"+number, func() graph.Tensor { return ops.Map(g, x, ops.ReLU) })
}

// AttentionPool2D pools an image by the attention of its mean to itself and its
// pixels (AttentionPool2d in open_clip's modified_resnet.py).
type AttentionPool2D struct {
	PositionalEmbedding *graph.Param `w:"positional_embedding"` // [1 + side², width]
	KProj               *Linear      `w:"k_proj"`
	QProj               *Linear      `w:"q_proj"`
	VProj               *Linear      `w:"v_proj"`
	CProj               *Linear      `w:"c_proj"` // [out, width]

	Heads int
}

// NewAttentionPool2D returns a pool of images of side × side pixels.
func NewAttentionPool2D(side, width, heads, out int) *AttentionPool2D {
	std := Normal(1 / math.Sqrt(float64(width)))
	linear := func(out int) *Linear {
		l := NewLinear(width, out, true)
		l.Weight.Source = std
		return l
	}
	return &AttentionPool2D{
		PositionalEmbedding: NewParam(std, side*side+1, width),
		KProj:               linear(width), QProj: linear(width), VProj: linear(width), CProj: linear(out),
		Heads: heads,
	}
}

// Forward maps [batch, side, side, width] to [batch, out].
func (p *AttentionPool2D) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	batch, pixels, width := x.Dim(0), x.Dim(1)*x.Dim(2), x.Dim(3)
	if s := p.PositionalEmbedding.Shape; s[0] != pixels+1 || s[1] != width {
		g.Fail("a feature map of %v, want [batch, side, side, %d] with %d pixels", x.Spec(), s[1], s[0]-1)
	}
	x = g.Reshape(x, batch, pixels, width)
	mean := g.Reshape(ops.MeanAxis(g, x, 1), batch, 1, width)
	x = ops.AddBroadcast(g, ops.Concat(g, 1, mean, x), g.Param(p.PositionalEmbedding), 1)
	q := p.QProj.Forward(g, ops.Split(g, x, 1, 1, pixels)[0])
	k, v := p.KProj.Forward(g, x), p.VProj.Forward(g, x)
	y := ops.Attention(g, q, k, v, graph.Tensor{}, ops.AttentionConfig{Heads: p.Heads, Scale: 1 / math.Sqrt(float64(width/p.Heads))})
	return g.Reshape(p.CProj.Forward(g, y), batch, p.CProj.Weight.Shape[0])
}
