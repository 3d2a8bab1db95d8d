package train

import (
	"context"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// Gradients returns the gradient of a loss over pairs of images [n, 3, height,
// width] and texts with respect to every trainable parameter, by state-dict
// name, and the loss. The model is left as it is, but for batch norms' running
// statistics in TrainMode.
func Gradients(ctx context.Context, m clip.Model, l Loss, mode Mode, images clip.Tensor, texts [][]int32) (map[string]clip.Tensor, float64, error) {
	x, err := newModel(m)
	if err != nil {
		return nil, 0, err
	}
	feed, err := x.feed(l, images, texts)
	if err != nil {
		return nil, 0, err
	}
	g := graph.New()
	loss := x.loss(g, l, mode, len(texts), len(texts[0]))
	prog, err := g.Build(append(g.Grad(loss, x.trainable...), loss)...)
	if err != nil {
		return nil, 0, err
	}
	session, err := m.Device().Load(prog, m.Store())
	if err != nil {
		return nil, 0, err
	}
	defer session.Close()
	outs := make([][]float32, len(prog.Outputs))
	for i, o := range prog.Outputs {
		outs[i] = make([]float32, o.Shape.Elems())
	}
	if err := session.Run(ctx, gpu.IO{Inputs: feed, Outputs: outs}); err != nil {
		return nil, 0, err
	}
	grads := make(map[string]clip.Tensor, len(x.trainable))
	for i, p := range x.trainable {
		grads[p.Name] = clip.Tensor{Shape: p.Shape, Data: outs[i]}
	}
	return grads, float64(outs[len(outs)-1][0]), nil
}
