package train

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/await"
)

// Config says how a Trainer steps. The zero values of what follows Optimizer are
// open_clip_train's defaults; with micro-batches it also sums, see SumScaleGradients.
type Config struct {
	Loss      Loss
	Optimizer Optimizer

	// MicroBatch is the most pairs that the towers see at once; 0 is all. A step of more
	// pairs computes the features of all first, then the loss over all, then the gradients
	// by a second pass (GradCache; accum_freq of open_clip_train, which counts
	// micro-batches). The gradients are those of the whole batch but for rounding; batch
	// norms normalise by micro-batches. A micro-batch that memory does not hold is halved
	// until it does.
	MicroBatch int
	// SumScaleGradients multiplies the gradients of logit_scale and logit_bias by the
	// number of micro-batches. open_clip_train does so with accum_freq, because each of
	// its backward passes counts them again.
	SumScaleGradients bool
	// GradClipNorm is the greatest Euclidean norm of all gradients together: greater ones
	// are scaled down to it (grad_clip_norm; torch.nn.utils.clip_grad_norm_). 0: none are.
	GradClipNorm float64
	// Decays tells which parameters weight decay is for; nil is the function Decays. A rule
	// of one's own stands for open_clip_train's wd_exclude.
	Decays func(p *graph.Param) bool
	// ImageLayerDecay and TextLayerDecay, in (0, 1], are layer-wise decays of the learning
	// rate (image_layer_decay): a tower's last group has the full rate, each group before
	// it that of the next times the decay. Groups are those of LockImageTower. 0: none.
	ImageLayerDecay, TextLayerDecay float64
	// EMADecay, in (0, 1), makes the trainer keep an exponential moving average of each
	// parameter and running statistic, see EMA: average ← EMADecay · average + (1 −
	// EMADecay) · value after every step (setup_ema of open_clip's task, whose default is
	// 0.9999; timm's ModelEmaV3). 0: none.
	EMADecay float64
	// Seed is that of dropout: with it, the model and the step, what drops is fixed.
	// Resume replaces it by the file's.
	Seed uint64
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
	recipe
	on Model

	turn     await.Lock // around what follows: one method at a time
	closed   bool
	step     int
	gradNorm float64
	averaged bool // the averages have begun
	programs map[size]*program
}

// size is what programs are made for: pairs and their lengths.
type size struct {
	pairs int
	towers.Lengths
}

// program is a step that is being loaded, or is ready to run.
type program struct {
	loaded chan struct{} // closed once step or err is set
	step   *step
	err    error
}

// New returns a trainer that has made no step. A trainable parameter that is stored in
// fewer bits than f32, settings out of range, and a config without a loss or an optimizer
// give clip.ErrInput. Locks, Eval and SetGradCheckpointing must come before.
func New(m Model, c Config) (*Trainer, error) {
	r, err := newRecipe(m, m.Device().Target(), c)
	if err != nil {
		return nil, err
	}
	return &Trainer{recipe: r, on: m, turn: await.NewLock(), programs: map[size]*program{}}, nil
}

// Step makes one update from a batch and returns the loss before it. The first step of a
// size also builds and loads its programs. Pairs that do not fit the model give
// clip.ErrInput; where memory does not hold even one pair at a time, the error is a
// *graph.SizeError, *gpu.LimitError or *gpu.MemoryError.
//
// If ctx ends before the device has been given the update, Step returns ctx's error and
// no parameter or moment has changed. If ctx ends later, the update is finished and Step
// returns no error. A loss or gradients that are NaN or infinite give a
// *NotFiniteError and change no parameter or moment either, but for a logit_scale that is
// out of bounds, which is clamped. Batch norms that have seen the batch, or some of its
// micro-batches, have changed their running statistics even so.
func (t *Trainer) Step(ctx context.Context, b Batch) (float64, error) {
	feed, lengths, err := feedOf(ctx, t.on, t.cfg.Loss, b)
	if err != nil {
		return 0, err
	}
	if err := t.acquire(ctx); err != nil {
		return 0, err
	}
	loss, err := t.makeStep(ctx, b, lengths, feed)
	if err != nil {
		t.turn.Unlock()
		return 0, err
	}
	_, err = await.Do(ctx, func() (struct{}, error) {
		defer t.turn.Unlock()
		return struct{}{}, t.on.Refresh(context.WithoutCancel(ctx))
	}, nil)
	if errors.Is(err, ctx.Err()) { // ctx ended: the model gets its new scale later
		err = nil
	}
	return loss, err
}

// makeStep makes a step on the device.
func (t *Trainer) makeStep(ctx context.Context, b Batch, l towers.Lengths, feed map[string]any) (float64, error) {
	values, err := settings(t.cfg.Optimizer, t.step+1)
	if err != nil {
		return 0, err
	}
	if rule := t.cfg.Optimizer.Rule(); rule != t.rule {
		return 0, fmt.Errorf("%w: the optimizer's rule was %s and is %s", clip.ErrInput, t.rule.Kernel, rule.Kernel)
	}
	s, err := t.loaded(ctx, len(b.Texts), l)
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
	loss, norm, err := s.run(ctx, t.on, b, feed, func(microBatch int) []int32 { return seed(t.cfg.Seed, t.step, microBatch) })
	if err != nil {
		return 0, err
	}
	t.gradNorm = norm
	if err := finite(t.step+1, loss, norm); err != nil {
		return 0, err
	}
	t.step++
	return loss, nil
}

// seed gives the input of graph.Graph.Random at a step of a run, for one of its
// micro-batches.
func seed(run uint64, step, microBatch int) []int32 {
	bits := rand.NewPCG(run, uint64(step)<<32|uint64(microBatch)).Uint64()
	return []int32{int32(bits), int32(bits >> 32)}
}

// loaded returns the step for n pairs. If ctx ends, it
// leaves the loading to go on for the next caller. The caller has the turn.
func (t *Trainer) loaded(ctx context.Context, n int, l towers.Lengths) (*step, error) {
	key := size{n, l}
	p := t.programs[key]
	if p == nil {
		p = &program{loaded: make(chan struct{})}
		t.programs[key] = p
		go func() {
			defer close(p.loaded)
			p.step, p.err = t.loadStep(n, l)
		}()
	}
	select {
	case <-p.loaded:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if p.err != nil {
		delete(t.programs, key) // the next caller tries again
	}
	return p.step, p.err
}

// Parameters reads the state dict back, buffers included.
func (t *Trainer) Parameters(ctx context.Context) (map[string]clip.Array, error) {
	if err := t.turn.Acquire(ctx); err != nil {
		return nil, err
	}
	defer t.turn.Unlock()
	return t.readAll(ctx, t.structure.Parameters())
}

// readAll reads all of params from the device, by their names.
func (t *Trainer) readAll(ctx context.Context, params iter.Seq2[string, *graph.Param]) (map[string]clip.Array, error) {
	all := map[string]clip.Array{}
	for name, p := range params {
		var err error
		if all[name], err = t.read(ctx, p); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// read reads a parameter, or what lies like one, from the device.
func (t *Trainer) read(ctx context.Context, p *graph.Param) (clip.Array, error) {
	x := clip.Array{Shape: p.Shape, Data: make([]float32, p.Shape.Elems())}
	return x, t.on.Store().ReadParam(ctx, p, x.Data)
}

// acquire takes the turn of a trainer that is open.
func (t *Trainer) acquire(ctx context.Context) error {
	if err := t.turn.Acquire(ctx); err != nil {
		return err
	}
	if t.closed {
		t.turn.Unlock()
		return gpu.ErrClosed
	}
	return nil
}

// GradNorm is the Euclidean norm of all gradients of the last step together, before
// they were clipped. It waits for a step in progress.
func (t *Trainer) GradNorm() float64 {
	t.turn.Lock()
	defer t.turn.Unlock()
	return t.gradNorm
}

// Close frees the trainer's programs, moments and gradients. The model stays open.
func (t *Trainer) Close() error {
	t.turn.Lock()
	defer t.turn.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	for _, p := range t.programs {
		<-p.loaded
		p.step.close()
	}
	t.programs = nil
	var states []*graph.State
	for _, b := range t.slabs {
		states = append(states, b.sums)
		for _, m := range b.moments {
			states = append(states, m.State)
		}
	}
	for _, a := range t.ema {
		states = append(states, a.State)
	}
	return t.on.Store().Free(states...)
}
