package train

import (
	"context"
	"errors"

	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/flight"
)

// step is a Plan on the device: one session for the whole step, or sessions for its parts
// where micro-batches are smaller than the batch.
type step struct {
	plan  *Plan
	whole *session // nil where the step has parts

	features, backward []*session // by plan.sizes
	loss, update       *session
	image, text        matrix // the features of all pairs
}

// matrix holds the features of all pairs, a row of width numbers for each, and their
// gradients.
type matrix struct {
	width             int
	values, gradients []float32
}

func newMatrix(rows, width int) matrix {
	return matrix{width, make([]float32, rows*width), make([]float32, rows*width)}
}

// part is the pairs lo to hi of a batch, a micro-batch of the size that is there in
// plan.sizes.
type part struct{ lo, hi, size int }

// rows returns the part of x that belongs to the pairs of p. x is m.values or m.gradients.
func (m *matrix) rows(x []float32, p part) []float32 { return x[p.lo*m.width : p.hi*m.width] }

// run makes the step and returns the loss and the norm of the gradients before it. feed
// has the inputs of all programs for the batch b, but for the seeds of its
// micro-batches.
func (s *step) run(ctx context.Context, m Model, b Batch, feed map[string]any, seeds func(microBatch int) []int32) (float64, float64, error) {
	loss, norm := make([]float32, 1), make([]float32, 1)
	if s.whole != nil {
		feed["seed"] = seeds(0)
		err := s.whole.run(ctx, feed, loss, norm)
		return float64(loss[0]), float64(norm[0]), err
	}
	err := s.microBatches(ctx, m, b, seeds, func(ctx context.Context, p part, inputs map[string]any, submitted func()) error {
		return s.features[p.size].runBeforeOthers(ctx, submitted, inputs, s.image.rows(s.image.values, p), s.text.rows(s.text.values, p))
	})
	if err != nil {
		return 0, 0, err
	}
	feed[imageFeatures], feed[textFeatures] = s.image.values, s.text.values
	if err := s.loss.run(ctx, feed, loss, s.image.gradients, s.text.gradients); err != nil {
		return 0, 0, err
	}
	err = s.microBatches(ctx, m, b, seeds, func(ctx context.Context, p part, inputs map[string]any, submitted func()) error {
		inputs[imageGradients] = s.image.rows(s.image.gradients, p)
		inputs[textGradients] = s.text.rows(s.text.gradients, p)
		return s.backward[p.size].runBeforeOthers(ctx, submitted, inputs)
	})
	if err == nil {
		feed[lossValue] = loss
		err = s.update.run(ctx, feed, norm)
	}
	return float64(loss[0]), float64(norm[0]), err
}

// inFlight is how many micro-batches a device has: one that it computes, and the next,
// which is uploaded meanwhile.
const inFlight = 2

// microBatches calls f for each micro-batch, with the inputs of the towers. f tells when
// the next one may begin: what they add up is added in their order.
func (s *step) microBatches(ctx context.Context, m Model, b Batch, seeds func(int) []int32,
	f func(ctx context.Context, p part, inputs map[string]any, submitted func()) error) error {
	under := flight.New(ctx, inFlight)
	for i := range graph.Ceil(s.plan.Pairs, s.plan.MicroBatch) {
		p := part{lo: i * s.plan.MicroBatch, hi: (i + 1) * s.plan.MicroBatch}
		if p.hi > s.plan.Pairs {
			p.hi, p.size = s.plan.Pairs, 1
		}
		pairs := b.slice(p.lo, p.hi)
		inputs, _, err := m.Feed(pairs.Inputs, pairs.Texts)
		if err == nil {
			err = under.Next()
		}
		if err != nil {
			return under.End(err)
		}
		inputs["seed"] = seeds(i)
		under.BeginInOrder(func(ctx context.Context, submitted func()) error { return f(ctx, p, inputs, submitted) })
	}
	return under.End(nil)
}

// close frees the sessions.
func (s *step) close() {
	if s == nil {
		return
	}
	for _, one := range append(append(s.backward, s.features...), s.whole, s.loss, s.update) {
		one.close()
	}
}

// loadStep makes a step from n pairs ready to run, with
// the largest micro-batch that memory and bindings allow.
func (t *Trainer) loadStep(n int, l towers.Lengths) (s *step, err error) {
	_, err = t.largest(n, l, func(p *Plan) (err error) {
		s, err = t.loadPlan(p)
		return err
	})
	return s, err
}

// isTooLarge tells whether a smaller batch may fit.
func isTooLarge(err error) bool {
	var size *graph.SizeError
	var limit *gpu.LimitError
	var memory *gpu.MemoryError
	return errors.As(err, &size) || errors.As(err, &limit) || errors.As(err, &memory)
}

// loadPlan loads p's programs.
func (t *Trainer) loadPlan(p *Plan) (*step, error) {
	s := &step{plan: p}
	var err error
	one := func(q *graph.Program) (loaded *session) {
		if err == nil && q != nil {
			loaded, err = load(context.Background(), t.on, q)
		}
		return loaded
	}
	s.whole, s.update = one(p.whole), one(p.update) // in the order of p.Parts
	for i := range p.backward {
		s.backward = append(s.backward, one(p.backward[i]))
		s.features = append(s.features, one(p.features[i]))
	}
	s.loss = one(p.loss)
	if err != nil {
		s.close()
		return nil, err
	}
	if s.whole == nil {
		s.image, s.text = newMatrix(p.Pairs, p.width()), newMatrix(p.Pairs, p.width())
	}
	return s, nil
}
