package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/await"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Config says how a Trainer steps.
type Config struct {
	Loss      Loss
	Mode      Mode // of batch norms and dropout
	Optimizer Optimizer
	Seed      uint64 // of dropout: the same seed drops the same at the same step
}

// DefaultConfig is what open_clip_train takes for vision transformers unless it is told
// otherwise: ClipLoss, TrainMode and AdamW, without its schedule of the learning rate.
func DefaultConfig() Config {
	return Config{Loss: ClipLoss{}, Optimizer: AdamW{LR: 5e-4, Beta1: 0.9, Beta2: 0.98, Eps: 1e-6, WeightDecay: 0.2}}
}

// maxLogitScale caps the learned temperature at 100, as open_clip_train does
// after every step.
var maxLogitScale = math.Log(100)

// Trainer updates a model's parameters on its device. Its methods may be called
// concurrently; steps run one after the other.
type Trainer struct {
	model *model
	cfg   Config
	rule  *ops.Rule
	slabs []slab

	turn     await.Lock // around what follows: one method at a time
	closed   bool
	step     int
	programs map[[2]int]*program // by batch and text length
}

// program is a step that is being loaded, or is ready to run.
type program struct {
	loaded  chan struct{} // closed once session or err is set
	session *session
	err     error
}

// New returns a trainer that has made no step. A model whose weights are rounded,
// settings out of range and a config without a loss or an optimizer give clip.ErrInput.
func New(m Model, c Config) (*Trainer, error) {
	x, err := newModel(m)
	if err != nil {
		return nil, err
	}
	if c.Loss == nil || c.Optimizer == nil {
		return nil, fmt.Errorf("%w: training wants a loss and an optimizer", clip.ErrInput)
	}
	if _, err := settings(c.Optimizer, 1); err != nil {
		return nil, err
	}
	for _, p := range x.trainable {
		if err := p.Trainable(); err != nil {
			return nil, fmt.Errorf("%w: %w", clip.ErrInput, err)
		}
	}
	rule := c.Optimizer.Rule()
	return &Trainer{
		model: x, cfg: c, rule: rule, slabs: x.slabs(rule, x.slabBytes()),
		turn: await.NewLock(), programs: map[[2]int]*program{},
	}, nil
}

// decays tells whether AdamW decays p: open_clip_train's rule excludes vectors,
// scalars and what the no_weight_decay of a model or a tower names.
func decays(p *graph.Param) bool { return len(p.Shape) > 1 && !p.NoDecay }

// Step makes one update from n pairs of images [n, 3, height, width] and texts, rows of
// token ids of one length, and returns the loss before it. Pairs that do not fit the
// model give clip.ErrInput. If ctx ends before the update is on its way, Step returns
// ctx's error and nothing has changed. If ctx ends later, the update is finished and
// Step returns no error.
func (t *Trainer) Step(ctx context.Context, images clip.Array, texts [][]int32) (float64, error) {
	feed, err := t.model.feed(t.cfg.Loss, images, texts)
	if err != nil {
		return 0, err
	}
	if err := t.turn.Acquire(ctx); err != nil {
		return 0, err
	}
	loss, err := t.update(ctx, feed, len(texts), len(texts[0]))
	if err != nil {
		t.turn.Unlock()
		return 0, err
	}
	_, err = await.Do(ctx, func() (struct{}, error) {
		defer t.turn.Unlock()
		return struct{}{}, t.model.Refresh(context.WithoutCancel(ctx))
	}, nil)
	if errors.Is(err, ctx.Err()) { // ctx ended: the model gets its new scale later
		err = nil
	}
	return loss, err
}

// update makes the step on the device.
func (t *Trainer) update(ctx context.Context, feed map[string]any, batch, length int) (float64, error) {
	values, err := settings(t.cfg.Optimizer, t.step+1)
	if err != nil {
		return 0, err
	}
	if rule := t.cfg.Optimizer.Rule(); rule != t.rule {
		return 0, fmt.Errorf("%w: the optimizer's rule was %s and is %s", clip.ErrInput, t.rule.Kernel, rule.Kernel)
	}
	session, err := t.session(ctx, [2]int{batch, length})
	if err != nil {
		return 0, err
	}
	feed["settings"], feed["seed"] = values, seed(t.cfg.Seed, t.step)
	for i, b := range t.slabs {
		feed[recordsName(i)] = b.records
	}
	var loss [1]float32
	if err := session.run(ctx, feed, loss[:]); err != nil {
		return 0, err
	}
	t.step++
	return float64(loss[0]), nil
}

// seed gives the input of graph.Graph.Random at a step of a run.
func seed(run uint64, step int) []int32 {
	bits := rand.NewPCG(run, uint64(step)).Uint64()
	return []int32{int32(bits), int32(bits >> 32)}
}

// recordsName is the input with the records of slab i.
func recordsName(i int) string { return fmt.Sprintf("records %d", i) }

// session returns the step for a batch and a text length. If ctx ends, it leaves
// the loading to go on for the next caller. The caller has the turn.
func (t *Trainer) session(ctx context.Context, size [2]int) (*session, error) {
	if t.closed {
		return nil, gpu.ErrClosed
	}
	p := t.programs[size]
	if p == nil {
		p = &program{loaded: make(chan struct{})}
		t.programs[size] = p
		go func() {
			defer close(p.loaded)
			p.session, p.err = t.load(size[0], size[1])
		}()
	}
	select {
	case <-p.loaded:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if p.err != nil {
		delete(t.programs, size) // the next caller tries again
	}
	return p.session, p.err
}

// load makes a step for batch pairs with texts of length tokens ready to run.
func (t *Trainer) load(batch, length int) (*session, error) {
	prog, err := t.program(batch, length)
	if err != nil {
		return nil, err
	}
	return t.model.load(context.Background(), prog)
}

// program is the step, with the loss before it as output.
func (t *Trainer) program(batch, length int) (*graph.Program, error) {
	g := graph.New()
	loss := t.model.loss(g, t.cfg.Loss, t.cfg.Mode, batch, length)
	grads := g.Grad(loss, t.model.trainable...)
	of := map[*graph.Param]graph.Tensor{}
	for i, p := range t.model.trainable {
		of[p] = grads[i]
	}
	defer g.Scope("update")()
	settings := g.Input("settings", graph.Shape{len(t.rule.Settings)}, graph.F32)
	for i, b := range t.slabs {
		records := g.Input(recordsName(i), graph.Shape{len(b.trained), len(b.records) / len(b.trained)}, graph.I32)
		grads := make([]graph.Tensor, len(b.trained))
		for j, p := range b.trained {
			grads[j] = of[p]
		}
		b.update(g, t.rule, grads, records, settings)
	}
	if scale := t.model.scale; slices.Contains(t.model.trainable, scale) {
		g.Assign(&scale.State, ops.Clamp(g, g.Param(scale), 0, maxLogitScale))
	}
	return g.Build(loss)
}

// Parameters reads the state dict back, buffers included.
func (t *Trainer) Parameters(ctx context.Context) (map[string]clip.Array, error) {
	if err := t.turn.Acquire(ctx); err != nil {
		return nil, err
	}
	defer t.turn.Unlock()
	out := map[string]clip.Array{}
	for name, p := range t.model.Parameters() {
		x := clip.Array{Shape: p.Shape, Data: make([]float32, p.Shape.Elems())}
		if err := t.model.Store().ReadParam(ctx, p, x.Data); err != nil {
			return nil, err
		}
		out[name] = x
	}
	return out, nil
}

// Close frees the trainer's programs and moments. The model stays open.
func (t *Trainer) Close() error {
	t.turn.Lock()
	defer t.turn.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	for _, p := range t.programs {
		<-p.loaded
		p.session.close()
	}
	t.programs = nil
	var moments []*graph.State
	for _, b := range t.slabs {
		for _, m := range b.moments {
			moments = append(moments, m.State)
		}
	}
	return t.model.Store().Free(moments...)
}
