package train

import (
	"context"
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/await"
)

// Gradients returns the gradient of a loss over a batch with respect to every
// trainable parameter, by state-dict name, and the loss. The model is left as it is,
// but for the running statistics of batch norms that train. Dropout drops the same at
// every call.
func Gradients(ctx context.Context, m Model, l Loss, b Batch) (map[string]clip.Array, float64, error) {
	if l == nil {
		return nil, 0, fmt.Errorf("%w: gradients want a loss", clip.ErrInput)
	}
	x, err := newModel(m, m.Device().Target())
	if err != nil {
		return nil, 0, err
	}
	feed, lengths, err := feedOf(ctx, m, l, b)
	if err != nil {
		return nil, 0, err
	}
	feed["seed"] = seed(0, 0, 0)
	session, err := await.Do(ctx, func() (*session, error) {
		p, err := x.gradients(l, len(b.Texts), lengths)
		if err != nil {
			return nil, err
		}
		return load(ctx, m, p)
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

// gradients is a program whose outputs are the gradients of the trainable parameters
// and the loss, of batch pairs.
func (m *model) gradients(l Loss, batch int, lengths towers.Lengths) (*graph.Program, error) {
	g := m.graph()
	loss := m.loss(g, l, batch, lengths)
	return g.Build(append(g.Grad(loss, m.params(g)...), loss)...)
}
