package train

import (
	"fmt"
	"math"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// CaptionLoss records the mean cross entropy of predicted tokens, the caption_loss of
// open_clip's CoCaLoss (Yu et al., CoCa, 2022): logits [n, length, vocabulary], the
// labels i32 [n, length] and their weights [n, length], which CaptionLabels gives.
func CaptionLoss(g *graph.Graph, logits, labels, weights graph.Tensor) graph.Tensor {
	tokens := logits.Dim(0) * logits.Dim(1)
	each := ops.CrossEntropies(g, g.Reshape(logits, tokens, logits.Dim(2)), g.Reshape(labels, tokens))
	return ops.Sum(g, ops.Mul(g, each, g.Reshape(weights, tokens)))
}

// CaptionLabels gives the labels of logits that were computed of texts but for their last
// tokens, each the token that follows, and their weights: 0 for padding, which is ignored
// (ignore_index of torch's CrossEntropyLoss), and together 1. Where all is padding they
// are NaN, and so is the loss, as torch's. Rows of different lengths, or of fewer than two
// tokens, give clip.ErrInput.
func CaptionLabels(texts [][]int32, pad int32) (labels []int32, weights []float32, err error) {
	count := 0
	for i, row := range texts {
		if len(row) < 2 || len(row) != len(texts[0]) {
			return nil, nil, fmt.Errorf("%w: text %d has %d tokens, want as many in each, and two or more", clip.ErrInput, i, len(row))
		}
		for _, id := range row[1:] {
			labels = append(labels, id)
			if id != pad {
				count++
			}
		}
	}
	weights = make([]float32, len(labels))
	for i, id := range labels {
		if id != pad {
			weights[i] = 1 / float32(count)
		} else if count == 0 {
			weights[i] = float32(math.NaN())
		}
	}
	return labels, weights, nil
}
