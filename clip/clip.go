// Package clip is open_clip's CLIP class in Go, computed by WebGPU.
//
// Load opens a model folder, a file of weights or the embedded model; New
// makes one with random weights. A Model encodes images and texts, and compares
// them; it is safe for concurrent use. A call returns soon after its context has
// ended, whatever other calls keep the device busy.
//
// Package checkpoint opens the same models without a device, package models knows
// their names, package config their configurations.
package clip

import (
	"context"
	"errors"
	"iter"
	"math"
	"slices"
	"sync/atomic"

	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/engine"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/await"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// ErrInput is matched by errors about arguments that do not fit the model.
var ErrInput = check.ErrInput

// Array is a shape and its elements in row-major order.
type Array struct {
	Shape []int
	Data  []float32
}

// Model is open_clip's CLIP or, where its config has custom_text, CustomTextCLIP,
// which takes text rows shorter than the context, too.
type Model struct {
	towers *towers.Model
	source *checkpoint.Checkpoint // kept open while weights stream
	engine *engine.Engine
	logit  atomic.Pointer[logitConstants]

	inspecting await.Lock // around source.Inspect, Warnings and NotFinite
	inspected  bool

	captioning await.Lock             // around captions
	captions   []*towers.CaptionCache // of those that were written last
	plain      bool                   // captions are written without a cache: its reference

	castDType CastDType
	changed   atomic.Bool // the parameters have other values on the device than in source
}

// Load opens a model at a source that checkpoint.Open takes and puts it on a device.
// NaN and infinities among its weights are a warning. In f32 and q8 they are found when the
// weights are read for the device, in f16 and bf16 at once.
func Load(ctx context.Context, source string, opts ...Option) (*Model, error) {
	o := newOptions(opts)
	c, err := checkpoint.Open(ctx, source, o.checkpoint)
	if err != nil {
		return nil, err
	}
	return open(ctx, c, o)
}

// New returns a model with open_clip's random initialisation from seed.
func New(cfg config.Config, seed uint64, opts ...Option) (*Model, error) {
	o := newOptions(opts)
	c, err := checkpoint.New(cfg, seed, o.checkpoint)
	if err != nil {
		return nil, err
	}
	return open(context.Background(), c, o)
}

// open puts a model on a device. An error closes c.
func open(ctx context.Context, c *checkpoint.Checkpoint, o *options) (*Model, error) {
	m := &Model{towers: c.Model, source: c, castDType: o.castDType, inspecting: await.NewLock(), captioning: await.NewLock()}
	err := c.Model.Cast(string(o.castDType))
	if err == nil && c.Narrow() { // else nothing depends on it
		err = m.inspect(ctx)
	}
	if err == nil {
		err = m.readLogitConstants(func(p *graph.Param, v []float32) error { return p.Source.ReadF32(v, 0) })
	}
	if err == nil {
		m.engine, err = o.engine()
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return m, nil
}

// Close frees the model's memory on the device; running calls end first. From then
// on what needs the device gives gpu.ErrClosed. A second Close, or Close of nil, does
// nothing.
func (m *Model) Close() error {
	if m == nil {
		return nil
	}
	closed, err := m.engine.Close()
	if !closed {
		return nil
	}
	return errors.Join(err, m.source.Close())
}

// SaveOptions say how Save writes a model.
type SaveOptions struct {
	DType   weights.DType // F32, F16 or BF16, rounded to nearest
	Replace bool          // replaces a folder that holds nothing else than a model
}

// Save writes the model, with its parameters as they are on the device now, to a new
// folder in open_clip's layout, as checkpoint.Checkpoint.Save does. Weights that the
// device stores in fewer bits are written with the values that they have there. The warnings tell of NaN and infinities.
func (m *Model) Save(ctx context.Context, folder string, o SaveOptions) (warnings []string, err error) {
	return m.source.Save(ctx, folder, checkpoint.SaveOptions{
		DType: o.DType, Replace: o.Replace,
		Values: func(p *graph.Param) graph.Source { return &onDevice{ctx: ctx, store: m.Store(), param: p} },
	})
}

// onDevice reads a parameter from the device: whole when the first piece is asked for,
// and keeps it until the last one is.
type onDevice struct {
	ctx    context.Context
	store  *gpu.Store
	param  *graph.Param
	values []float32
}

// ReadF32 implements graph.Source.
func (d *onDevice) ReadF32(dst []float32, offset int) error {
	if d.values == nil {
		values := make([]float32, d.param.Shape.Elems())
		if err := d.store.ReadParam(d.ctx, d.param, values); err != nil {
			return err
		}
		d.values = values
	}
	if copy(dst, d.values[offset:]); offset+len(dst) == len(d.values) {
		d.values = nil
	}
	return nil
}

// logitConstants are the scale and bias as the host knows them.
type logitConstants struct{ scale, bias float32 }

// LogitScale is exp of the stored parameter, as open_clip returns it.
func (m *Model) LogitScale() float32 { return m.logit.Load().scale }

// LogitBias is the stored parameter; false when the model has none.
func (m *Model) LogitBias() (float32, bool) { return m.logit.Load().bias, m.towers.LogitBias != nil }

// Refresh rereads what the host keeps of the parameters, after something else has
// changed them.
func (m *Model) Refresh(ctx context.Context) error {
	m.changed.Store(true)
	return m.readLogitConstants(func(p *graph.Param, v []float32) error { return m.Store().ReadParam(ctx, p, v) })
}

func (m *Model) readLogitConstants(read func(p *graph.Param, v []float32) error) error {
	var scale, bias [1]float32
	if err := read(m.towers.LogitScale, scale[:]); err != nil {
		return err
	}
	if m.towers.LogitBias != nil {
		if err := read(m.towers.LogitBias, bias[:]); err != nil {
			return err
		}
	}
	m.logit.Store(&logitConstants{float32(math.Exp(float64(scale[0]))), bias[0]})
	return nil
}

// Config is the model's configuration.
func (m *Model) Config() config.Config { return m.towers.Config }

// NamedParameters iterates over the parameters by state-dict name, in the order of
// torch's named_parameters. Which of them training changes is their RequiresGrad.
func (m *Model) NamedParameters() iter.Seq2[string, *graph.Param] { return m.towers.NamedParameters() }

// Parameters iterates over the parameters and buffers by state-dict name, in the order
// of torch's state_dict.
func (m *Model) Parameters() iter.Seq2[string, *graph.Param] { return m.towers.Parameters() }

// Tree is the root of the structs that hold the parameters, as weights.Find takes it:
// to give a weight an adapter (layers.Adapter), before the model first computes.
func (m *Model) Tree() any { return m.towers.Tree() }

// FreezeBatchNorm makes every batch norm one that training leaves alone
// (freeze_batch_norm_2d of open_clip's utils.py). It must come before train.New and
// while no other call uses the model.
func (m *Model) FreezeBatchNorm() { m.towers.FreezeBatchNorm() }

// Train makes the layers that differ in training act so when the model is trained:
// batch norms normalise by the batch and follow its statistics. It is so from the
// start. What the model encodes does not depend on it: that is always as torch does it
// after eval(). It must come before train.New and while no other call uses the model.
func (m *Model) Train() { m.towers.Eval = false }

// Eval makes the layers that Train names act in training as they do when the model
// encodes: batch norms normalise by their running statistics and leave them alone, and
// nothing drops. It must come before train.New and while no other call uses the model.
func (m *Model) Eval() { m.towers.Eval = true }

// SetGradCheckpointing makes training compute every block of both towers twice rather
// than keep what it computes, which saves memory and gives the same gradients, to the
// bit (set_grad_checkpointing of open_clip). It must come before train.New and while no
// other call uses the model.
func (m *Model) SetGradCheckpointing(enable bool) { m.towers.GradCheckpointing = enable }

// LockImageTower freezes the image tower but for its last unlockedGroups groups of
// parameters: none of them with 0, all with as many as there are (lock_image_tower of
// open_clip; Zhai et al., 2022). The last group is the projection, the ones before it
// are blocks or stages, the first is the embedding. With freezeBNStats the batch norms
// of frozen groups keep their statistics, too, for good; otherwise a later call
// overrides an earlier one. As in open_clip, those of MobileCLIP's stem then lose their
// activations, which changes the features. It must come before train.New and while no other call uses
// the model.
func (m *Model) LockImageTower(unlockedGroups int, freezeBNStats bool) {
	m.towers.LockImageTower(unlockedGroups, freezeBNStats)
}

// LockTextTower does the same for the text tower (lock_text_tower of open_clip).
// Without freezeLayerNorm the layer norms of frozen groups stay trainable, which
// CLIP's own text tower refuses with ErrInput.
func (m *Model) LockTextTower(unlockedLayers int, freezeLayerNorm bool) error {
	return m.towers.LockTextTower(unlockedLayers, freezeLayerNorm)
}

// LayerGroups are the parameters of each tower in the groups that LockImageTower and
// LockTextTower count, from the input to the output. A parameter may be in none.
func (m *Model) LayerGroups() (image, text [][]*graph.Param) { return m.towers.LayerGroups() }

// Tokenizer turns strings into token ids. It is nil where the config names one that
// is not supported.
func (m *Model) Tokenizer() *tokenizer.Tokenizer { return m.source.Tokenizer }

// Preprocess turns pictures into the image tower's input.
func (m *Model) Preprocess() *preprocess.Transform { return m.source.Transform }

// Name says which model it is: the embedded one's name or the source.
func (m *Model) Name() string { return m.source.Name }

// Warnings lists what is odd about the weights, such as NaN, and what was
// assumed because nothing beside them says it, such as the preprocessing.
// It reads the weights that the device does not have yet. After Close it does not, and NaN
// that nobody looked for before are missing.
func (m *Model) Warnings() []string {
	err := m.inspect(context.Background())
	warnings := m.LoadWarnings()
	if err != nil && !errors.Is(err, weights.ErrClosed) {
		warnings = append(warnings, err.Error())
	}
	return warnings
}

// LoadWarnings are the first of Warnings, without reading weights: NaN and infinities may
// be missing. It waits for Warnings that is under way.
func (m *Model) LoadWarnings() []string {
	m.inspecting.Lock()
	defer m.inspecting.Unlock()
	return slices.Clone(m.source.Warnings)
}

// inspect finds NaN and infinities in weights, once.
func (m *Model) inspect(ctx context.Context) error {
	if err := m.inspecting.Acquire(ctx); err != nil {
		return err
	}
	defer m.inspecting.Unlock()
	if m.inspected {
		return nil
	}
	err := m.source.Inspect(ctx)
	m.inspected = err == nil
	return err
}

// Device is the device that the model runs on, open until the model's Close.
func (m *Model) Device() *gpu.Device { return m.engine.Device() }

// Store holds the parameters on the device.
func (m *Model) Store() *gpu.Store { return m.engine.Store() }
