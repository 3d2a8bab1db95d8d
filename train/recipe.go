package train

import (
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// recipe builds the Programs that a step consists of. It needs no device.
//
// A step of few pairs is one Program. For more pairs than the towers can see at once
// it is several (Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory
// Limited Setup, 2021): features for each micro-batch; loss, over the features of all
// pairs, with the gradients of these; backward for each micro-batch, which computes
// its features again and adds up the gradients of the parameters; and update. The
// result is the same but for rounding.
type recipe struct {
	*model
	cfg   Config
	rule  *ops.Rule
	slabs []slab
	ema   []average
}

func newRecipe(s Structure, target graph.Target, c Config) (recipe, error) {
	m, err := newModel(s, target)
	if err != nil {
		return recipe{}, err
	}
	if err := c.check(); err != nil {
		return recipe{}, err
	}
	if len(m.trainable) == 0 {
		return recipe{}, fmt.Errorf("%w: every parameter is frozen, there is nothing to train", clip.ErrInput)
	}
	for _, p := range m.trainable {
		if err := p.Trainable(); err != nil {
			return recipe{}, fmt.Errorf("%w: %w", clip.ErrInput, err)
		}
	}
	limit := m.slabBytes()
	return recipe{model: m, cfg: c, rule: c.Optimizer.Rule(), slabs: m.slabs(c, limit), ema: m.averages(c, limit)}, nil
}

// program is a step from n pairs. Its outputs are the loss
// and the norm of the gradients before it.
func (r *recipe) program(n int, l towers.Lengths) (*graph.Program, error) {
	g := r.graph()
	loss := r.loss(g, r.cfg.Loss, n, l)
	joined := r.join(g, g.Grad(loss, r.params(g)...))
	return g.Build(loss, r.recordUpdate(g, loss, joined))
}

// features computes those of n pairs, and leaves running statistics alone.
func (r *recipe) features(n int, l towers.Lengths) (*graph.Program, error) {
	g := r.graph()
	g.Pure = true
	outs := r.structure.Record(g, n, l)
	return g.Build(outs[towers.ImageFeatures], outs[towers.TextFeatures])
}

// Inputs of the Programs between which features, their gradients and the loss go.
const (
	imageFeatures, textFeatures   = towers.ImageFeatures, towers.TextFeatures
	imageGradients, textGradients = "image_gradients", "text_gradients"
	lossValue                     = "loss"
)

// lossProgram has as outputs the loss of features [n, width] and their gradients. It
// starts the sums of the parameters' gradients with what the loss gives of them: those
// of the logits' scale and bias, which the n pairs come in micros micro-batches for.
func (r *recipe) lossProgram(n, width, micros int) (*graph.Program, error) {
	g := r.graph()
	image := g.Input(imageFeatures, graph.Shape{n, width}, graph.F32)
	text := g.Input(textFeatures, graph.Shape{n, width}, graph.F32)
	loss := r.lossOf(g, r.cfg.Loss, towers.Outputs{towers.ImageFeatures: image, towers.TextFeatures: text})
	wrt, of := []graph.Tensor{image, text}, []*graph.Param{}
	for _, p := range []*graph.Param{r.scale, r.bias} {
		if slices.Contains(r.trainable, p) {
			wrt, of = append(wrt, g.Param(p)), append(of, p)
		}
	}
	grads := g.Grad(loss, wrt...)
	for _, b := range r.slabs {
		g.Assign(b.sums, g.Fill(0, b.sums.Shape...))
	}
	for i, p := range of {
		grad := grads[2+i]
		if r.cfg.SumScaleGradients {
			grad = ops.Scale(g, grad, float64(micros))
		}
		g.Assign(r.sumOf(p), grad)
	}
	return g.Build(loss, grads[0], grads[1])
}

// sumOf returns the State that the gradients of p are summed up in, nil where p is not
// trained.
func (r *recipe) sumOf(p *graph.Param) *graph.State {
	for _, b := range r.slabs {
		if i := slices.Index(b.trained, p); i >= 0 && b.sums.Parts != nil {
			return b.sums.Parts[i]
		} else if i >= 0 {
			return b.sums
		}
	}
	return nil
}

// backward adds the gradients of n pairs to the sums, given those of their features.
func (r *recipe) backward(n int, l towers.Lengths) (*graph.Program, error) {
	g := r.graph()
	outs := r.structure.Record(g, n, l)
	flow := func(x graph.Tensor, name string) graph.Tensor {
		return ops.Sum(g, ops.Mul(g, x, g.Input(name, x.Shape(), graph.F32)))
	}
	along := g.Add(flow(outs[towers.ImageFeatures], imageGradients), flow(outs[towers.TextFeatures], textGradients)) // has these gradients
	for i, grad := range r.join(g, g.Grad(along, r.params(g)...)) {
		ops.Accumulate(g, r.slabs[i].sums, grad)
	}
	return g.Build()
}

// update is the step's last Program, which is told the loss. Its output is the norm of
// the gradients.
func (r *recipe) update() (*graph.Program, error) {
	g := r.graph()
	grads := make([]graph.Tensor, len(r.slabs))
	for i, b := range r.slabs {
		grads[i] = g.State(b.sums)
	}
	return g.Build(r.recordUpdate(g, g.Input(lossValue, graph.Shape{1}, graph.F32), grads))
}

// join gives the gradients of the trainable parameters by slab.
func (r *recipe) join(g *graph.Graph, grads []graph.Tensor) []graph.Tensor {
	of := map[*graph.Param]graph.Tensor{}
	for i, p := range r.trainable {
		of[p] = grads[i]
	}
	all := make([]graph.Tensor, len(r.slabs))
	for i, b := range r.slabs {
		parts := make([]graph.Tensor, len(b.trained))
		for j, p := range b.trained {
			parts[j] = of[p]
		}
		if all[i] = parts[0]; b.like.Parts != nil {
			all[i] = g.Join(b.like, parts...)
		}
	}
	return all
}

// recordUpdate appends the update by gradients, one tensor a slab, and returns their
// norm.
func (r *recipe) recordUpdate(g *graph.Graph, loss graph.Tensor, grads []graph.Tensor) graph.Tensor {
	defer g.Scope("update")()
	settings := g.Input("settings", graph.Shape{len(r.rule.Settings)}, graph.F32)
	records := make([]graph.Tensor, len(r.slabs))
	for i, b := range r.slabs {
		records[i] = g.Input(recordsName(i), graph.Shape{len(b.records)}, graph.I32)
	}
	norm, factor := ops.GradNorm(g, loss, r.cfg.GradClipNorm, grads, records)
	for i, b := range r.slabs {
		b.update(g, r.rule, grads[i], factor, records[i], settings)
	}
	g.Assign(&r.scale.State, ops.Clamp(g, g.Param(r.scale), 0, maxLogitScale)) // of a frozen one too, as open_clip_train does
	for _, a := range r.ema {
		a.follow(g, 1-r.cfg.EMADecay, factor)
	}
	return norm
}

// recordsName is the input with the records of slab i.
func recordsName(i int) string { return fmt.Sprintf("records %d", i) }
