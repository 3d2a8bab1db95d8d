package layers

import (
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Conv2D is torch's nn.Conv2d of one group without bias. Images have the
// channels last, [batch, height, width, channels].
type Conv2D struct {
	Weight          *graph.Param `w:"weight"` // [out, in, side, side]
	Stride, Padding int
}

// NewConv2D returns a Conv2D with torch's default initialisation.
func NewConv2D(in, out, side, stride, padding int) *Conv2D {
	return &Conv2D{NewWeight(kaimingUniform(in*side*side), out, in, side, side), stride, padding}
}

// Forward maps [batch, height, width, in] to [batch, rows, cols, out].
func (c *Conv2D) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	return ops.Conv2D(g, x, g.Param(c.Weight), graph.Tensor{}, c.Stride, c.Padding)
}

// BatchNorm2D is torch's nn.BatchNorm2d (Ioffe & Szegedy, 2015): it normalises
// every channel by the running statistics.
type BatchNorm2D struct {
	Weight            *graph.Param `w:"weight"`
	Bias              *graph.Param `w:"bias"`
	RunningMean       *graph.Param `w:"running_mean"`
	RunningVar        *graph.Param `w:"running_var"`
	NumBatchesTracked *graph.Param `w:"num_batches_tracked"` // a scalar
}

// NewBatchNorm2D returns a BatchNorm2D that has seen no batch.
func NewBatchNorm2D(channels int) *BatchNorm2D {
	buffer := func(init float64, shape ...int) *graph.Param {
		p := NewParam(Constant(init), shape...)
		p.Buffer = true
		return p
	}
	return &BatchNorm2D{
		Weight: NewParam(Constant(1), channels), Bias: NewParam(Constant(0), channels),
		RunningMean: buffer(0, channels), RunningVar: buffer(1, channels), NumBatchesTracked: buffer(0),
	}
}

// Forward keeps the shape of x [..., channels].
func (b *BatchNorm2D) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	return ops.BatchNorm(g, x, g.Param(b.Weight), g.Param(b.Bias), g.Param(b.RunningMean), g.Param(b.RunningVar), defaultEps)
}

// ConvNorm is a convolution without bias and its normalisation.
type ConvNorm struct {
	Conv *Conv2D      `w:"0"`
	BN   *BatchNorm2D `w:"1"`
}
