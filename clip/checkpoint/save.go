package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/hub"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/finite"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/atomicfile"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

const openCLIPWeights = "open_clip_model.safetensors"

// SaveOptions say how Save writes a model.
type SaveOptions struct {
	DType   weights.DType // F32, F16 or BF16, rounded to nearest; scalars, such as logit_scale, are F32
	Replace bool          // replaces a folder that holds nothing else than a model
	// Values gives a parameter's values where they are not its source; nil leaves it out.
	// Nil: the sources.
	Values func(p *graph.Param) graph.Source
}

// Convert writes the model at a source of Open to a new folder, as Save does. The
// warnings are those of the checkpoint and of Save.
func Convert(ctx context.Context, source, folder string, to SaveOptions, o Options) (warnings []string, err error) {
	if err := mayReplace(folder, to.Replace); err != nil {
		return nil, outputError(folder, err)
	}
	c, err := Open(ctx, source, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	odd, err := c.Save(ctx, folder, to)
	if err != nil {
		return nil, err
	}
	return append(c.Warnings, odd...), nil
}

// Save writes the model to a new folder in open_clip's layout:
// open_clip_model.safetensors, open_clip_config.json and the files of its tokenizer
// that the source has. It takes the same memory for any model. An adapter is merged into
// the weights. The warnings tell of NaN and infinities.
//
// The folder appears whole or not at all. One that exists is an error that matches
// fs.ErrExist or, with Replace, is replaced if it holds nothing else than a model. A
// value too large for the data type is an error that matches check.ErrInput and names
// the source and the tensor; errors of writing begin with "output" and the folder.
func (c *Checkpoint) Save(ctx context.Context, folder string, o SaveOptions) (warnings []string, err error) {
	if err := mayReplace(folder, o.Replace); err != nil {
		return nil, outputError(folder, err)
	}
	temp := atomicfile.TempName(filepath.Clean(folder))
	if err := os.Mkdir(temp, 0o777); err != nil {
		return nil, outputError(folder, err)
	}
	defer os.RemoveAll(temp) // has nothing left to do after the rename
	if warnings, err = c.write(ctx, temp, o); err != nil {
		var written *writeError
		if errors.As(err, &written) {
			err = outputError(folder, written.error)
		}
		return nil, err
	}
	return warnings, outputError(folder, putFolder(temp, filepath.Clean(folder), o.Replace))
}

// writeError is an error of writing into a folder that its user does not know.
type writeError struct{ error }

func (e *writeError) Unwrap() error { return e.error }

// outputError words an error of writing the output. It names the output and what the
// system says, and no other paths: those can be of the temporary folder.
func outputError(folder string, err error) error {
	var file *weights.FileError
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &link):
		err = link.Err
	case errors.As(err, &path):
		err = path.Err
	case errors.As(err, &file):
		err = &weights.FileError{Tensor: file.Tensor, Reason: file.Reason, Err: file.Err}
	}
	return fmt.Errorf("output %s: %w", folder, err)
}

// write writes the files of the model into a folder.
func (c *Checkpoint) write(ctx context.Context, folder string, o SaveOptions) (warnings []string, err error) {
	if err := c.copyTokenizer(folder); err != nil {
		return nil, err
	}
	data, err := openCLIPConfigOf(c.Model, c.Transform.Config())
	if err != nil {
		return nil, err
	}
	if err := atomicfile.Write(filepath.Join(folder, openCLIPConfig), data, false); err != nil {
		return nil, &writeError{err}
	}
	var odd finite.Exceptions
	var records []weights.Record
	for name, p := range c.Model.Parameters() {
		from, err := c.values(p, o)
		if err != nil {
			return nil, err
		}
		if from == nil {
			continue
		}
		dtype := o.DType
		if len(p.Shape) == 0 {
			dtype = weights.F32
		}
		r := &reading{ctx: ctx, source: c.Name, name: name, dtype: dtype, from: from, odd: &odd}
		record := weights.Record{Name: name, DType: dtype, Shape: p.Shape, ReadF32: r.read}
		if p.Integer {
			whole := *p
			whole.Source = from
			record = weights.IntegerRecord(&whole)
			read := record.ReadI64
			record.ReadI64 = func(dst []int64, off int) error { return r.failed(read(dst, off)) }
		}
		records = append(records, record)
	}
	err = weights.Save(filepath.Join(folder, openCLIPWeights), records, weights.SaveOptions{Metadata: map[string]string{"format": "pt"}})
	var read *readError
	if errors.As(err, &read) {
		return nil, read.error
	}
	if err != nil {
		return nil, &writeError{err}
	}
	return odd.Warnings(), nil
}

// values are those that p is saved with: an adapter is merged, and its own parameters have
// none.
func (c *Checkpoint) values(p *graph.Param, o SaveOptions) (graph.Source, error) {
	switch {
	case c.Adapter != nil:
		return c.Adapter.Merged(p, o.Values)
	case o.Values != nil:
		return o.Values(p), nil
	}
	return p.Source, nil
}

// readError is an error of the source, which it names, while the output is written.
type readError struct{ error }

// reading is a tensor on its way from one file to another.
type reading struct {
	ctx          context.Context
	source, name string
	dtype        weights.DType
	from         graph.Source
	odd          *finite.Exceptions
	isOdd        bool // the tensor is in odd
}

func (r *reading) read(dst []float32, off int) error {
	if err := r.ctx.Err(); err != nil {
		return r.failed(err)
	}
	if err := r.from.ReadF32(dst, off); err != nil {
		return r.failed(err)
	}
	overflow := r.dtype.Overflow()
	for i, v := range dst {
		if finite.Is(v) && float32(math.Abs(float64(v))) < overflow {
			continue
		}
		exact := float64(v)
		if t, ok := r.from.(interface{ Exact(int) (float64, error) }); ok && math.IsInf(exact, 0) {
			var err error
			if exact, err = t.Exact(off + i); err != nil {
				return r.failed(err)
			}
		}
		if !math.IsNaN(exact) && !math.IsInf(exact, 0) {
			return r.failed(fmt.Errorf("%w: element %d is %v, which %v cannot hold%s", check.ErrInput, off+i, exact, r.dtype, wider(v)))
		}
		if !r.isOdd {
			r.isOdd = true
			*r.odd = append(*r.odd, finite.Exception{Tensor: r.name, Element: off + i, Value: exact})
		}
	}
	return nil
}

// wider is the part of an error message that names types with a range wide enough for
// v. It is empty where v is infinite, because no type holds that.
func wider(v float32) string {
	switch v = float32(math.Abs(float64(v))); {
	case !finite.Is(v):
		return ""
	case v >= weights.BF16.Overflow():
		return "; convert to f32"
	}
	return "; convert to bf16 or f32"
}

// failed names the source and the tensor of an error, unless it does so itself.
func (r *reading) failed(err error) error {
	var file *weights.FileError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &file):
		err = fmt.Errorf("%s: tensor %s: %w", r.source, r.name, err)
	}
	return &readError{err}
}

// copyTokenizer copies the files of the tokenizer that are there.
func (c *Checkpoint) copyTokenizer(folder string) error {
	if c.dir == nil {
		return nil
	}
	names := hub.TokenizerFiles()
	if c.Model.Config.TextCfg.HubTokenizer() != "" {
		names = append(names, huggingFaceConfig) // its model_type tells the tokenizer's class
	}
	for _, name := range names {
		data, err := readSmall(c.dir, c.folder, name, maxTokenizerFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := atomicfile.Write(filepath.Join(folder, name), data, false); err != nil {
			return &writeError{err}
		}
	}
	return nil
}

// openCLIPConfigOf is the open_clip_config.json of a model. What open_clip has by
// itself is left out, so that its older versions, which have fewer keys, read it.
func openCLIPConfigOf(m *towers.Model, pp preprocess.Config) ([]byte, error) {
	c := m.Config
	model := fields(c)
	vision, text, multimodal := m.Keys()
	model["vision_cfg"] = without(fields(c.VisionCfg), fields(config.DefaultVisionConfig()), vision...)
	model["text_cfg"] = without(fields(c.TextCfg), fields(config.DefaultTextConfig()), text...)
	if c.MultimodalCfg != nil {
		model["multimodal_cfg"] = without(fields(c.MultimodalCfg), fields(config.DefaultMultimodalConfig()), multimodal...)
	}
	prep := without(fields(pp), fields(preprocess.DefaultConfig()), "mean", "std", "interpolation", "resize_mode")
	delete(prep, "size") // the model's
	data, err := json.MarshalIndent(map[string]any{"model_cfg": model, "preprocess_cfg": prep}, "", "  ")
	return append(data, '\n'), err
}

// fields returns the members of a configuration's JSON object. The configurations are
// plain structs, so encoding them cannot fail.
func fields(section any) map[string]any {
	data, _ := json.Marshal(section)
	var m map[string]any
	json.Unmarshal(data, &m)
	return m
}

// without removes from m, and returns, the members that equal their defaults. Members
// named in keep stay, because readers of the file want them.
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
		return fs.ErrExist
	case !info.IsDir():
		return errors.New("is not a folder and cannot be replaced by one")
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	ours := append(hub.TokenizerFiles(), openCLIPWeights, openCLIPConfig, huggingFaceConfig)
	for _, e := range entries {
		if !slices.Contains(ours, e.Name()) {
			return fmt.Errorf("holds %q, which would be lost, and cannot be replaced", e.Name())
		}
	}
	return nil
}

func isFolder(path string) error {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return fmt.Errorf("%w: there is no folder %s to write in", fs.ErrNotExist, path)
	}
	return nil
}

// putFolder makes temp appear as folder, unless something came there meanwhile that
// may not be replaced.
func putFolder(temp, folder string, replace bool) error {
	if err := mayReplace(folder, replace); err != nil {
		return err
	}
	return atomicfile.PutFolder(temp, folder)
}
