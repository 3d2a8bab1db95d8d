package clip

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/hub"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

const openCLIPWeights = "open_clip_model.safetensors"

// Convert writes the model at a source of Load to a new folder in open_clip's
// layout: open_clip_model.safetensors in dtype (F32, F16 or BF16, rounded to
// nearest), open_clip_config.json and the files of its tokenizer that the source
// has. It needs no device, and the same memory for any model.
//
// The folder appears whole or not at all. One that exists is an error that
// matches fs.ErrExist or, with replace, is replaced if it holds nothing else than
// a model. A value too large for dtype is an error that matches ErrInput. The
// warnings are those of Model.
func Convert(ctx context.Context, source, folder string, dtype weights.DType, replace bool, opts ...Option) (warnings []string, err error) {
	if err := mayReplace(folder, replace); err != nil {
		return nil, err
	}
	o := newOptions(opts)
	from, err := o.find(ctx, source)
	if err != nil {
		return nil, err
	}
	c, err := openCheckpoint(from.path, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.file.Close()) }()
	if err := c.comesFrom(from); err != nil {
		return nil, err
	}
	temp := fmt.Sprintf("%s.%08x.tmp", filepath.Clean(folder), rand.Uint32())
	if err := os.Mkdir(temp, 0o777); err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp) // has nothing left to do after the rename
	if warnings, err = c.save(ctx, temp, dtype); err != nil {
		return nil, err
	}
	if c.warnings = append(c.warnings, warnings...); c.assumed != "" {
		c.warnings = append(c.warnings, c.assumed)
	}
	return c.warnings, putFolder(temp, filepath.Clean(folder), replace)
}

// save writes the files of a model into a folder and returns what Model.Warnings
// says of its tensors.
func (c *checkpoint) save(ctx context.Context, folder string, dtype weights.DType) (warnings []string, err error) {
	m, e, err := build(c.config)
	if err != nil {
		return nil, err
	}
	src, err := adapt(e, c.src)
	if err == nil {
		err = weights.Bind(m, src).Err()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.file.Path(), err)
	}
	if _, err := c.tokenizer(); err != nil {
		return nil, err
	}
	if err := c.copyTokenizer(folder); err != nil {
		return nil, err
	}
	data, err := openCLIPConfigOf(c.config, c.transform.Config())
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(folder, openCLIPConfig), data, 0o666); err != nil {
		return nil, err
	}
	var odd notFinite
	var records []weights.Record
	weights.Walk(m, func(name string, p *graph.Param) {
		if p.Integer {
			records = append(records, weights.IntegerRecord(p))
			return
		}
		r := reading{ctx: ctx, name: name, dtype: dtype, from: p.Source, odd: &odd}
		records = append(records, weights.Record{Name: name, DType: dtype, Shape: p.Shape, ReadF32: r.read})
	})
	err = weights.Save(filepath.Join(folder, openCLIPWeights), records, weights.SaveOptions{Metadata: map[string]string{"format": "pt"}})
	return odd.warnings(), err
}

// reading is a tensor on its way from one file to another.
type reading struct {
	ctx   context.Context
	name  string
	dtype weights.DType
	from  graph.Source
	odd   *notFinite
	isOdd bool // the tensor is in odd
}

func (r *reading) read(dst []float32, off int) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if err := r.from.ReadF32(dst, off); err != nil {
		return err
	}
	overflow, wider := r.dtype.Overflow(), "f32"
	if r.dtype == weights.F16 {
		wider = "bf16 or f32"
	}
	for i, v := range dst {
		switch {
		case !isFinite(v) && !r.isOdd:
			r.isOdd = true
			*r.odd = append(*r.odd, notFiniteTensor{r.name, off + i, v})
		case isFinite(v) && float32(math.Abs(float64(v))) >= overflow:
			return fmt.Errorf("%w: element %d is %v, which %v cannot hold; convert to %s", ErrInput, off+i, v, r.dtype, wider)
		}
	}
	return nil
}

// copyTokenizer copies the files of the tokenizer that are there.
func (c *checkpoint) copyTokenizer(folder string) error {
	for _, name := range hub.TokenizerFiles() {
		data, err := fs.ReadFile(c.dir, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name), data, 0o666)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// openCLIPConfigOf is the open_clip_config.json of a model. What open_clip has by
// itself is left out, so that its older versions, which have fewer keys, read it.
func openCLIPConfigOf(c Config, pp preprocess.Config) ([]byte, error) {
	model := fields(c)
	model["vision_cfg"] = without(fields(c.VisionCfg), fields(DefaultVisionConfig()), "image_size", "layers", "width", "patch_size")
	if name := c.VisionCfg.TimmModelName; name != nil && *name != "" {
		model["vision_cfg"] = without(fields(c.VisionCfg), fields(DefaultVisionConfig()), "image_size")
	}
	model["text_cfg"] = without(fields(c.TextCfg), fields(DefaultTextConfig()), "context_length", "vocab_size", "width", "heads", "layers")
	prep := without(fields(pp), fields(preprocess.DefaultConfig()), "mean", "std", "interpolation", "resize_mode")
	delete(prep, "size") // the model's
	data, err := json.MarshalIndent(map[string]any{"model_cfg": model, "preprocess_cfg": prep}, "", "  ")
	return append(data, '\n'), err
}

// fields are the JSON members of a configuration, which cannot fail to encode.
func fields(config any) map[string]any {
	data, _ := json.Marshal(config)
	var m map[string]any
	json.Unmarshal(data, &m)
	return m
}

// without drops what is as in defaults, but for the names in keep.
func without(m, defaults map[string]any, keep ...string) map[string]any {
	for name, v := range m {
		if reflect.DeepEqual(v, defaults[name]) && !slices.Contains(keep, name) {
			delete(m, name)
		}
	}
	return m
}

// mayReplace tells why a folder cannot be written.
func mayReplace(folder string, replace bool) error {
	info, err := os.Lstat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return isFolder(filepath.Dir(filepath.Clean(folder)))
	case err != nil:
		return err
	case !replace:
		return &fs.PathError{Op: "write", Path: folder, Err: fs.ErrExist}
	case !info.IsDir():
		return fmt.Errorf("%s: is not a folder and cannot be replaced by one", folder)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	ours := append(hub.TokenizerFiles(), openCLIPWeights, openCLIPConfig)
	for _, e := range entries {
		if !slices.Contains(ours, e.Name()) {
			return fmt.Errorf("%s: holds %q, which would be lost, and cannot be replaced", folder, e.Name())
		}
	}
	return nil
}

func isFolder(path string) error {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return fmt.Errorf("%s: %w: there is no such folder to write in", path, fs.ErrNotExist)
	}
	return nil
}

// putFolder makes temp appear as folder.
func putFolder(temp, folder string, replace bool) error {
	if err := mayReplace(folder, replace); err != nil {
		return err
	}
	old := temp + ".old"
	err := os.Rename(folder, old)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(temp, folder); err != nil {
		return errors.Join(err, os.Rename(old, folder))
	}
	return os.RemoveAll(old)
}
