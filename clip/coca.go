package clip

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/engine"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// forwardPairs fills o with what a model with a decoder computes of pairs.
func (m *Model) forwardPairs(ctx context.Context, images map[string]Array, texts [][]int32, o *Output) error {
	b, l, err := m.pairs(images, texts)
	if err != nil {
		return err
	}
	values, err := m.engine.Run(ctx, b.Items, engine.Task{
		Key: fmt.Sprintf("pairs length=%d,%d", l.Image, l.Text),
		Record: func(g *graph.Graph, batch int) map[string]graph.Tensor {
			outs := m.towers.RecordPairs(g, batch, l)
			maps.DeleteFunc(outs, func(name string, _ graph.Tensor) bool { return strings.HasSuffix(name, "_tokens") })
			return outs
		},
		Feed: b.Feed,
	})
	if err != nil {
		return err
	}
	x, y, logits := Array(values[towers.ImageFeatures]), Array(values[towers.TextFeatures]), Array(values[towers.Logits])
	o.ImageFeatures, o.TextFeatures, o.Logits = &x, &y, &logits
	given := slices.Collect(maps.Values(images))
	if err := m.finiteOutputs(ctx, "image", map[string]Array{towers.Features: x}, m.isImage, given...); err != nil {
		return err
	}
	if err := m.finiteOutputs(ctx, "text", map[string]Array{towers.Features: y}, m.isText); err != nil {
		return err
	}
	return m.finite(ctx, "logits", logits, func(string) bool { return true }, given...)
}

// traceDecoder adds to found what the decoder's modules compute of pairs.
func (m *Model) traceDecoder(ctx context.Context, images map[string]Array, texts [][]int32, modules []string, found map[string]Array) error {
	modules = slices.DeleteFunc(slices.Clone(modules), func(name string) bool { return !strings.HasPrefix(name, towers.DecoderScope+".") })
	if len(modules) == 0 {
		return nil
	}
	b, l, err := m.pairs(images, texts)
	if err != nil {
		return err
	}
	record := func(g *graph.Graph, batch, _ int) towers.Outputs { return m.towers.RecordPairs(g, batch, l) }
	return m.trace(ctx, fmt.Sprintf("pairs length=%d", l.Image), b, record, modules, found)
}

// noDecoder refuses captions of a model that can write none.
func (m *Model) noDecoder() error {
	switch {
	case m.towers.Decoder != nil && m.towers.DropsStart():
		return fmt.Errorf("%w: model %s writes no captions: its hf_pooler_type cls_pooler takes the token of the start of a text, which the decoder would go on from", ErrInput, m.Name())
	case m.towers.Decoder != nil:
		return nil
	}
	return fmt.Errorf("%w: model %s has no decoder to write captions with: that is what models of the family CoCa have", ErrInput, m.Name())
}
