package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/await"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Config says how a Trainer steps. The optimizer is AdamW (Loshchilov & Hutter,
// 2019) as torch computes it, the decay first.
type Config struct {
	Loss        Loss
	Mode        Mode
	LR          float64
	Beta1       float64
	Beta2       float64
	Eps         float64
	WeightDecay float64 // of matrices, but for embeddings of positions and classes
}

// DefaultConfig is open_clip_train's for vision transformers.
func DefaultConfig() Config {
	return Config{LR: 5e-4, Beta1: 0.9, Beta2: 0.98, Eps: 1e-6, WeightDecay: 0.2}
}

// maxLogitScale caps the learned temperature at 100, as open_clip_train does
// after every step.
var maxLogitScale = math.Log(100)

// Trainer updates a model's parameters on its device. Its methods may be called
// concurrently; steps run one after the other.
type Trainer struct {
	model *model
	cfg   Config

	moments map[*graph.Param][2]*graph.State

	turn     await.Lock // around what follows: one method at a time
	closed   bool
	step     int
	programs map[[2]int]*program // by batch and text length
}

// program is a step that is being loaded, or is ready to run.
type program struct {
	loaded  chan struct{} // closed once session or err is set
	session *gpu.Session
	err     error
}

// New returns a trainer that has made no step. A model whose config asks for
// dropout of any kind, which nothing here does, gives config.ErrUnsupported.
func New(m *clip.Model, c Config) (*Trainer, error) {
	cfg := m.Config()
	if d := towers.Dropouts(&cfg); len(d) > 0 {
		return nil, fmt.Errorf("training with %s is %w; set it to 0", strings.Join(d, ", "), config.ErrUnsupported)
	}
	x, err := newModel(m)
	if err != nil {
		return nil, err
	}
	if c.LR < 0 || c.Eps <= 0 || c.Beta1 < 0 || c.Beta1 >= 1 || c.Beta2 < 0 || c.Beta2 >= 1 || c.WeightDecay < 0 {
		return nil, fmt.Errorf("%w: optimizer settings %+v", clip.ErrInput, c)
	}
	t := &Trainer{model: x, cfg: c, moments: map[*graph.Param][2]*graph.State{}, turn: await.NewLock(), programs: map[[2]int]*program{}}
	for _, p := range x.trainable {
		if err := p.Trainable(); err != nil {
			return nil, fmt.Errorf("%w: %w", clip.ErrInput, err)
		}
		t.moments[p] = [2]*graph.State{
			{Name: "adamw.exp_avg." + p.Name, Spec: p.Spec},
			{Name: "adamw.exp_avg_sq." + p.Name, Spec: p.Spec},
		}
	}
	return t, nil
}

// decays tells whether AdamW decays p: open_clip_train's rule excludes vectors,
// scalars and what the no_weight_decay of a model or a tower names.
func decays(p *graph.Param) bool { return len(p.Shape) > 1 && !p.NoDecay }

// Step makes one update from pairs of images [n, 3, height, width] and texts,
// and returns the loss before it. If ctx ends before the update is on its way,
// Step returns ctx's error and nothing has changed. Later the update is finished,
// and the end of ctx is no error.
func (t *Trainer) Step(ctx context.Context, images clip.Tensor, texts [][]int32) (float64, error) {
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
	session, err := t.session(ctx, [2]int{batch, length})
	if err != nil {
		return 0, err
	}
	feed["adamw"] = t.hyperparameters(t.step + 1)
	var loss [1]float32
	if err := session.Run(ctx, gpu.IO{Inputs: feed, Outputs: [][]float32{loss[:]}}); err != nil {
		return 0, err
	}
	t.step++
	return float64(loss[0]), nil
}

// hyperparameters are AdamW's for a step counted from 1, as ops.AdamW takes them.
func (t *Trainer) hyperparameters(step int) []float32 {
	c := t.cfg
	return []float32{
		float32(c.LR), float32(1 - c.Beta1), float32(1 - c.Beta2), float32(c.Eps), float32(c.WeightDecay),
		float32(1 - math.Pow(c.Beta1, float64(step))), float32(1 - math.Pow(c.Beta2, float64(step))),
	}
}

// session returns the step for a batch and a text length. If ctx ends, it leaves
// the loading to go on for the next caller. The caller has the turn.
func (t *Trainer) session(ctx context.Context, size [2]int) (*gpu.Session, error) {
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
func (t *Trainer) load(batch, length int) (*gpu.Session, error) {
	g := graph.New()
	loss := t.model.loss(g, t.cfg.Loss, t.cfg.Mode, batch, length)
	grads := g.Grad(loss, t.model.trainable...)
	hyper := g.Input("adamw", graph.Shape{7}, graph.F32)
	for i, p := range t.model.trainable {
		t.assign(g, p, grads[i], hyper)
	}
	prog, err := g.Build(loss)
	if err != nil {
		return nil, err
	}
	return t.model.Device().Load(prog, t.model.Store())
}

// assign records AdamW's update of p.
func (t *Trainer) assign(g *graph.Graph, p *graph.Param, grad, hyper graph.Tensor) {
	defer g.Scope("adamw." + p.Name)()
	m, v := t.moments[p][0], t.moments[p][1]
	p2, m2, v2 := ops.AdamW(g, g.Param(p), grad, g.State(m), g.State(v), hyper, decays(p))
	if p == t.model.scale {
		p2 = ops.Clamp(g, p2, 0, maxLogitScale)
	}
	g.Assign(&p.State, p2)
	g.Assign(m, m2)
	g.Assign(v, v2)
}

// Parameters reads the state dict back, buffers included.
func (t *Trainer) Parameters(ctx context.Context) (map[string]clip.Tensor, error) {
	if err := t.turn.Acquire(ctx); err != nil {
		return nil, err
	}
	defer t.turn.Unlock()
	out := map[string]clip.Tensor{}
	for name, p := range t.model.Parameters() {
		x := clip.Tensor{Shape: p.Shape, Data: make([]float32, p.Shape.Elems())}
		if err := t.model.Store().ReadParam(ctx, p, x.Data); err != nil {
			return nil, err
		}
		out[name] = x
	}
	return out, nil
}

// Close frees the trainer's programs; the model stays open and keeps the
// optimizer's moments until it is closed.
func (t *Trainer) Close() error {
	t.turn.Lock()
	defer t.turn.Unlock()
	t.closed = true
	for size, p := range t.programs {
		<-p.loaded
		p.session.Close()
		delete(t.programs, size)
	}
	return nil
}
