package towers

import (
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Unit makes the rows of x, along its last dimension, unit vectors.
func Unit(g *graph.Graph, x graph.Tensor) graph.Tensor {
	return ops.L2Normalize(g, x, ops.NormalizeEps)
}

// Programs lowers both towers for a batch: what a device replays for the unit
// features of images and of texts of contextLength tokens. prepare, where given,
// makes the graphs those for a device. Where one of the towers fails the other is
// there nevertheless.
func (m *Model) Programs(batch int, prepare func(*graph.Graph)) (image, text *graph.Program, err error) {
	lower := func(record func(*graph.Graph) Outputs) (*graph.Program, error) {
		g := graph.New()
		if prepare != nil {
			prepare(g)
		}
		return g.Build(Unit(g, record(g)[Features]))
	}
	l := m.Lengths()
	image, imageErr := lower(func(g *graph.Graph) Outputs { return m.RecordImages(g, batch, l.Image) })
	text, textErr := lower(func(g *graph.Graph) Outputs { return m.RecordTexts(g, batch, l.Text) })
	return image, text, check.First(imageErr, textErr)
}

// CaptionProgram lowers what a device replays for the next token of each of beams captions
// of images, whose tokens are read by a cache. Where the model writes none so, it is nil.
func (m *Model) CaptionProgram(images, beams int, prepare func(*graph.Graph)) (*graph.Program, error) {
	if m.Decoder == nil {
		return nil, nil
	}
	g := graph.New()
	if prepare != nil {
		prepare(g)
	}
	probe := graph.New()
	tokens := m.RecordImages(probe, 1, m.Lengths().Image)["tokens"]
	if err := probe.Err(); err != nil {
		return nil, err
	}
	c := m.NewCaptionCache(images, beams, tokens.Dim(1))
	if c == nil {
		return nil, nil
	}
	return g.Build(m.RecordStep(g, c)[Logits])
}
