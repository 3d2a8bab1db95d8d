package layers

import (
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// ResNetBlock is timm's BasicBlock or, with a third convolution, Bottleneck (resnet.py; He
// et al., 2016), which strides in the convolution of 3 × 3. Images have the channels last.
type ResNetBlock struct {
	Conv1      *Conv2D      `w:"conv1"`
	BN1        *BatchNorm2D `w:"bn1"`
	Conv2      *Conv2D      `w:"conv2"`
	BN2        *BatchNorm2D `w:"bn2"`
	Conv3      *Conv2D      `w:"conv3"`
	BN3        *BatchNorm2D `w:"bn3"`
	Downsample *ConvNorm    `w:"downsample"` // nil where x is added as it is

	dropPath float64
}

// NewResNetBlock returns a block from in to planes channels or, of a bottleneck, to 4 ·
// planes, that starts as the identity, or the downsampling, alone.
func NewResNetBlock(in, planes, stride int, bottleneck bool, dropPath float64) *ResNetBlock {
	out := planes
	b := &ResNetBlock{BN1: NewBatchNorm2D(planes), BN2: NewBatchNorm2D(planes), dropPath: dropPath}
	last := b.BN2
	if bottleneck {
		out *= bottleneckExpansion
		b.BN3 = NewBatchNorm2D(out)
		b.Conv1, b.Conv2, b.Conv3 = NewResNetConv(in, planes, 1, 1), NewResNetConv(planes, planes, 3, stride), NewResNetConv(planes, out, 1, 1)
		last = b.BN3
	} else {
		b.Conv1, b.Conv2 = NewResNetConv(in, planes, 3, stride), NewResNetConv(planes, planes, 3, 1)
	}
	last.Weight.Source = Constant(0)
	if stride > 1 || in != out {
		b.Downsample = &ConvNorm{NewResNetConv(in, out, 1, stride), NewBatchNorm2D(out)}
	}
	return b
}

// NewResNetConv returns a Conv2D without bias, padded so that a stride of 1 keeps the
// image's size, with timm's initialisation for ResNets. side is odd.
func NewResNetConv(in, out, side, stride int) *Conv2D {
	c := NewConv2D(in, out, side, stride, side/2)
	c.Weight.Source = heNormal(side * side * out)
	return c
}

// Forward maps [batch, height, width, in] to [batch, ⌈height/stride⌉, ⌈width/stride⌉, out].
func (b *ResNetBlock) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	y := ConvNormReLU(g, "1", b.Conv1, b.BN1, x)
	conv, bn, number := b.Conv2, b.BN2, "2"
	if b.Conv3 != nil {
		y = ConvNormReLU(g, "2", b.Conv2, b.BN2, y)
		conv, bn, number = b.Conv3, b.BN3, "3"
	}
	y = g.Module("conv"+number, func() graph.Tensor { return conv.Forward(g, y) })
	y = g.Module("bn"+number, func() graph.Tensor { return bn.Forward(g, y) })
	shortcut := x
	if d := b.Downsample; d != nil {
		shortcut = g.Module("downsample", func() graph.Tensor { return d.BN.Forward(g, d.Conv.Forward(g, x)) })
	}
	y = g.Add(ops.DropPath(g, y, b.dropPath), shortcut)
	return g.Module("act"+number, func() graph.Tensor { return ops.Map(g, y, ops.ReLU) })
}

// MaxPoolOfReLU maps a feature map x [batch, height, width, channels] without negative
// numbers to the maxima over windows of 3 × 3 pixels, 2 apart (torch.nn.MaxPool2d(3, 2, 1)):
// zeros around x stand for what is smaller than any number there.
func MaxPoolOfReLU(g *graph.Graph, x graph.Tensor) graph.Tensor {
	const side = 3
	windows := ops.Unfold(g, x, side, side, 2, side/2)
	rows, cols := windows.Dim(1), windows.Dim(2)
	return ops.MaxAxis(g, g.Reshape(windows, x.Dim(0), rows, cols, x.Dim(3), side*side), -1)
}
