package layers

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// SwinConfig describes a stage of a Swin Transformer (SwinTransformerStage in timm's
// swin_transformer.py; Liu et al., 2021).
type SwinConfig struct {
	TimmConfig             // of the blocks
	Merge        bool      // two by two of what the stage is given, of half as many channels, make a token
	Grid, Window [2]int    // rows and columns of tokens; windows are no larger
	DropPaths    []float64 // a block's each
}

// SwinStage merges patches and attends within windows, of which every second block's are
// shifted by half a window.
type SwinStage struct {
	Norm      *LayerNorm   `w:"downsample.norm"`
	Reduction *Linear      `w:"downsample.reduction"` // nil where the stage merges no patches
	Blocks    []*TimmBlock `w:"blocks"`
}

// NewSwinStage returns a stage with timm's initialisation.
func NewSwinStage(c SwinConfig) *SwinStage {
	s := &SwinStage{}
	if c.Merge {
		s.Norm, s.Reduction = NewLayerNorm(2*c.Width, c.Eps), NewTimmLinear(2*c.Width, c.Width, false)
	}
	for i := range c.DropPaths {
		c.DropPath = c.DropPaths[i]
		b := NewTimmBlock(c.TimmConfig)
		b.Attn = newWindowAttention(c, i%2 == 1)
		s.Blocks = append(s.Blocks, b)
	}
	return s
}

// Forward maps [batch, height, width, Width/2] to [batch, height/2, width/2, Width], halves
// rounded up, or keeps the shape where no patches are merged.
func (s *SwinStage) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	x = g.Module("downsample", func() graph.Tensor {
		if s.Reduction == nil {
			return x
		}
		y := ops.Windows(g, x, ops.WindowConfig{Height: 2, Width: 2, ByColumn: true})
		y = g.Reshape(y, x.Dim(0), (x.Dim(1)+1)/2, (x.Dim(2)+1)/2, 4*x.Dim(3))
		return s.Reduction.Forward(g, s.Norm.Forward(g, y))
	})
	for i, b := range s.Blocks {
		x = g.Block(fmt.Sprintf("blocks.%d", i), func() graph.Tensor { return b.Forward(g, x, graph.Tensor{}) })
	}
	return x
}

// Tables are the biases of the blocks, [offsets, heads] each.
func (s *SwinStage) Tables() (tables []*graph.Param) {
	for _, b := range s.Blocks {
		tables = append(tables, b.Attn.(*windowAttention).Table)
	}
	return tables
}

// windowAttention is self-attention within windows, with biases by relative positions.
type windowAttention struct {
	Table         *graph.Param `w:"relative_position_bias_table"` // [offsets, heads]
	TimmAttention `w:""`

	window ops.WindowConfig
	bias   ops.RelativeBiasConfig
}

// newWindowAttention shifts nothing along an axis that one window covers.
func newWindowAttention(c SwinConfig, shifted bool) *windowAttention {
	size, shift := c.Window, [2]int{}
	for i := range shift {
		if shifted && c.Grid[i] > size[i] {
			shift[i] = size[i] / 2
		}
	}
	a := &windowAttention{
		Table: NewParam(timmInit, (2*size[0]-1)*(2*size[1]-1), c.Heads), TimmAttention: *c.newAttention(),
		window: ops.WindowConfig{Height: size[0], Width: size[1], ShiftY: shift[0], ShiftX: shift[1]},
		bias: ops.RelativeBiasConfig{
			Height: size[0], Width: size[1], Rows: graph.Ceil(c.Grid[0], size[0]), Cols: graph.Ceil(c.Grid[1], size[1]),
			ShiftY: shift[0], ShiftX: shift[1],
		},
	}
	a.Table.NoDecay = true
	return a
}

// Forward keeps the shape of x [batch, height, width, channels]. There are no angles. The
// last map is applied to the image, not to its windows, which are what is tapped: so the
// block's addition is part of it.
func (a *windowAttention) Forward(g *graph.Graph, x, _ graph.Tensor) graph.Tensor {
	y := a.QKV.Forward(g, ops.Windows(g, x, a.window))
	table := g.Tap(g.Param(a.Table), "relative_position_bias_table")
	bias := g.Tap(ops.RelativeBias(g, table, a.bias), "relative_position_bias")
	y = ops.SelfAttention(g, y, bias, a.config)
	g.Tap(a.Proj.Forward(g, y))
	y = ops.FromWindows(g, y, x.Shape(), a.window)
	return ops.Dropout(g, a.Proj.Forward(g, y), a.projDrop)
}
