package layers

import (
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// FastViTConfig describes the blocks of timm's FastViT (fastvit.py; Vasu et al., 2023).
type FastViTConfig struct {
	Width, MLPWidth int
	Kernel          int     // of RepMixer's convolution
	Attention       bool    // the token mixer is attention, not RepMixer
	NormEps         float64 // of a layer norm before attention; 0: it is a batch norm
	LSInit          float64 // LayerScale's initial value
	ProjDrop        float64 // rate of dropout in the MLP
	DropPath        float64
}

// fastViTHead is the width of attention's heads.
const fastViTHead = 32

// FastViTBlock is timm's RepMixerBlock or AttentionBlock. Images have the channels last.
type FastViTBlock struct {
	RepMixer    *RepMixer           `w:"token_mixer"` // or
	Norm        norm                `w:"norm"`        // with attention
	Attention   *TimmAttention      `w:"token_mixer"`
	LayerScale1 *ChannelsLayerScale `w:"layer_scale_1"` // with attention
	MLP         *FastViTMLP         `w:"mlp"`
	LayerScale2 *ChannelsLayerScale `w:"layer_scale_2"` // with attention
	LayerScale  *ChannelsLayerScale `w:"layer_scale"`   // without

	dropPath float64
}

type norm interface {
	Forward(g *graph.Graph, x graph.Tensor) graph.Tensor
}

// NewFastViTBlock returns one block.
func NewFastViTBlock(c FastViTConfig) *FastViTBlock {
	scale := func() *ChannelsLayerScale {
		return &ChannelsLayerScale{NewParam(Constant(c.LSInit), c.Width, 1, 1)}
	}
	b := &FastViTBlock{MLP: NewFastViTMLP(c), dropPath: c.DropPath}
	if !c.Attention {
		b.RepMixer = &RepMixer{
			Norm:  repMixerNorm{NewBatchNorm2D(c.Width)},
			Mixer: newDepthwiseBranches(c.Width, c.Width, c.Kernel, 1, true), LayerScale: scale(),
		}
		b.LayerScale = scale()
		return b
	}
	if b.Norm = NewBatchNorm2D(c.Width); c.NormEps > 0 {
		b.Norm = NewLayerNorm(c.Width, c.NormEps)
	}
	b.Attention = TimmConfig{Width: c.Width, Heads: c.Width / fastViTHead, ProjBias: true}.newAttention()
	b.LayerScale1, b.LayerScale2 = scale(), scale()
	return b
}

// Forward keeps the shape of x [batch, height, width, channels].
func (b *FastViTBlock) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	scale := b.LayerScale
	if b.RepMixer != nil {
		x = g.Module("token_mixer", func() graph.Tensor { return b.RepMixer.Forward(g, x) })
	} else {
		x, scale = b.attend(g, x), b.LayerScale2
	}
	h := g.Module("mlp", func() graph.Tensor { return b.MLP.Forward(g, x) })
	return g.Add(x, ops.DropPath(g, scale.Forward(g, h), b.dropPath))
}

// attend adds the attention of all pixels to each other to x.
func (b *FastViTBlock) attend(g *graph.Graph, x graph.Tensor) graph.Tensor {
	pixels := g.Reshape(x, x.Dim(0), x.Dim(1)*x.Dim(2), x.Dim(3))
	h := g.Module("norm", func() graph.Tensor { return b.Norm.Forward(g, pixels) })
	end := g.Scope("token_mixer")
	h = b.Attention.Forward(g, h, graph.Tensor{})
	g.Tap(g.Reshape(h, x.Shape()...))
	end()
	return g.Reshape(g.Add(pixels, ops.DropPath(g, b.LayerScale1.Forward(g, h), b.dropPath)), x.Shape()...)
}

// ChannelsLayerScale is a LayerScale whose factors have the shape [width, 1, 1]
// (LayerScale2d in timm's fastvit.py).
type ChannelsLayerScale struct {
	Gamma *graph.Param `w:"gamma"`
}

// Forward keeps the shape of x.
func (l *ChannelsLayerScale) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	return ops.MulBroadcast(g, x, l.factors(g), 1)
}

func (l *ChannelsLayerScale) factors(g *graph.Graph) graph.Tensor {
	return g.Reshape(g.Param(l.Gamma), l.Gamma.Shape[0])
}

// RepMixer mixes the pixels of each channel: x + scale · (Mixer(x) − Norm(x)).
type RepMixer struct {
	Norm       repMixerNorm        `w:"norm"`
	Mixer      *DepthwiseBranches  `w:"mixer"`
	LayerScale *ChannelsLayerScale `w:"layer_scale"`
}

type repMixerNorm struct {
	Identity *BatchNorm2D `w:"identity"`
}

// Forward keeps the shape of x.
func (m *RepMixer) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	if g.Training {
		h := g.Add(m.Mixer.Forward(g, x), ops.Scale(g, m.Norm.Identity.Forward(g, x), -1))
		return g.Add(x, m.LayerScale.Forward(g, h))
	}
	taps, bias := m.Mixer.fold(g)
	b, scale := m.Norm.Identity.fold(g)
	factors := m.LayerScale.factors(g)
	taps = ops.AddCentered(g, taps, g.Reshape(ops.Scale(g, scale, -1), 1, scale.Dim(0)), 0)
	taps = ops.AddCentered(g, ops.MulBroadcast(g, taps, factors, 1), graph.Tensor{}, 1)
	conv := m.Mixer.Conv[0].Conv
	return ops.Depthwise(g, x, taps, ops.Mul(g, g.Add(bias, ops.Scale(g, b, -1)), factors), conv.Weight.Shape[2], 1, conv.Padding)
}

// FastViTMLP is timm's ConvMlp: an MLP behind a depthwise convolution of 7 × 7.
type FastViTMLP struct {
	Conv *DepthwiseNorm `w:"conv"`
	FC1  *Conv2D        `w:"fc1"`
	FC2  *Conv2D        `w:"fc2"`

	drop float64
}

// NewFastViTMLP returns one with timm's initialisation.
func NewFastViTMLP(c FastViTConfig) *FastViTMLP {
	m := &FastViTMLP{
		Conv: NewDepthwiseNorm(c.Width, 7, 1),
		FC1:  NewConv2D(c.Width, c.MLPWidth, 1, 1, 0).WithBias(), FC2: NewConv2D(c.MLPWidth, c.Width, 1, 1, 0).WithBias(),
		drop: c.ProjDrop,
	}
	m.Conv.Conv.Weight.Source, m.FC1.Weight.Source, m.FC2.Weight.Source = timmInit, timmInit, timmInit
	m.FC1.Bias.Source, m.FC2.Bias.Source = Constant(0), Constant(0)
	return m
}

// Forward keeps the shape of x.
func (m *FastViTMLP) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	h := ops.Map(g, m.FC1.Forward(g, m.Conv.Forward(g, x)), ops.GELU)
	return ops.Dropout(g, m.FC2.Forward(g, ops.Dropout(g, h, m.drop)), m.drop)
}

// LargeKernelConv is timm's ReparamLargeKernelConv: depthwise convolutions of a large and a
// small window.
type LargeKernelConv struct {
	Large *DepthwiseNorm `w:"large_conv"`
	Small *DepthwiseNorm `w:"small_conv"`
	SE    *SqueezeExcite `w:"se"`

	act bool
}

// NewLargeKernelConv returns one to out channels with a window of side pixels. With act
// what it gives goes through GELU.
func NewLargeKernelConv(out, side, stride int, excite, act bool) *LargeKernelConv {
	l := &LargeKernelConv{Large: NewDepthwiseNorm(out, side, stride), Small: NewDepthwiseNorm(out, 3, stride), act: act}
	if excite {
		l.SE = NewSqueezeExcite(out, divisible(float64(out)/4, 8))
	}
	return l
}

// divisible is timm's make_divisible with round_limit 0: the multiple of d next to v, and
// d at least.
func divisible(v float64, d int) int { return max(d, int(v+float64(d)/2)/d*d) }

// Forward maps [batch, height, width, in] to [batch, rows, cols, out].
func (l *LargeKernelConv) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	var y graph.Tensor
	if g.Training {
		y = g.Add(l.Large.Forward(g, x), l.Small.Forward(g, x))
	} else {
		taps, bias := l.Large.fold(g)
		t, b := l.Small.fold(g)
		conv := l.Large.Conv
		y = ops.Depthwise(g, x, ops.AddCentered(g, taps, t, 0), g.Add(bias, b), conv.Weight.Shape[2], conv.Stride, conv.Padding)
	}
	if y = l.SE.Forward(g, y); l.act {
		y = ops.Map(g, y, ops.GELU)
	}
	return y
}

// CondPosEnc is timm's RepConditionalPosEnc: it adds a depthwise convolution of x to x
// (Chu et al., 2021).
type CondPosEnc struct {
	PosEnc *DepthwiseConv2D `w:"pos_enc"`
}

// NewCondPosEnc returns one with a window of 7 × 7.
func NewCondPosEnc(width int) *CondPosEnc {
	return &CondPosEnc{NewDepthwiseConv2D(width, 7, 1, 3, true)}
}

// Forward keeps the shape of x.
func (c *CondPosEnc) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	w := c.PosEnc.Weight
	taps := ops.AddCentered(g, ops.TapsFirst(g, g.Param(w)), graph.Tensor{}, 1)
	return ops.Depthwise(g, x, taps, g.Param(c.PosEnc.Bias), w.Shape[2], 1, c.PosEnc.Padding)
}
