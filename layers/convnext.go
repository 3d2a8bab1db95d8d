package layers

import (
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// ConvNeXtConfig describes the blocks of timm's ConvNeXt (ConvNeXtBlock in convnext.py).
type ConvNeXtConfig struct {
	Width, Kernel int
	ConvMLP       bool // the MLP's linear maps are stored as convolutions of 1 × 1
	Bias          bool // of the depthwise convolution
	Activation    ops.Function
	Eps           float64 // of every norm
	LSInit        float64 // Gamma's initial value
	DropPath      float64
}

// ConvNeXtBlock is a depthwise convolution, a norm and an MLP around which x flows
// (Liu et al., A ConvNet for the 2020s, 2022). Images have the channels last.
type ConvNeXtBlock struct {
	Gamma  *graph.Param     `w:"gamma"` // [width], a LayerScale
	ConvDW *DepthwiseConv2D `w:"conv_dw"`
	Norm   *LayerNorm       `w:"norm"`
	MLP    *TimmMLP         `w:"mlp"`

	config ConvNeXtConfig
}

// NewConvNeXtBlock returns one block with timm's initialisation.
func NewConvNeXtBlock(c ConvNeXtConfig) *ConvNeXtBlock {
	b := &ConvNeXtBlock{
		Gamma:  NewParam(Constant(c.LSInit), c.Width),
		ConvDW: NewDepthwiseConv2D(c.Width, c.Kernel, 1, c.Kernel/2, c.Bias),
		Norm:   NewLayerNorm(c.Width, c.Eps),
		MLP:    NewTimmMLP(c.Width, 4*c.Width, c.Width, true, c.Activation),
		config: c,
	}
	b.ConvDW.Weight.Source = timmInit
	if c.Bias {
		b.ConvDW.Bias.Source = Constant(0)
	}
	if c.ConvMLP {
		for _, l := range []*Linear{b.MLP.FC1, b.MLP.FC2} {
			l.Weight.Shape = append(l.Weight.Shape, 1, 1)
		}
	}
	return b
}

// Forward keeps x's shape [batch, height, width, channels].
func (b *ConvNeXtBlock) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	h := g.Module("conv_dw", func() graph.Tensor { return b.ConvDW.Forward(g, x) })
	h = g.Module("norm", func() graph.Tensor { return b.Norm.Forward(g, h) })
	h = g.Module("mlp", func() graph.Tensor { return b.MLP.Forward(g, h) })
	if !b.config.ConvMLP {
		g.Tap(ChannelsLastAsMap(g, h), "mlp")
	}
	return g.Add(x, ops.DropPath(g, ops.MulBroadcast(g, h, g.Param(b.Gamma), 1), b.config.DropPath))
}

// ChannelsLastAsMap is x [batch, height, width, channels] for a Tap of a module that in
// torch, too, has the channels last: as a feature map that has them first there,
// [batch, width, channels, height].
func ChannelsLastAsMap(g *graph.Graph, x graph.Tensor) graph.Tensor {
	batch, height, width, channels := x.Dim(0), x.Dim(1), x.Dim(2), x.Dim(3)
	return g.Reshape(ops.Transpose(g, g.Reshape(x, batch, height, width*channels)), batch, width, channels, height)
}
