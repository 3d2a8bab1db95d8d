// Package train fine-tunes CLIP models on the device: losses, AdamW and the
// step that ties them to the towers' gradients.
package train

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Loss is a contrastive objective over a batch of pairs.
type Loss uint8

const (
	// ClipLoss is the symmetric cross entropy of open_clip's loss.py (Radford
	// et al., 2021).
	ClipLoss Loss = iota
	// SigLipLoss is the pairwise sigmoid loss of open_clip's loss.py (Zhai et
	// al., 2023), summed over all pairs and divided by the batch.
	SigLipLoss
)

func (l Loss) String() string { return [...]string{"ClipLoss", "SigLipLoss"}[l] }

// Mode is how those layers act that differ in training, as torch's train() and
// eval() tell them: batch norms.
type Mode uint8

const (
	TrainMode Mode = iota
	EvalMode
)

// record appends the loss of n pairs of unit features [n, embed_dim]. scale is
// the exponential of the logit scale, [1]; bias, [1], may be absent.
func (l Loss) record(g *graph.Graph, image, text, scale, bias graph.Tensor) graph.Tensor {
	defer g.Scope("loss")()
	n := image.Dim(0)
	logits := func(x, y graph.Tensor) graph.Tensor {
		z := ops.MatMul(g, ops.MulBroadcast(g, x, scale, 1), y, false, true)
		if bias.Valid() {
			z = ops.AddBroadcast(g, z, bias, 1)
		}
		return z
	}
	if l == SigLipLoss {
		labels := g.Input("labels", graph.Shape{n, n}, graph.F32)
		pairs := ops.Map(g, ops.Mul(g, labels, logits(image, text)), ops.LogSigmoid)
		return ops.Scale(g, ops.Sum(g, pairs), -1/float64(n))
	}
	labels := g.Input("labels", graph.Shape{n}, graph.I32)
	both := g.Add(ops.CrossEntropy(g, logits(image, text), labels), ops.CrossEntropy(g, logits(text, image), labels))
	return ops.Scale(g, both, 0.5)
}

// labels are the values of the input that record declares: for ClipLoss each
// row's own column, for SigLipLoss +1 on the diagonal and -1 elsewhere.
func (l Loss) labels(n int) any {
	if l == SigLipLoss {
		signs := make([]float32, n*n)
		for i := range signs {
			signs[i] = -1
		}
		for i := range n {
			signs[i*n+i] = 1
		}
		return signs
	}
	own := make([]int32, n)
	for i := range own {
		own[i] = int32(i)
	}
	return own
}

// model is what training needs of a model's parameters.
type model struct {
	*clip.Model
	trainable   []*graph.Param
	scale, bias *graph.Param // logit_scale and logit_bias
}

func newModel(m *clip.Model) (*model, error) {
	x := &model{Model: m}
	for name, p := range m.Parameters() {
		if !p.Frozen && !p.Buffer {
			x.trainable = append(x.trainable, p)
		}
		switch name {
		case "logit_scale":
			x.scale = p
		case "logit_bias":
			x.bias = p
		}
	}
	if x.scale == nil {
		return nil, fmt.Errorf("%w: the model has no logit_scale", clip.ErrInput)
	}
	return x, nil
}

// loss appends towers and loss for batch pairs, texts of length tokens.
func (m *model) loss(g *graph.Graph, l Loss, mode Mode, batch, length int) graph.Tensor {
	g.Training = mode == TrainMode
	image, text := m.Record(g, batch, length)
	scale := ops.Map(g, g.Reshape(g.Param(m.scale), 1), ops.Exp)
	var bias graph.Tensor
	if m.bias != nil {
		bias = g.Reshape(g.Param(m.bias), 1)
	}
	return l.record(g, image, text, scale, bias)
}

// feed gives the inputs of a graph with loss.
func (m *model) feed(l Loss, images clip.Tensor, texts [][]int32) (map[string]any, error) {
	feed, err := m.Feed(images, texts)
	if err != nil {
		return nil, err
	}
	feed["labels"] = l.labels(len(texts))
	return feed, nil
}
