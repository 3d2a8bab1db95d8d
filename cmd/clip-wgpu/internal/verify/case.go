package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/internal/smallfile"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// testCase is a case while it runs.
type testCase struct {
	*Verifier
	dir, name string
	meta      meta
	rows      []Row
}

// meta is what the meta.json of several kinds have in common.
type meta struct {
	Kind         string            `json:"kind"`
	ModelFrom    string            `json:"model_from"`    // the weights, where they are another case's
	TextPrefix   string            `json:"text_prefix"`   // "text." where the text tower is a module of its own
	ExtraTensors map[string]string `json:"extra_tensors"` // parameters that lie in another file, by name
	Tolerance    *float64          `json:"suggested_abs_tolerance"`
	Float64Error *float64          `json:"f32_vs_f64_max_abs"` // of the reference itself
}

// maxJSON bounds, in bytes, the JSON files of a case.
const maxJSON = 64 << 20

// toleranceFactor is how far this device may be from the reference, in terms of
// the reference's own float32 rounding error.
const toleranceFactor = 8

// Name is what a case is called: its folder's name.
func Name(dir string) string {
	if full, err := filepath.Abs(dir); err == nil {
		dir = full
	}
	return filepath.Base(dir)
}

func openCase(v *Verifier, dir string) (*testCase, error) {
	c := &testCase{Verifier: v, dir: dir, name: Name(dir)}
	return c, c.decode("meta.json", &c.meta)
}

// tolerance is the case's own.
func (c *testCase) tolerance() (float64, error) {
	switch {
	case c.meta.Tolerance != nil:
		return *c.meta.Tolerance, nil
	case c.meta.Float64Error != nil:
		return toleranceFactor * *c.meta.Float64Error, nil
	}
	return 0, errors.New("meta.json: suggested_abs_tolerance is missing")
}

func (c *testCase) path(name string) string { return filepath.Join(c.dir, filepath.FromSlash(name)) }

func (c *testCase) has(name string) bool {
	_, err := os.Stat(c.path(name))
	return err == nil
}

// decode reads a JSON file of the case.
func (c *testCase) decode(name string, dst any) error {
	data, err := smallfile.Read(c.path(name), maxJSON)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, dst); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// open opens a safetensors file of the case.
func (c *testCase) open(name string) (*weights.File, error) { return weights.Open(c.path(name)) }

// config is the case's config.json, nil where the weights have their own. One that is
// not supported comes back with the error.
func (c *testCase) config() (*config.Config, error) {
	data, err := smallfile.Read(c.path("config.json"), maxJSON)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	cfg, _, err := config.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	if c.meta.TextPrefix == "text." {
		cfg.CustomText = true
	}
	if err := models.Check(&cfg); err != nil {
		return &cfg, fmt.Errorf("config.json: %w", err)
	}
	return &cfg, nil
}

// load opens the case's model with all of its extra tensors.
func (c *testCase) load(ctx context.Context) (*clip.Model, error) {
	return c.loadWith(ctx, func(string) bool { return true })
}

// loadWith opens the case's model with those of its extra tensors that use takes.
func (c *testCase) loadWith(ctx context.Context, use func(name string) bool) (*clip.Model, error) {
	cfg, err := c.config()
	if err != nil {
		return nil, err
	}
	// The folder itself, where no other is named, so that every layout is found.
	source := c.path(c.meta.ModelFrom)
	if c.meta.ModelFrom == "" && !slices.ContainsFunc(weights.UsualNames(), c.has) {
		return nil, fmt.Errorf("%s: %w: no weights beside the recording's other tensors", source, fs.ErrNotExist)
	}
	extra := maps.Clone(c.meta.ExtraTensors)
	maps.DeleteFunc(extra, func(name, _ string) bool { return !use(name) })
	if len(extra) == 0 {
		return c.loadFrom(ctx, source, cfg)
	}
	if _, ok := extra["logit_bias"]; ok && cfg != nil && cfg.InitLogitBias == nil {
		cfg.InitLogitBias = new(float64)
	}
	f, err := os.CreateTemp("", "clip-wgpu-verify-*.safetensors")
	if err != nil {
		return nil, err
	}
	merged := f.Name()
	defer c.discard(merged)
	f.Close()
	if err := c.merge(merged, source, extra); err != nil {
		return nil, err
	}
	return c.loadFrom(ctx, merged, cfg)
}

func (c *testCase) loadFrom(ctx context.Context, source string, cfg *config.Config) (*clip.Model, error) {
	device, err := c.openDevice()
	if err != nil {
		return nil, err
	}
	opts := []clip.Option{clip.WithDevice(device)}
	if cfg != nil {
		opts = append(opts, clip.WithConfig(*cfg))
	}
	return clip.Load(ctx, source, opts...)
}

// merge writes the weights of source with extra tensors, file names by tensor
// name, to path.
func (c *testCase) merge(path, source string, extra map[string]string) error {
	base, err := weights.Open(source)
	if err != nil {
		return err
	}
	defer base.Close()
	var records []weights.Record
	for _, t := range base.Tensors() {
		if _, replaced := extra[t.Name]; !replaced {
			records = append(records, t.As(t.DType))
		}
	}
	for name, file := range extra {
		f, err := c.open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		t, ok := f.Tensor(name)
		if !ok {
			return fmt.Errorf("%s: has no tensor %q", file, name)
		}
		records = append(records, t.As(t.DType))
	}
	return weights.Save(path, records, weights.SaveOptions{})
}

// readTensor reads a tensor of floats, or of whole numbers.
func readTensor(src weights.StateDict, name string) (clip.Array, error) {
	t, ok := src.Tensor(name)
	if !ok {
		return clip.Array{}, fmt.Errorf("there is no tensor %q", name)
	}
	x := clip.Array{Shape: t.Shape, Data: make([]float32, t.Len())}
	if !t.DType.IsFloat() {
		whole := make([]int64, t.Len())
		err := t.ReadI64(whole, 0)
		for i, v := range whole {
			x.Data[i] = float32(v)
		}
		return x, err
	}
	return x, t.ReadF32(x.Data, 0)
}

// readInts reads a tensor of whole numbers.
func readInts(src weights.StateDict, name string) (shape []int, data []int64, err error) {
	t, ok := src.Tensor(name)
	if !ok {
		return nil, nil, fmt.Errorf("there is no tensor %q", name)
	}
	data = make([]int64, t.Len())
	return t.Shape, data, t.ReadI64(data, 0)
}

// readTokens reads rows of token ids of shape [..., length].
func readTokens(src weights.StateDict, name string) ([][]int32, error) {
	shape, data, err := readInts(src, name)
	if err != nil {
		return nil, err
	}
	if len(shape) < 2 || shape[len(shape)-1] == 0 {
		return nil, fmt.Errorf("tensor %q: shape %v, want rows of token ids", name, shape)
	}
	ids := make([]int32, len(data))
	for i, v := range data {
		if v < math.MinInt32 || v > math.MaxInt32 {
			return nil, fmt.Errorf("tensor %q: %d is no token id", name, v)
		}
		ids[i] = int32(v)
	}
	return slices.Collect(slices.Chunk(ids, shape[len(shape)-1])), nil
}
