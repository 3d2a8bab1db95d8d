package train

import (
	"context"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/await"
)

// Gradients returns the gradient of a loss over pairs of images [n, 3, height,
// width] and texts with respect to every trainable parameter, by state-dict
// name, and the loss. The model is left as it is, but for batch norms' running
// statistics in TrainMode, in which dropout drops the same at every call.
func Gradients(ctx context.Context, m Model, l Loss, mode Mode, images clip.Array, texts [][]int32) (map[string]clip.Array, float64, error) {
	x, err := newModel(m)
	if err != nil {
		return nil, 0, err
	}
	feed, err := x.feed(l, images, texts)
	if err != nil {
		return nil, 0, err
	}
	feed["seed"] = seed(0, 0)
	session, err := await.Do(ctx, func() (*session, error) {
		return x.backward(ctx, l, mode, len(texts), len(texts[0]))
	}, func(s *session) { s.close() })
	if err != nil {
		return nil, 0, err
	}
	// Close waits for the runs of others, which ctx need not.
	defer await.Do(ctx, func() (struct{}, error) { return struct{}{}, session.Close() }, nil)
	var loss [1]float32
	grads, outs := make(map[string]clip.Array, len(x.trainable)), make([][]float32, 0, len(x.trainable)+1)
	for _, p := range x.trainable {
		grad := clip.Array{Shape: p.Shape, Data: make([]float32, p.Shape.Elems())}
		grads[p.Name], outs = grad, append(outs, grad.Data)
	}
	if err := session.run(ctx, feed, append(outs, loss[:])...); err != nil {
		return nil, 0, err
	}
	return grads, float64(loss[0]), nil
}

// backward loads a program whose outputs are the gradients of the trainable
// parameters and the loss, of batch pairs with texts of length tokens.
func (m *model) backward(ctx context.Context, l Loss, mode Mode, batch, length int) (*session, error) {
	g := graph.New()
	loss := m.loss(g, l, mode, batch, length)
	prog, err := g.Build(append(g.Grad(loss, m.trainable...), loss)...)
	if err != nil {
		return nil, err
	}
	return m.load(ctx, prog)
}
