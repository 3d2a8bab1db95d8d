package clip

import (
	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/engine"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/gpu"
)

// Option adjusts New and Load.
type Option func(*options)

type options struct {
	checkpoint checkpoint.Options
	gpu        gpu.Options
	device     *gpu.Device
	maxBatch   int
	castDType  CastDType
}

func newOptions(opts []Option) *options {
	o := &options{maxBatch: 32, castDType: F32}
	for _, opt := range opts {
		opt(o)
	}
	return o
}

// engine opens an engine on the device that the options choose.
func (o *options) engine() (*engine.Engine, error) {
	if o.device != nil {
		return engine.Open(o.device, o.maxBatch)
	}
	d, err := gpu.Open(o.gpu)
	if err != nil {
		return nil, err
	}
	defer d.Close() // the engine has a handle of its own
	return engine.Open(d, o.maxBatch)
}

// With finds the model as checkpoint.Options say. WithImageSize and the like, given
// later, change single fields of them.
func With(c checkpoint.Options) Option { return func(o *options) { o.checkpoint = c } }

// WithGPU chooses the adapter and its limits.
func WithGPU(g gpu.Options) Option { return func(o *options) { o.gpu = g } }

// WithDevice shares an open device; the model keeps it open until its Close.
func WithDevice(d *gpu.Device) Option { return func(o *options) { o.device = d } }

// WithMaxBatch sets how many images or texts go to the device at once (32);
// larger batches are split.
func WithMaxBatch(n int) Option { return func(o *options) { o.maxBatch = max(1, n) } }

// WithConfig supplies the model configuration that a lone weights file lacks.
func WithConfig(c config.Config) Option { return func(o *options) { o.checkpoint.Config = &c } }

// WithImageSize changes the image size (open_clip's force_image_size); the
// position embedding is resized on load.
func WithImageSize(height, width int) Option {
	return func(o *options) { o.checkpoint.ImageSize = config.Size{height, width} }
}

// WithContextLength changes the text length, in tokens (open_clip's
// force_context_length); the position embedding is resized on load.
func WithContextLength(n int) Option { return func(o *options) { o.checkpoint.ContextLength = n } }

// WithRandomWeights has Load give the model random weights from seed, by open_clip's
// initialisation, in place of its own. The config, the preprocessing and the tokenizer stay.
func WithRandomWeights(seed uint64) Option {
	return func(o *options) { o.checkpoint.RandomSeed = &seed }
}

// CastDType is open_clip's cast_dtype: how the device stores the weights of the
// linear maps, which are nearly all of a transformer. Arithmetic, and all other
// parameters, stay in float32.
type CastDType string

const (
	F32  CastDType = "f32"
	F16  CastDType = "f16"  // IEEE 754 binary16, rounded to nearest
	BF16 CastDType = "bf16" // bfloat16, rounded to nearest
	Q8   CastDType = "q8"   // 8-bit integers, with a scale for every output of a map
)

// ParseCastDType checks the name of a CastDType; errors match ErrInput.
func ParseCastDType(name string) (CastDType, error) {
	_, err := towers.Format(name)
	return CastDType(name), err
}

// WithCastDType chooses how the device stores weights (F32). Only F32 can be
// trained; Model.CastFrozen is for what is not.
func WithCastDType(c CastDType) Option { return func(o *options) { o.castDType = c } }
