package layers

import (
	"math"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// RelPosConfig describes the biases that attention has by how far apart patches are.
// Towers share it among their blocks.
type RelPosConfig struct {
	bias   ops.RelativeBiasConfig
	hidden int
	coords *graph.Param // [offsets, 2], in no state dict
}

// NewRelPosConfig returns that of a grid of height by width patches behind prefix tokens
// without a bias, whose MLPs have hidden features.
func NewRelPosConfig(height, width, prefix, hidden int) *RelPosConfig {
	p := NewParam(relativeCoords{height, width}, (2*height-1)*(2*width-1), 2)
	p.Name, p.Frozen = "relative coordinates", true
	return &RelPosConfig{ops.RelativeBiasConfig{Height: height, Width: width, Prefix: prefix}, hidden, p}
}

// relativeCoords is the Source of logarithms of how far apart patches of a grid are, down
// and to the right (gen_relative_log_coords of timm's pos_embed_rel.py, mode cr).
type relativeCoords struct{ height, width int }

// ReadF32 implements graph.Source.
func (c relativeCoords) ReadF32(dst []float32, offset int) error {
	for i := range dst {
		row, axis := (offset+i)/2, (offset+i)%2
		d := [2]int{row/(2*c.width-1) - c.height + 1, row%(2*c.width-1) - c.width + 1}[axis]
		dst[i] = float32(math.Copysign(math.Log1p(math.Abs(float64(d))), float64(d)))
	}
	return nil
}

// relPosAttention is multi-head self-attention with biases by relative positions
// (RelPosAttention in timm's vision_transformer_relpos.py).
type relPosAttention struct {
	QKV    *Linear  `w:"qkv"`
	MLP    *TimmMLP `w:"rel_pos.mlp"` // from logarithms of coordinates to each head's bias
	Proj   *Linear  `w:"proj"`
	config ops.AttentionConfig
	relPos *RelPosConfig

	projDrop float64
}

// relPosDrop is the rate of dropout in RelPosMlp of timm's pos_embed_rel.py.
const relPosDrop = 0.125

// NewRelPosBlock returns a TimmBlock whose attention has such biases, with torch's
// initialisation.
func NewRelPosBlock(c TimmConfig, r *RelPosConfig) *TimmBlock {
	b := NewTimmBlock(c)
	a := &relPosAttention{
		QKV:  NewLinear(c.Width, 3*c.Width, c.QKVBias),
		MLP:  &TimmMLP{FC1: NewLinear(2, r.hidden, true), FC2: NewLinear(r.hidden, c.Heads, true), Activation: ops.ReLU, HiddenDrop: relPosDrop},
		Proj: NewLinear(c.Width, c.Width, true), config: attentionOf(c.Width, c.Heads), relPos: r, projDrop: c.ProjDrop,
	}
	a.config.Dropout = c.AttnDrop
	b.Attn = a
	b.MLP = &TimmMLP{
		FC1: NewLinear(c.Width, c.MLPWidth, true), FC2: NewLinear(c.MLPWidth, c.Width, true),
		Activation: c.Activation, HiddenDrop: c.ProjDrop, OutDrop: c.ProjDrop,
	}
	return b
}

// Forward keeps x's shape. There are no angles.
func (a *relPosAttention) Forward(g *graph.Graph, x, _ graph.Tensor) graph.Tensor {
	table := g.Module("rel_pos.mlp", func() graph.Tensor { return a.MLP.Forward(g, g.Tap(g.Param(a.relPos.coords), "coords")) })
	y := a.QKV.Forward(g, x)
	bias := g.Tap(ops.RelativeBias(g, table, a.relPos.bias), "rel_pos")
	y = ops.SelfAttention(g, y, bias, a.config)
	return g.Tap(ops.Dropout(g, a.Proj.Forward(g, y), a.projDrop))
}
