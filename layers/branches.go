package layers

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// What is here are convolutions that are trained as several branches whose results are
// added (Ding et al., RepVGG, 2021; Vasu et al., MobileOne, 2023), as timm's fastvit.py has
// them. In evaluation the branches of a depthwise one are a single convolution, whose
// weight is computed from theirs when they are loaded or have changed. Images have the
// channels last.

// SqueezeExcite multiplies every channel by what a small perceptron makes of the means of
// all channels (Hu et al., 2018; SEModule in timm's squeeze_excite.py).
type SqueezeExcite struct {
	FC1 *Conv2D `w:"fc1"`
	FC2 *Conv2D `w:"fc2"`
}

// NewSqueezeExcite returns one of a hidden width.
func NewSqueezeExcite(channels, hidden int) *SqueezeExcite {
	return &SqueezeExcite{NewConv2D(channels, hidden, 1, 1, 0).WithBias(), NewConv2D(hidden, channels, 1, 1, 0).WithBias()}
}

// Forward keeps the shape of x. A nil SqueezeExcite is the identity.
func (s *SqueezeExcite) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	if s == nil {
		return x
	}
	batch, channels := x.Dim(0), x.Dim(3)
	mean := ops.MeanAxis(g, g.Reshape(x, batch, x.Dim(1)*x.Dim(2), channels), 1)
	h := ops.Map(g, s.FC1.Forward(g, g.Reshape(mean, batch, 1, 1, channels)), ops.ReLU)
	gate := ops.Map(g, s.FC2.Forward(g, h), ops.Sigmoid)
	return ops.ScaleChannels(g, x, g.Reshape(gate, batch, channels))
}

// DepthwiseNorm is a depthwise convolution without bias and its normalisation.
type DepthwiseNorm struct {
	Conv *DepthwiseConv2D `w:"conv"`
	BN   *BatchNorm2D     `w:"bn"`
}

// NewDepthwiseNorm returns one to out channels, padded so that a stride of 1 keeps the
// image's size. side is odd.
func NewDepthwiseNorm(out, side, stride int) *DepthwiseNorm {
	return &DepthwiseNorm{NewDepthwiseConv2D(out, side, stride, side/2, false), NewBatchNorm2D(out)}
}

// Forward maps [batch, height, width, in] to [batch, rows, cols, out].
func (d *DepthwiseNorm) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	return d.BN.Forward(g, d.Conv.Forward(g, x))
}

// fold returns d as one convolution in evaluation: its weight, as ops.Depthwise takes it,
// and its bias.
func (d *DepthwiseNorm) fold(g *graph.Graph) (taps, bias graph.Tensor) {
	bias, scale := d.BN.fold(g)
	return ops.MulBroadcast(g, ops.TapsFirst(g, g.Param(d.Conv.Weight)), scale, 1), bias
}

// fold returns what b does in evaluation: it multiplies by scale and adds bias.
func (b *BatchNorm2D) fold(g *graph.Graph) (bias, scale graph.Tensor) {
	return ops.BatchNormFold(g, g.Param(b.Weight), g.Param(b.Bias), g.Param(b.RunningMean), g.Param(b.RunningVar), defaultEps)
}

// DepthwiseBranches are depthwise convolutions of one stride whose results are added, and
// the normalised image itself.
type DepthwiseBranches struct {
	Identity *BatchNorm2D     `w:"identity"` // nil for none
	Conv     []*DepthwiseNorm `w:"conv_kxk"` // one, or none
	Scale    *DepthwiseNorm   `w:"conv_scale"`
}

// Forward maps [batch, height, width, in] to [batch, rows, cols, out].
func (d *DepthwiseBranches) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	if g.Training {
		return d.apart(g, x)
	}
	taps, bias := d.fold(g)
	conv := d.Conv[0].Conv
	return ops.Depthwise(g, x, taps, bias, conv.Weight.Shape[2], conv.Stride, conv.Padding)
}

// apart adds up the branches' results.
func (d *DepthwiseBranches) apart(g *graph.Graph, x graph.Tensor) graph.Tensor {
	var sum graph.Tensor
	add := func(y graph.Tensor) {
		if sum.Valid() {
			y = g.Add(sum, y)
		}
		sum = y
	}
	if d.Scale != nil {
		add(d.Scale.Forward(g, x))
	}
	if d.Identity != nil {
		add(d.Identity.Forward(g, x))
	}
	for _, c := range d.Conv {
		add(c.Forward(g, x))
	}
	return sum
}

// fold adds up the branches' weights.
func (d *DepthwiseBranches) fold(g *graph.Graph) (taps, bias graph.Tensor) {
	taps, bias = d.Conv[0].fold(g)
	if d.Scale != nil {
		t, b := d.Scale.fold(g)
		taps, bias = ops.AddCentered(g, taps, t, 0), g.Add(bias, b)
	}
	if d.Identity != nil {
		b, scale := d.Identity.fold(g)
		taps, bias = ops.AddCentered(g, taps, g.Reshape(scale, 1, scale.Dim(0)), 0), g.Add(bias, b)
	}
	return taps, bias
}

// DenseNorm is a convolution of one group without bias and its normalisation.
type DenseNorm struct {
	Conv *Conv2D      `w:"conv"`
	BN   *BatchNorm2D `w:"bn"`
}

// Forward maps [batch, height, width, in] to [batch, rows, cols, out].
func (d *DenseNorm) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	return d.BN.Forward(g, d.Conv.Forward(g, x))
}

// DenseBranches are as DepthwiseBranches, of convolutions of one group. They stay apart
// in evaluation.
type DenseBranches struct {
	Identity *BatchNorm2D `w:"identity"`
	Conv     []*DenseNorm `w:"conv_kxk"`
	Scale    *DenseNorm   `w:"conv_scale"`
}

// Forward maps [batch, height, width, in] to [batch, rows, cols, out].
func (d *DenseBranches) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	y := d.Conv[0].Forward(g, x)
	if d.Scale != nil {
		y = g.Add(d.Scale.Forward(g, x), y)
	}
	if d.Identity != nil {
		y = g.Add(d.Identity.Forward(g, x), y)
	}
	return y
}

// branches are DepthwiseBranches or DenseBranches.
type branches interface {
	Forward(g *graph.Graph, x graph.Tensor) graph.Tensor
}

// MobileOne is timm's MobileOneBlock.
type MobileOne struct {
	SE       *SqueezeExcite `w:"se"`
	Branches branches       `w:""`

	act ops.Function
}

// NewMobileOne returns one whose convolution has one group, and a Scale if scale and side
// allow.
func NewMobileOne(in, out, side, stride int, scale bool, act ops.Function) *MobileOne {
	norm := func(side int) *DenseNorm {
		return &DenseNorm{NewConv2D(in, out, side, stride, side/2), NewBatchNorm2D(out)}
	}
	b := &DenseBranches{Conv: []*DenseNorm{norm(side)}}
	if side > 1 && scale {
		b.Scale = norm(1)
	}
	if in == out && stride == 1 {
		b.Identity = NewBatchNorm2D(in)
	}
	return &MobileOne{Branches: b, act: act}
}

// newDepthwiseBranches are those of timm's MobileOneBlock.
func newDepthwiseBranches(in, out, side, stride int, scale bool) *DepthwiseBranches {
	b := &DepthwiseBranches{Conv: []*DepthwiseNorm{NewDepthwiseNorm(out, side, stride)}}
	if side > 1 && scale {
		b.Scale = NewDepthwiseNorm(out, 1, stride)
	}
	if in == out && stride == 1 {
		b.Identity = NewBatchNorm2D(in)
	}
	return b
}

// NewMobileOneDepthwise returns one whose convolution is depthwise.
func NewMobileOneDepthwise(in, out, side, stride int, scale bool, act ops.Function) *MobileOne {
	return &MobileOne{Branches: newDepthwiseBranches(in, out, side, stride, scale), act: act}
}

// Forward maps [batch, height, width, in] to [batch, rows, cols, out].
func (m *MobileOne) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	return ops.Map(g, m.SE.Forward(g, m.Branches.Forward(g, x)), m.act)
}

// MobileOnes are applied one after the other, as modules with numbers for names.
type MobileOnes []*MobileOne

// Forward maps [batch, height, width, in] to [batch, rows, cols, out].
func (m MobileOnes) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	for i, one := range m {
		x = g.Module(fmt.Sprint(i), func() graph.Tensor { return one.Forward(g, x) })
	}
	return x
}
