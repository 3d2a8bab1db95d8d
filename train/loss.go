package train

import (
	"context"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Loss is what training makes small, over a batch of n pairs of an image and a
// text. What it records must be the same whenever Record is called for the same n.
type Loss interface {
	// Record appends the loss to g with the functions of package ops and returns it,
	// one f32. Inputs that it declares with g.Input are given by Inputs; their names
	// must not be those of the towers' ("image", "text", "pool") nor of the optimizer
	// ("settings", "records 0" and so on). A mistake it reports with g.Fail.
	Record(g *graph.Graph, f Features) graph.Tensor
	// Inputs are the values of the inputs that Record declares, []float32 or []int32,
	// row-major, for a batch that fits the model.
	Inputs(ctx context.Context, b Batch) (map[string]any, error)
}

// Features are what a model gives a Loss: row i of both towers is of pair i.
type Features struct {
	Image, Text graph.Tensor // unit vectors, [n, embed_dim]
	LogitScale  graph.Tensor // the exponential of the parameter logit_scale, [1]
	LogitBias   graph.Tensor // [1]; absent, as Valid tells, where the model has none
}

// logits are the scaled similarities [n, n] of x's rows and y's.
func (f Features) logits(g *graph.Graph, x, y graph.Tensor) graph.Tensor {
	z := ops.MatMul(g, ops.MulBroadcast(g, x, f.LogitScale, 1), y, false, true)
	if f.LogitBias.Valid() {
		z = ops.AddBroadcast(g, z, f.LogitBias, 1)
	}
	return z
}

// ClipLoss is the mean of the cross entropies of images among texts and of texts
// among images, open_clip's ClipLoss (Radford et al., 2021).
type ClipLoss struct{}

// Record implements Loss.
func (ClipLoss) Record(g *graph.Graph, f Features) graph.Tensor {
	labels := g.Input("labels", graph.Shape{f.Image.Dim(0)}, graph.I32)
	images := ops.CrossEntropy(g, f.logits(g, f.Image, f.Text), labels)
	texts := ops.CrossEntropy(g, f.logits(g, f.Text, f.Image), labels)
	return ops.Scale(g, g.Add(images, texts), 0.5)
}

// Inputs implements Loss: each row's label is its own column.
func (ClipLoss) Inputs(_ context.Context, b Batch) (map[string]any, error) {
	own := make([]int32, len(b.Texts))
	for i := range own {
		own[i] = int32(i)
	}
	return map[string]any{"labels": own}, nil
}

// SigLipLoss is the sigmoid loss of all pairs of an image and a text, summed and
// divided by the batch, open_clip's SigLipLoss (Zhai et al., 2023).
type SigLipLoss struct{}

// Record implements Loss.
func (SigLipLoss) Record(g *graph.Graph, f Features) graph.Tensor {
	n := f.Image.Dim(0)
	labels := g.Input("labels", graph.Shape{n, n}, graph.F32)
	pairs := ops.Map(g, ops.Mul(g, labels, f.logits(g, f.Image, f.Text)), ops.LogSigmoid)
	return ops.Scale(g, ops.Sum(g, pairs), -1/float64(n))
}

// Inputs implements Loss: the labels are +1 on the diagonal and -1 elsewhere.
func (SigLipLoss) Inputs(_ context.Context, b Batch) (map[string]any, error) {
	n := len(b.Texts)
	signs := make([]float32, n*n)
	for i := range signs {
		signs[i] = -1
	}
	for i := range n {
		signs[i*n+i] = 1
	}
	return map[string]any{"labels": signs}, nil
}
