package layers

import (
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// ChannelsLast maps images [batch, channels, height, width], as the towers take them,
// to [batch, height, width, channels].
func ChannelsLast(g *graph.Graph, image graph.Tensor) graph.Tensor {
	batch, channels, height, width := image.Dim(0), image.Dim(1), image.Dim(2), image.Dim(3)
	x := ops.Transpose(g, g.Reshape(image, batch, channels, height*width))
	return g.Reshape(x, batch, height, width, channels)
}

// Conv2D is torch's nn.Conv2d of one group. Images have the channels last, [batch,
// height, width, channels].
type Conv2D struct {
	Weight          *Weight      `w:"weight"` // [out, in, side, side]
	Bias            *graph.Param `w:"bias"`   // [out]; nil for none
	Stride, Padding int
}

// NewConv2D returns a Conv2D without bias, with torch's default initialisation.
func NewConv2D(in, out, side, stride, padding int) *Conv2D {
	return &Conv2D{Weight: NewWeight(kaimingUniform(in*side*side), out, in, side, side), Stride: stride, Padding: padding}
}

// WithBias adds a bias, with torch's default initialisation, and returns c.
func (c *Conv2D) WithBias() *Conv2D {
	c.Bias = NewParam(c.Weight.Source, c.Weight.Shape[0])
	return c
}

// Forward maps [batch, height, width, in] to [batch, rows, cols, out].
func (c *Conv2D) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	s := c.Weight.Shape
	return c.Weight.Forward(g, ops.Unfold(g, x, s[2], s[3], c.Stride, c.Padding), c.Bias)
}

// DepthwiseConv2D is torch's nn.Conv2d of as many groups as there are channels. Images
// have the channels last.
type DepthwiseConv2D struct {
	Weight          *graph.Param `w:"weight"` // [out, 1, side, side]
	Bias            *graph.Param `w:"bias"`   // [out]; nil for none
	Stride, Padding int
}

// NewDepthwiseConv2D returns one with torch's default initialisation.
func NewDepthwiseConv2D(out, side, stride, padding int, bias bool) *DepthwiseConv2D {
	c := &DepthwiseConv2D{Weight: NewParam(kaimingUniform(side*side), out, 1, side, side), Stride: stride, Padding: padding}
	if bias {
		c.Bias = NewParam(c.Weight.Source, out)
	}
	return c
}

// Forward maps [batch, height, width, in] to [batch, rows, cols, out].
func (c *DepthwiseConv2D) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	return ops.DepthwiseConv2D(g, x, g.Param(c.Weight), optional(g, c.Bias), c.Stride, c.Padding)
}

// BatchNorm2D is torch's nn.BatchNorm2d (Ioffe & Szegedy, 2015): it normalises
// every channel by the running statistics or, where the graph is for training, by
// the batch's, which the running ones then follow.
type BatchNorm2D struct {
	Weight            *graph.Param `w:"weight"`
	Bias              *graph.Param `w:"bias"`
	RunningMean       *graph.Param `w:"running_mean"`
	RunningVar        *graph.Param `w:"running_var"`
	NumBatchesTracked *graph.Param `w:"num_batches_tracked"` // a scalar; nil when frozen

	Eval bool // training normalises by the running statistics, too, and leaves them (torch's eval)
}

// batchNormMomentum is the weight of a batch in the running statistics.
const batchNormMomentum = 0.1

// NewBatchNorm2D returns a BatchNorm2D that has seen no batch.
func NewBatchNorm2D(channels int) *BatchNorm2D {
	buffer := func(init float64, shape ...int) *graph.Param {
		p := NewParam(Constant(init), shape...)
		p.Buffer = true
		return p
	}
	b := &BatchNorm2D{
		Weight: NewParam(Constant(1), channels), Bias: NewParam(Constant(0), channels),
		RunningMean: buffer(0, channels), RunningVar: buffer(1, channels), NumBatchesTracked: buffer(0),
	}
	b.NumBatchesTracked.Integer = true
	return b
}

// Freeze makes b open_clip's FrozenBatchNorm2d (utils.py): training changes
// neither its statistics nor its weight and bias, and counts no batches.
func (b *BatchNorm2D) Freeze() {
	b.Weight.Buffer, b.Bias.Buffer = true, true
	b.NumBatchesTracked = nil
}

func (b *BatchNorm2D) isFrozen() bool { return b.NumBatchesTracked == nil }

// Forward keeps the shape of x [..., channels].
func (b *BatchNorm2D) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	mean, variance := g.Param(b.RunningMean), g.Param(b.RunningVar)
	if g.Training && !b.Eval && !b.isFrozen() {
		mean, variance = b.track(g, x)
	}
	return ops.BatchNorm(g, x, g.Param(b.Weight), g.Param(b.Bias), mean, variance, defaultEps)
}

// track returns the batch's mean and biased variance, and moves the running ones
// towards them. As in torch, the running variance follows the unbiased one.
func (b *BatchNorm2D) track(g *graph.Graph, x graph.Tensor) (mean, variance graph.Tensor) {
	n := float64(x.Shape().Elems() / x.Dim(-1))
	if n < 2 {
		g.Fail("batch norm of %v: want more than one value per channel when training", x.Spec())
	}
	mean, variance = ops.MeanVariance(g, x)
	follow := func(running *graph.Param, batch graph.Tensor, scale float64) {
		old := ops.Scale(g, g.Param(running), 1-batchNormMomentum)
		g.Assign(&running.State, g.Add(old, ops.Scale(g, batch, batchNormMomentum*scale)))
	}
	follow(b.RunningMean, mean, 1)
	follow(b.RunningVar, variance, n/(n-1))
	g.Assign(&b.NumBatchesTracked.State, g.Add(g.Param(b.NumBatchesTracked), g.Fill(1)))
	return mean, variance
}

// ConvNorm is a convolution without bias and its normalisation.
type ConvNorm struct {
	Conv *Conv2D      `w:"0"`
	BN   *BatchNorm2D `w:"1"`
}

// ConvNormAct is timm's ConvNormAct (conv_bn_act.py): a convolution, its
// normalisation and an activation. A frozen norm has no activation: it is part of timm's
// norm, which open_clip's freeze_batch_norm_2d replaces by one without.
type ConvNormAct struct {
	Conv *Conv2D      `w:"conv"`
	BN   *BatchNorm2D `w:"bn"` // nil: the convolution alone

	Activation ops.Function
}

// NewConvNormAct returns one whose batch norm has seen no batch.
func NewConvNormAct(conv *Conv2D, act ops.Function) *ConvNormAct {
	return &ConvNormAct{conv, NewBatchNorm2D(conv.Weight.Shape[0]), act}
}

// Forward maps [batch, height, width, in] to [batch, rows, cols, out].
func (c *ConvNormAct) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	x = g.Module("conv", func() graph.Tensor { return c.Conv.Forward(g, x) })
	if c.BN == nil {
		return x
	}
	return g.Module("bn", func() graph.Tensor {
		x := c.BN.Forward(g, x)
		if c.BN.isFrozen() {
			return x
		}
		return ops.Map(g, x, c.Activation)
	})
}
