package train

import (
	"context"
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Loss is what training makes small, over a batch of n pairs of an image and a
// text. What it records must be the same whenever Record is called for the same n.
type Loss interface {
	// Record appends the loss to g with the functions of package ops and returns it,
	// one f32. It depends on nothing but f and inputs that it declares with g.Input,
	// under names that neither the towers nor the trainer use; one that they use is an
	// error of the first step. A mistake it reports with g.Fail.
	Record(g *graph.Graph, f Features) graph.Tensor
	// Inputs are the values of the inputs that Record declares, []float32 or []int32,
	// row-major, for a batch that fits the model.
	Inputs(ctx context.Context, b Batch) (map[string]any, error)
}

// Features are what a model gives a Loss: row i of both towers is of pair i.
type Features struct {
	Image, Text graph.Tensor // unit vectors, [n, embed_dim]
	// Outputs are all that the model computes, by name, such as "image_tokens". With
	// micro-batches, in which nobody sees all pairs, they are the features alone.
	Outputs    map[string]graph.Tensor
	LogitScale graph.Tensor // the exponential of the parameter logit_scale, [1]
	LogitBias  graph.Tensor // [1]; absent, as Valid tells, where the model has none
}

// logits are the scaled similarities [rows of x, rows of y].
func (f Features) logits(g *graph.Graph, x, y graph.Tensor) graph.Tensor {
	z := ops.MatMul(g, ops.MulBroadcast(g, x, f.LogitScale, 1), y, false, true)
	if f.LogitBias.Valid() {
		z = ops.AddBroadcast(g, z, f.LogitBias, 1)
	}
	return z
}

// ClipLoss is the mean of the cross entropies of images among texts and of texts
// among images, open_clip's ClipLoss (Radford et al., 2021).
type ClipLoss struct {
	// Grouped makes pairs of one group (Batch.Groups) no negatives of each other: their
	// logits are left out of the softmax. Batches then need Groups. open_clip has no such.
	Grouped bool
}

// Record implements Loss.
func (l ClipLoss) Record(g *graph.Graph, f Features) graph.Tensor {
	n := f.Image.Dim(0)
	labels := g.Input("labels", graph.Shape{n}, graph.I32)
	images, texts := f.logits(g, f.Image, f.Text), f.logits(g, f.Text, f.Image)
	if l.Grouped {
		others := g.Input("others", graph.Shape{n, n}, graph.F32)
		images, texts = g.Add(images, others), g.Add(texts, others)
	}
	return ops.Scale(g, g.Add(ops.CrossEntropy(g, images, labels), ops.CrossEntropy(g, texts, labels)), 0.5)
}

// far is below every logit, and finite: its exponential is 0, a sum with it no NaN.
const far = -1e30

// Inputs implements Loss: each row's label is its own column.
func (l ClipLoss) Inputs(_ context.Context, b Batch) (map[string]any, error) {
	own := make([]int32, len(b.Texts))
	for i := range own {
		own[i] = int32(i)
	}
	in := map[string]any{"labels": own}
	if !l.Grouped {
		return in, b.ungrouped()
	}
	others, err := b.pairwise(0, far)
	in["others"] = others
	return in, err
}

// SigLipLoss is the sigmoid loss of all pairs of an image and a text, summed and
// divided by the batch, open_clip's SigLipLoss (Zhai et al., 2023).
type SigLipLoss struct {
	// Grouped leaves the pairs of an image and the text of another of its group
	// (Batch.Groups) out of the sum. Batches then need Groups. open_clip has no such.
	Grouped bool
	// ChunkSize is how many images are compared with all texts at a time (chunk_size):
	// memory is for that many rows of logits, which are computed again for their
	// gradients. 0 is all.
	ChunkSize int
}

// Record implements Loss.
func (l SigLipLoss) Record(g *graph.Graph, f Features) graph.Tensor {
	n := f.Image.Dim(0)
	var counted graph.Tensor
	if l.Grouped {
		counted = g.Input("counted", graph.Shape{n, n}, graph.F32)
	}
	if l.ChunkSize != 0 {
		return l.recordChunks(g, f, counted)
	}
	labels := g.Input("labels", graph.Shape{n, n}, graph.F32)
	pairs := ops.Map(g, ops.Mul(g, labels, f.logits(g, f.Image, f.Text)), ops.LogSigmoid)
	if l.Grouped {
		pairs = ops.Mul(g, pairs, counted)
	}
	return ops.Scale(g, ops.Sum(g, pairs), -1/float64(n))
}

// recordChunks records the loss in chunks of images. It counts every pair as a
// negative and then adds the difference for the positive ones: log σ(z) − log σ(−z) =
// z.
func (l SigLipLoss) recordChunks(g *graph.Graph, f Features, counted graph.Tensor) graph.Tensor {
	n := f.Image.Dim(0)
	if l.ChunkSize < 0 {
		g.Fail("SigLipLoss: ChunkSize is %d, want a number of images, or 0 for all", l.ChunkSize)
		return graph.Tensor{}
	}
	var sizes []int
	for lo := 0; lo < n; lo += l.ChunkSize {
		sizes = append(sizes, min(l.ChunkSize, n-lo))
	}
	defer func(before bool) { g.Checkpointing = before }(g.Checkpointing)
	g.Checkpointing = true
	images, rows := ops.Split(g, f.Image, 0, sizes...), []graph.Tensor{}
	if l.Grouped {
		rows = ops.Split(g, counted, 0, sizes...)
	}
	similar := ops.SumAxis(g, ops.Mul(g, f.Image, f.Text), 1)
	positive := ops.MulBroadcast(g, similar, f.LogitScale, 1)
	if f.LogitBias.Valid() {
		positive = ops.AddBroadcast(g, positive, f.LogitBias, 1)
	}
	sum := ops.Sum(g, positive)
	for i, x := range images {
		chunk := g.Block(fmt.Sprint(i), func() graph.Tensor {
			pairs := ops.Map(g, ops.Scale(g, f.logits(g, x, f.Text), -1), ops.LogSigmoid)
			if l.Grouped {
				pairs = ops.Mul(g, pairs, rows[i])
			}
			return ops.Sum(g, pairs)
		})
		sum = g.Add(sum, chunk)
	}
	return ops.Scale(g, sum, -1/float64(n))
}

// Inputs implements Loss: the labels are +1 on the diagonal and -1 elsewhere.
func (l SigLipLoss) Inputs(_ context.Context, b Batch) (map[string]any, error) {
	in := map[string]any{}
	if l.ChunkSize == 0 {
		n := len(b.Texts)
		signs := make([]float32, n*n)
		for i := range signs {
			signs[i] = -1
		}
		for i := range n {
			signs[i*n+i] = 1
		}
		in["labels"] = signs
	}
	if !l.Grouped {
		return in, b.ungrouped()
	}
	counted, err := b.pairwise(1, 0)
	in["counted"] = counted
	return in, err
}

// ungrouped refuses groups, which a loss that is not Grouped would pass over.
func (b Batch) ungrouped() error {
	if b.Groups != nil {
		return fmt.Errorf("%w: the batch has Groups, the loss is not Grouped", clip.ErrInput)
	}
	return nil
}

// pairwise returns a matrix [n, n] of images and texts: alike where they belong to
// different pairs of one group, other elsewhere.
func (b Batch) pairwise(other, alike float32) ([]float32, error) {
	n := len(b.Texts)
	if len(b.Groups) != n {
		return nil, fmt.Errorf("%w: %d groups for %d pairs", clip.ErrInput, len(b.Groups), n)
	}
	all := make([]float32, n*n)
	for i := range all {
		all[i] = other
		if r, c := i/n, i%n; r != c && b.Groups[r] == b.Groups[c] {
			all[i] = alike
		}
	}
	return all, nil
}

// GroupEqual gives Batch.Groups by equal texts: two pairs are alike if their captions are.
func GroupEqual(texts [][]int32) []int32 {
	first, groups := map[string]int32{}, make([]int32, len(texts))
	for i, row := range texts {
		key := fmt.Sprint(row)
		if _, ok := first[key]; !ok {
			first[key] = int32(i)
		}
		groups[i] = first[key]
	}
	return groups
}
