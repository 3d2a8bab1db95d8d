package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/await"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Config says how a Trainer steps. The zero values of what follows Optimizer are those of
// open_clip_train.
type Config struct {
	Loss      Loss
	Optimizer Optimizer
	// GradClipNorm is what the norm of all gradients together is brought down to where
	// it is greater (grad_clip_norm, torch.nn.utils.clip_grad_norm_). 0: they stay.
	GradClipNorm float64
	// Decays tells which parameters the optimizer's weight decay is for: DecaysMatrices
	// where it is nil.
	Decays func(p *graph.Param) bool
	// ImageLayerDecay and TextLayerDecay, in (0, 1], multiply the learning rate of a
	// tower's groups of parameters, which are those of LockImageTower, by a power of
	// theirs: the group before the last by 1 of them, and so on (image_layer_decay). 0: 1.
	ImageLayerDecay, TextLayerDecay float64
	// EMADecay, in (0, 1), makes the trainer keep averages of the parameters, see EMA,
	// which move towards them by 1 − EMADecay at every step (setup_ema of open_clip's
	// task, timm's ModelEmaV3). 0: none.
	EMADecay float64
}

// DefaultConfig is what open_clip_train takes for vision transformers unless it is told
// otherwise: ClipLoss and AdamW, without its schedule of the learning rate.
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
	ema   []average

	turn     await.Lock // around what follows: one method at a time
	closed   bool
	step     int
	gradNorm float64
	averaged bool                // the averages have begun
	programs map[[2]int]*program // by batch and text length
}

// program is a step that is being loaded, or is ready to run.
type program struct {
	loaded  chan struct{} // closed once session or err is set
	session *session
	err     error
}

// New returns a trainer that has made no step. A model whose config asks for
// dropout of any kind, which nothing here does, gives config.ErrUnsupported; one whose
// weights are rounded, settings out of range and a config without a loss or an
// optimizer give clip.ErrInput.
func New(m Model, c Config) (*Trainer, error) {
	cfg := m.Config()
	if d := towers.Dropouts(&cfg); len(d) > 0 {
		return nil, fmt.Errorf("training with %s is %w; set it to 0", strings.Join(d, ", "), config.ErrUnsupported)
	}
	x, err := newModel(m)
	if err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	for _, p := range x.trainable {
		if err := p.Trainable(); err != nil {
			return nil, fmt.Errorf("%w: %w", clip.ErrInput, err)
		}
	}
	return &Trainer{
		model: x, cfg: c, rule: c.Optimizer.Rule(), slabs: x.slabs(c, x.slabBytes()), ema: x.averages(c, x.slabBytes()),
		turn: await.NewLock(), programs: map[[2]int]*program{},
	}, nil
}

// Step makes one update from a batch and returns the loss before it. Pairs that do not
// fit the model give clip.ErrInput. If ctx ends before the update is on its way, Step returns
// ctx's error and nothing has changed. If ctx ends later, the update is finished and
// Step returns no error. A loss or gradients that are NaN or infinite give a
// *NotFiniteError and change nothing but the running statistics of batch norms and a
// logit_scale that is out of bounds, which is clamped.
func (t *Trainer) Step(ctx context.Context, b Batch) (float64, error) {
	feed, err := t.model.feed(ctx, t.cfg.Loss, b)
	if err != nil {
		return 0, err
	}
	if err := t.turn.Acquire(ctx); err != nil {
		return 0, err
	}
	loss, err := t.update(ctx, feed, len(b.Texts), len(b.Texts[0]))
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
	if err == nil {
		err = t.beginAverages(ctx)
	}
	if err != nil {
		return 0, err
	}
	feed["settings"] = values
	for i, b := range t.slabs {
		feed[recordsName(i)] = b.records
	}
	t.feedAverages(feed)
	var loss, norm [1]float32
	if err := session.run(ctx, feed, loss[:], norm[:]); err != nil {
		return 0, err
	}
	t.gradNorm = float64(norm[0])
	if err := finite(t.step+1, float64(loss[0]), t.gradNorm); err != nil {
		return 0, err
	}
	t.step++
	return float64(loss[0]), nil
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

// program is the step, with the loss and the norm of the gradients before it as outputs.
func (t *Trainer) program(batch, length int) (*graph.Program, error) {
	g := graph.New()
	loss := t.model.loss(g, t.cfg.Loss, batch, length)
	grads := g.Grad(loss, t.model.params(g)...)
	of := map[*graph.Param]graph.Tensor{}
	for i, p := range t.model.trainable {
		of[p] = grads[i]
	}
	defer g.Scope("update")()
	settings := g.Input("settings", graph.Shape{len(t.rule.Settings)}, graph.F32)
	var joined, records []graph.Tensor
	for i, b := range t.slabs {
		joined = append(joined, b.gradient(g, of))
		records = append(records, g.Input(recordsName(i), graph.Shape{len(b.trained), len(b.records) / len(b.trained)}, graph.I32))
	}
	norm, factor := ops.GradNorm(g, loss, t.cfg.GradClipNorm, joined, records)
	for i, b := range t.slabs {
		b.update(g, t.rule, joined[i], factor, records[i], settings)
	}
	if scale := t.model.scale; slices.Contains(t.model.trainable, scale) {
		g.Assign(&scale.State, ops.Clamp(g, g.Param(scale), 0, maxLogitScale))
	}
	for _, a := range t.ema {
		a.follow(g, 1-t.cfg.EMADecay, factor)
	}
	return g.Build(loss, norm)
}

// Parameters reads the state dict back, buffers included.
func (t *Trainer) Parameters(ctx context.Context) (map[string]clip.Array, error) {
	if err := t.turn.Acquire(ctx); err != nil {
		return nil, err
	}
	defer t.turn.Unlock()
	out := map[string]clip.Array{}
	for name, p := range t.model.Parameters() {
		var err error
		if out[name], err = t.read(ctx, p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// GradNorm is the Euclidean norm of all gradients of the last step together, before
// they were clipped. It waits for a step in progress.
func (t *Trainer) GradNorm() float64 {
	t.turn.Lock()
	defer t.turn.Unlock()
	return t.gradNorm
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
	for _, a := range t.ema {
		moments = append(moments, a.State)
	}
	return t.model.Store().Free(moments...)
}
