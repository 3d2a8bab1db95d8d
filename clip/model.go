// Package clip is open_clip's CLIP class in Go, computed by WebGPU.
//
// Load opens a model folder, a file of weights or the embedded model; New
// makes one with random weights. Models are safe for concurrent use. A call returns
// soon after its context has ended, whatever other calls keep the device busy.
package clip

import (
	"context"
	"errors"
	"fmt"
	"image"
	"iter"
	"math"
	"sync/atomic"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// ErrInput is matched by errors about arguments that do not fit the model.
var ErrInput = errors.New("invalid input")

// Tensor is a shape and its elements in row-major order.
type Tensor struct {
	Shape []int
	Data  []float32
}

// Model is what CLIP and CustomTextCLIP have in common.
type Model interface {
	// EncodeImage maps images [n, 3, height, width], preprocessed, to features
	// [n, embed_dim], or [n, tokens, embed_dim] where the tower does not pool;
	// normalize makes them unit vectors. NaN or infinities in features or logits
	// are a *NotFiniteError, here and in all other methods but Trace.
	EncodeImage(ctx context.Context, images Tensor, normalize bool) (Tensor, error)
	// EncodeText maps rows of token ids to features [n, embed_dim], or [n, tokens,
	// embed_dim] where the tower does not pool.
	EncodeText(ctx context.Context, texts [][]int32, normalize bool) (Tensor, error)
	// EncodeImages preprocesses images and returns their unit features.
	EncodeImages(ctx context.Context, images []image.Image) (Tensor, error)
	// EncodeTexts tokenizes strings and returns their unit features. Where one
	// string cannot be tokenized, the error is a *tokenizer.TextError with its index.
	EncodeTexts(ctx context.Context, texts []string) (Tensor, error)
	// GetLogits returns scaled similarities [images, texts], or [images, tokens,
	// texts] where the image tower does not pool, and the same with its axes
	// reversed. A text tower that does not pool has none.
	GetLogits(ctx context.Context, images Tensor, texts [][]int32) (imageLogits, textLogits Tensor, err error)
	// Forward encodes what is given; Output says what it returns.
	Forward(ctx context.Context, images *Tensor, texts [][]int32) (*Output, error)
	// ForwardIntermediates also returns the outputs of the transformers' blocks.
	// An empty batch is an error.
	ForwardIntermediates(ctx context.Context, images *Tensor, texts [][]int32, o IntermediatesOptions) (*Intermediates, error)
	// Trace returns the outputs of modules by their open_clip names.
	Trace(ctx context.Context, images *Tensor, texts [][]int32, modules ...string) (map[string]Tensor, error)
	// Programs lowers both towers for a batch without loading them.
	Programs(batch int) (image, text *graph.Program, err error)
	// Tune measures the kernels that the towers can choose among for batches, so
	// that Save on the result makes later runs take the fastest.
	Tune(ctx context.Context, batches []int, progress func(done, total int)) (*gpu.Tuning, error)
	// Record appends the towers to a graph, to be trained; Feed gives its inputs.
	Record(g *graph.Graph, batch, length int) (imageFeatures, textFeatures graph.Tensor)
	Feed(images Tensor, texts [][]int32) (map[string]any, error)
	// Store holds the parameters on the device; Refresh rereads what the model
	// keeps of them, after something else has changed them.
	Store() *gpu.Store
	Refresh(ctx context.Context) error
	// Similarity returns the logits of unit features [n, embed_dim] or [n, tokens,
	// embed_dim] and [m, embed_dim]: [n, m] or [n, tokens, m].
	Similarity(ctx context.Context, imageFeatures, textFeatures Tensor) (Tensor, error)

	// LogitScale is exp of the stored parameter, as open_clip returns it.
	LogitScale() float32
	// LogitBias is the stored parameter; false when the model has none.
	LogitBias() (float32, bool)
	Config() Config
	// Parameters iterates over the parameters by state-dict name.
	Parameters() iter.Seq2[string, *graph.Param]
	// Tokenizer and Preprocess do the way from string and picture. The tokenizer
	// is nil where the config names one that is not supported.
	Tokenizer() *tokenizer.Tokenizer
	Preprocess() *preprocess.Transform
	// Name says which model it is: the embedded one's name or the source.
	Name() string
	// Warnings lists what is odd about the weights, such as NaN, and what was
	// assumed because nothing beside them says it, such as the preprocessing.
	Warnings() []string
	Device() *gpu.Device
	// Close frees the model's memory on the device; running calls end first. From
	// then on what needs the device gives gpu.ErrClosed. A second Close does nothing.
	Close() error
}

// CLIP is open_clip's CLIP class: the text tower's modules are its own.
type CLIP struct {
	*TextTransformer `w:""`
	Visual           ImageTower `w:"visual"`
	*engine          `w:""`
}

// CustomTextCLIP is open_clip's CustomTextCLIP class: the text tower is a
// module of its own. It takes text rows shorter than the context, too.
type CustomTextCLIP struct {
	Visual  ImageTower       `w:"visual"`
	Text    *TextTransformer `w:"text"`
	*engine `w:""`

	ContextLength int
	VocabSize     int
}

var (
	_ Model = (*CLIP)(nil)
	_ Model = (*CustomTextCLIP)(nil)
)

// New returns a model with open_clip's random initialisation from seed.
func New(cfg Config, seed uint64, opts ...Option) (Model, error) {
	o := newOptions(opts)
	o.resize(&cfg)
	m, e, err := build(cfg)
	if err != nil {
		return nil, err
	}
	for _, p := range m.Parameters() {
		layers.Seed(p, seed)
	}
	e.name = fmt.Sprintf("random weights, seed %d", seed)
	if err := e.cast(o.castDType); err != nil {
		return nil, err
	}
	if err := e.open(o); err != nil {
		return nil, err
	}
	return m, nil
}

// build makes a model's structure, with its parameters named.
func build(cfg Config) (Model, *engine, error) {
	if err := cfg.validate(); err != nil {
		return nil, nil, err
	}
	family, err := cfg.imageFamily()
	if err != nil {
		return nil, nil, err
	}
	e := newEngine(cfg, family.build(&cfg))
	var m Model = &CLIP{Visual: e.visual, TextTransformer: e.text, engine: e}
	if cfg.CustomText {
		m = &CustomTextCLIP{
			Visual: e.visual, Text: e.text, engine: e,
			ContextLength: e.text.ContextLength, VocabSize: e.text.VocabSize,
		}
	}
	e.root = m
	if e.warnings, err = cfg.TextCfg.checkTokenizer(); err != nil {
		return nil, nil, err
	}
	weights.Walk(m, func(name string, p *graph.Param) { p.Name = name })
	return m, e, nil
}

// engine is what both classes share: towers, device and programs.
type engine struct {
	LogitScaleParam *graph.Param `w:"logit_scale"` // the logarithm of the scale
	LogitBiasParam  *graph.Param `w:"logit_bias"`

	cfg       Config
	name      string
	root      Model
	visual    ImageTower
	text      *TextTransformer
	tokens    *tokenizer.Tokenizer
	transform *preprocess.Transform
	warnings  []string
	notFinite notFinite // tensors of the checkpoint, as loaded

	dev      *gpu.Device
	tuning   *gpu.Tuning // what the user's cache holds for the device, or nil
	store    *gpu.Store
	programs *programCache
	source   *weights.File // kept open while weights stream
	logit    atomic.Pointer[logitConstants]
}

func newEngine(cfg Config, visual ImageTower) *engine {
	shape := []int{}
	if cfg.NonscalarLogitScale {
		shape = []int{1}
	}
	e := &engine{cfg: cfg, visual: visual, text: newTextTransformer(&cfg)}
	scale := defaultInitLogitScale
	if cfg.InitLogitScale != nil {
		scale = *cfg.InitLogitScale
	}
	e.LogitScaleParam = layers.NewParam(layers.Constant(scale), shape...)
	if cfg.InitLogitBias != nil {
		e.LogitBiasParam = layers.NewParam(layers.Constant(*cfg.InitLogitBias), shape...)
	}
	return e
}

// open puts the model on a device.
func (e *engine) open(o *options) error {
	err := e.prepare()
	if err != nil {
		return err
	}
	if o.device == nil {
		e.dev, err = gpu.Open(o.gpu)
	} else {
		e.dev, err = o.device.Retain()
	}
	if err != nil {
		return err
	}
	e.tuning = e.dev.LoadTuning()
	e.store = e.dev.NewStore()
	e.programs = newProgramCache(o.maxBatch)
	return nil
}

// prepare fills in the tokenizer, the preprocessing and the logit constants.
func (e *engine) prepare() (err error) {
	if e.tokens, err = e.cfg.TextCfg.tokenizer(e.tokens); err != nil {
		return err
	}
	if e.transform == nil {
		c := preprocess.DefaultConfig()
		c.Size = preprocess.Size(e.cfg.VisionCfg.ImageSize)
		if e.transform, err = preprocess.New(c); err != nil {
			return err
		}
	}
	return e.readLogitConstants(func(p *graph.Param, v []float32) error { return p.Source.ReadF32(v, 0) })
}

// logitConstants are the scale and bias as the host knows them.
type logitConstants struct{ scale, bias float32 }

func (e *engine) LogitScale() float32 { return e.logit.Load().scale }

func (e *engine) LogitBias() (float32, bool) { return e.logit.Load().bias, e.LogitBiasParam != nil }

func (e *engine) Store() *gpu.Store { return e.store }

func (e *engine) Refresh(ctx context.Context) error {
	return e.readLogitConstants(func(p *graph.Param, v []float32) error { return e.store.ReadParam(ctx, p, v) })
}

func (e *engine) readLogitConstants(read func(p *graph.Param, v []float32) error) error {
	var scale, bias [1]float32
	if err := read(e.LogitScaleParam, scale[:]); err != nil {
		return err
	}
	if e.LogitBiasParam != nil {
		if err := read(e.LogitBiasParam, bias[:]); err != nil {
			return err
		}
	}
	e.logit.Store(&logitConstants{float32(math.Exp(float64(scale[0]))), bias[0]})
	return nil
}

func (e *engine) Config() Config { return e.cfg }

func (e *engine) Tokenizer() *tokenizer.Tokenizer { return e.tokens }

func (e *engine) Preprocess() *preprocess.Transform { return e.transform }

func (e *engine) Name() string { return e.name }

func (e *engine) Warnings() []string { return e.warnings }

func (e *engine) Device() *gpu.Device { return e.dev }

func (e *engine) Parameters() iter.Seq2[string, *graph.Param] {
	return func(yield func(string, *graph.Param) bool) {
		more := true
		weights.Walk(e.root, func(name string, p *graph.Param) {
			more = more && yield(name, p)
		})
	}
}

// Close implements Model. On a nil model it does nothing.
func (m *CLIP) Close() error {
	if m == nil {
		return nil
	}
	return m.engine.Close()
}

// Close implements Model. On a nil model it does nothing.
func (m *CustomTextCLIP) Close() error {
	if m == nil {
		return nil
	}
	return m.engine.Close()
}

func (e *engine) Close() error {
	if e == nil || !e.programs.close() {
		return nil
	}
	return errors.Join(e.store.Close(), e.dev.Close(), e.source.Close())
}

// Option adjusts New and Load.
type Option func(*options)

type options struct {
	gpu        gpu.Options
	device     *gpu.Device
	maxBatch   int
	castDType  CastDType
	config     *Config
	configFrom string
	progress   func(file string, done, total int64)
	warn       func(text string)
	imageSize  *Size
	context    int
}

func newOptions(opts []Option) *options {
	o := &options{maxBatch: 32, castDType: F32}
	for _, opt := range opts {
		opt(o)
	}
	return o
}

// resize applies the sizes that replace the config's.
func (o *options) resize(c *Config) {
	if o.imageSize != nil {
		c.VisionCfg.ImageSize = *o.imageSize
		if c.VisionCfg.isTimmViT() {
			c.VisionCfg.resizeTimm(*o.imageSize)
		}
	}
	if o.context != 0 {
		c.TextCfg.ContextLength = o.context
	}
}

// WithGPU chooses the adapter and its limits.
func WithGPU(o gpu.Options) Option { return func(opts *options) { opts.gpu = o } }

// WithDevice shares an open device; the model keeps it open until its Close.
func WithDevice(d *gpu.Device) Option { return func(o *options) { o.device = d } }

// WithMaxBatch sets how many images or texts go to the device at once (32);
// larger batches are split.
func WithMaxBatch(n int) Option { return func(o *options) { o.maxBatch = max(1, n) } }

// WithConfig supplies the model configuration that a lone weights file lacks.
func WithConfig(c Config) Option { return func(o *options) { o.config = &c } }

// WithConfigFrom does the same by name: a file that ParseConfig takes, whose
// preprocess_cfg counts too, or open_clip's name of a model. It replaces WithConfig
// and what lies beside the weights.
func WithConfigFrom(source string) Option { return func(o *options) { o.configFrom = source } }

// WithWarn is told what LoadTokenizer ignores. Models have Warnings.
func WithWarn(f func(text string)) Option {
	return func(o *options) { o.warn = f }
}

// WithProgress is told, while a file of a model is downloaded, how many of its
// bytes are there. It should return soon.
func WithProgress(f func(file string, done, total int64)) Option {
	return func(o *options) { o.progress = f }
}

// WithImageSize changes the image size (open_clip's force_image_size); the
// position embedding is resized on load.
func WithImageSize(height, width int) Option {
	return func(o *options) { o.imageSize = &Size{height, width} }
}

// WithContextLength changes the text length (open_clip's force_context_length).
func WithContextLength(n int) Option { return func(o *options) { o.context = n } }
