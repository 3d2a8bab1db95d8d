package train

import (
	"context"
	"maps"

	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// CoCaLoss is ClipWeight·ClipLoss + CaptionWeight·CaptionLoss of a model with a decoder,
// open_clip's CoCaLoss (Yu et al., CoCa, 2022), whose trainer takes 1 and 2. It wants all
// that the model computes, so there are no micro-batches.
type CoCaLoss struct {
	ClipWeight, CaptionWeight float64
	PadID                     int32 // no token: what follows is not counted there (0 in open_clip)
}

// Record implements Loss. Each text but for its last token predicts the next.
func (l CoCaLoss) Record(g *graph.Graph, f Features) graph.Tensor {
	logits, ok := f.Outputs[towers.Logits]
	if !ok {
		g.Fail("CoCaLoss: there are no logits of a decoder: the model has none, or trains in micro-batches")
		return graph.Tensor{}
	}
	n, tokens := logits.Dim(0), logits.Dim(1)-1
	labels := g.Input("caption_labels", graph.Shape{n, tokens}, graph.I32)
	weights := g.Input("caption_weights", graph.Shape{n, tokens}, graph.F32)
	loss := ops.Scale(g, CaptionLoss(g, ops.Split(g, logits, 1, tokens, 1)[0], labels, weights), l.CaptionWeight)
	if l.ClipWeight == 0 {
		return loss
	}
	return g.Add(loss, ops.Scale(g, ClipLoss{}.Record(g, f), l.ClipWeight))
}

// Inputs implements Loss.
func (l CoCaLoss) Inputs(ctx context.Context, b Batch) (map[string]any, error) {
	labels, weights, err := CaptionLabels(b.Texts, l.PadID)
	if err != nil {
		return nil, err
	}
	in := map[string]any{"caption_labels": labels, "caption_weights": weights}
	if l.ClipWeight == 0 {
		return in, b.ungrouped()
	}
	pairs, err := ClipLoss{}.Inputs(ctx, b)
	maps.Copy(in, pairs)
	return in, err
}
