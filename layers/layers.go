// Package layers holds the building blocks of the towers. A layer is a struct
// of parameters, tagged `w:"…"` with their names in open_clip's state dict, and
// a Forward that records ops on a graph. A nil parameter is one the model does
// not have. Activations are [batch, tokens, width] in f32.
package layers

import (
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Linear is torch's nn.Linear: y = x·Wᵀ + b.
type Linear struct {
	Weight *Weight      `w:"weight"` // [out, in]
	Bias   *graph.Param `w:"bias"`   // [out]
}

// NewLinear returns a Linear with torch's default initialisation.
func NewLinear(in, out int, bias bool) *Linear {
	l := &Linear{Weight: NewWeight(kaimingUniform(in), out, in)}
	if bias {
		l.Bias = NewParam(kaimingUniform(in), out)
	}
	return l
}

// Forward maps [..., in] to [..., out].
func (l *Linear) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	return l.Weight.Forward(g, x, l.Bias)
}

func optional(g *graph.Graph, p *graph.Param) graph.Tensor {
	if p == nil {
		return graph.Tensor{}
	}
	return g.Param(p)
}

// LayerNorm normalises the last dimension (Ba et al., 2016), or is RMSNorm.
type LayerNorm struct {
	Weight *graph.Param `w:"weight"` // [width]
	Bias   *graph.Param `w:"bias"`   // [width]
	Eps    float64      // added to the variance
	RMS    bool         // RMSNorm (Zhang & Sennrich, 2019), which has no Bias
}

// NewLayerNorm returns a LayerNorm over width elements.
func NewLayerNorm(width int, eps float64) *LayerNorm {
	return &LayerNorm{Weight: NewParam(Constant(1), width), Bias: NewParam(Constant(0), width), Eps: eps}
}

// NewRMSNorm returns the LayerNorm over width elements that is RMSNorm.
func NewRMSNorm(width int, eps float64) *LayerNorm {
	return &LayerNorm{Weight: NewParam(Constant(1), width), Eps: eps, RMS: true}
}

// Forward keeps x's shape. A nil LayerNorm is the identity.
func (l *LayerNorm) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	switch {
	case l == nil:
		return x
	case l.RMS:
		return ops.RMSNorm(g, x, g.Param(l.Weight), l.Eps)
	}
	return ops.LayerNorm(g, x, g.Param(l.Weight), optional(g, l.Bias), l.Eps)
}

// LayerScale multiplies each channel by a learned factor (Touvron et al., 2021).
type LayerScale struct {
	Gamma *graph.Param `w:"gamma"`
}

// NewLayerScale returns a LayerScale whose factors start at init, or nil
// without one.
func NewLayerScale(width int, init *float64) *LayerScale {
	if init == nil {
		return nil
	}
	return &LayerScale{NewParam(Constant(*init), width)}
}

// Forward keeps x's shape. A nil LayerScale is the identity.
func (l *LayerScale) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	if l == nil {
		return x
	}
	return ops.MulBroadcast(g, x, g.Param(l.Gamma), 1)
}

// Embedding is a table of rows looked up by id.
type Embedding struct {
	Weight *Weight `w:"weight"` // [rows, width]

	padding *int // the row that no gradient reaches; nil for none
}

// NewEmbedding returns a table [rows, width] that src initialises.
func NewEmbedding(src graph.Source, rows, width int) *Embedding {
	return &Embedding{Weight: &Weight{Param: NewParam(src, rows, width)}}
}

// NewPaddedEmbedding returns a table from N(0, std²) whose row padding starts as
// zeros and is not trained (padding_idx of torch's nn.Embedding).
func NewPaddedEmbedding(rows, width int, std float64, padding int) *Embedding {
	e := NewEmbedding(Normal(std).withZeros(padding*width, (padding+1)*width), rows, width)
	e.padding = &padding
	return e
}

// Forward maps ids [...] in i32 to [..., width].
func (e *Embedding) Forward(g *graph.Graph, ids graph.Tensor) graph.Tensor {
	if e.padding != nil {
		return e.Weight.LookupPadded(g, ids, *e.padding)
	}
	return e.Weight.Lookup(g, ids)
}

// PatchEmbed is the convolution whose stride is its kernel: it cuts an image
// into patches and maps each to a token. Pixels beyond the last whole patch are
// dropped.
type PatchEmbed struct {
	Weight *Weight `w:"weight"` // [width, 3, patch height, patch width]
}

// NewPatchEmbed returns a PatchEmbed with torch's default initialisation.
func NewPatchEmbed(width, patchHeight, patchWidth int) *PatchEmbed {
	return &PatchEmbed{NewWeight(kaimingUniform(3*patchHeight*patchWidth), width, 3, patchHeight, patchWidth)}
}

// Forward maps an image [batch, 3, height, width] to [batch, lead + patches,
// width]: lead tokens of zeros, then one for each patch in row-major order.
func (p *PatchEmbed) Forward(g *graph.Graph, image graph.Tensor, lead int) graph.Tensor {
	s := p.Weight.Shape
	patches := ops.Patchify(g, image, s[2], s[3], lead)
	return p.Weight.Forward(g, patches, nil)
}
