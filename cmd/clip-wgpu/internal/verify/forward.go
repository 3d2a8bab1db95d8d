package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// verifyForward compares every tensor of outputs.safetensors, the gradient
// digests of grads.json and, where the case has pictures and labels, the whole
// way from files and strings.
func verifyForward(ctx context.Context, c *testCase) error {
	m, err := c.load(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	in, err := c.inputs("inputs.safetensors")
	if err != nil {
		return err
	}
	if c.has("outputs.safetensors") {
		named, err := c.naflexTensors(ctx, m, in.texts)
		if err != nil {
			return err
		}
		if err := c.compareOutputs(ctx, "", &forward{m: m, inputs: in, named: named}); err != nil {
			return err
		}
	}
	if c.has("grads.json") {
		m.Eval()
		if err := c.compareDigests(ctx, m, in); err != nil {
			return err
		}
	}
	return c.verifyPictures(ctx)
}

// inputs are preprocessed images and token ids, of which either may be absent.
type inputs struct {
	images *clip.Array
	texts  [][]int32
}

// byName are the images as the model takes them; nil where they are absent.
func (in inputs) byName() map[string]clip.Array {
	if in.images == nil {
		return nil
	}
	return clip.ImageInputs(*in.images)
}

func (c *testCase) inputs(file string) (in inputs, err error) {
	f, err := c.open(file)
	if err != nil {
		return in, err
	}
	defer f.Close()
	if _, ok := f.Tensor("image"); ok {
		x, err := readTensor(f, "image")
		if err != nil {
			return in, fmt.Errorf("%s: %w", file, err)
		}
		in.images = &x
	}
	if _, ok := f.Tensor("text"); ok {
		if in.texts, err = readTokens(f, "text"); err != nil {
			return in, fmt.Errorf("%s: %w", file, err)
		}
	}
	return in, nil
}

// compareOutputs makes a row for every tensor of outputs.safetensors.
func (c *testCase) compareOutputs(ctx context.Context, label string, f *forward) error {
	want, err := c.open("outputs.safetensors")
	if err != nil {
		return err
	}
	defer want.Close()
	_, err = c.compareGroup(ctx, label, f, want, "")
	return err
}

// compareGroup makes a row for every tensor whose name starts with group, and
// returns how many there are. The rows are called label and the rest of the name.
func (c *testCase) compareGroup(ctx context.Context, label string, f *forward, want weights.StateDict, group string) (int, error) {
	tolerance, err := c.tolerance()
	if err != nil {
		return 0, err
	}
	var names []string
	for _, name := range want.Names() {
		if rest, ok := strings.CutPrefix(name, group); ok {
			names = append(names, rest)
		}
	}
	if err := f.trace(ctx, names); err != nil {
		return 0, err
	}
	for _, name := range names {
		w, err := readTensor(want, group+name)
		if err != nil {
			return 0, err
		}
		got, err := f.tensor(ctx, name)
		switch {
		case errors.Is(err, errUnknown):
			c.notBuilt(label+name, "no output of this name")
		case err != nil:
			return 0, fmt.Errorf("%s: %w", name, err)
		default:
			c.compare(label+name, got, w, tolerance)
		}
	}
	return len(names), nil
}

// errUnknown is returned for names of tensors that a model does not give.
var errUnknown = errors.New("unknown output")

// forward computes the tensors of outputs.safetensors by name.
type forward struct {
	m *clip.Model
	inputs
	classes, templates []string // of a zero-shot classifier

	logits        *[2]clip.Array        // of images and of texts
	named         map[string]clip.Array // tensors whose names mean something else in this kind of case
	modules       map[string]clip.Array
	intermediates map[string]clip.Array
}

func (f *forward) tensor(ctx context.Context, name string) (clip.Array, error) {
	if module, ok := strings.CutPrefix(name, "act."); ok {
		return lookup(f.modules, module)
	}
	if key, ok := strings.CutPrefix(name, "fi."); ok {
		return lookup(f.intermediates, key)
	}
	if x, ok := f.named[name]; ok {
		return x, nil
	}
	if strings.HasPrefix(name, "zeroshot_") {
		return f.zeroShot(ctx, name)
	}
	switch {
	case f.images != nil && (name == "image_features" || name == "image_features_norm"):
		return f.m.EncodeImage(ctx, *f.images, name == "image_features_norm")
	case f.texts != nil && (name == "text_features" || name == "text_features_norm"):
		return f.m.EncodeText(ctx, f.texts, name == "text_features_norm")
	case name == "logit_scale_exp":
		return logitScalar(f.m, f.m.LogitScale()), nil
	case name == "logit_bias":
		if bias, ok := f.m.LogitBias(); ok {
			return logitScalar(f.m, bias), nil
		}
	case name == "image_logits" || name == "text_logits" || name == "probs":
		return f.logitTensor(ctx, name)
	}
	return clip.Array{}, errUnknown
}

func lookup(from map[string]clip.Array, name string) (clip.Array, error) {
	t, ok := from[name]
	if !ok {
		return t, errUnknown
	}
	return t, nil
}

// logitScalar has the shape of the model's logit parameters.
func logitScalar(m *clip.Model, v float32) clip.Array {
	shape := []int{}
	if m.Config().NonscalarLogitScale {
		shape = []int{1}
	}
	return clip.Array{Shape: shape, Data: []float32{v}}
}

func (f *forward) logitTensor(ctx context.Context, name string) (clip.Array, error) {
	if f.images == nil || f.texts == nil {
		return clip.Array{}, errUnknown
	}
	if f.logits == nil {
		x, y, err := f.m.GetLogits(ctx, f.byName(), f.texts)
		if err != nil {
			return clip.Array{}, err
		}
		f.logits = &[2]clip.Array{x, y}
	}
	switch name {
	case "text_logits":
		return f.logits[1], nil
	case "probs":
		return softmax(f.logits[0]), nil
	}
	return f.logits[0], nil
}

// softmax is over the rows of x [n, m]. The reference's probabilities are that
// for every model, also for those whose logit bias calls for sigmoids.
func softmax(x clip.Array) clip.Array {
	y := clip.Array{Shape: x.Shape, Data: make([]float32, 0, len(x.Data))}
	for row := range slices.Chunk(x.Data, x.Shape[1]) {
		top, sum := float64(slices.Max(row)), 0.0
		for _, v := range row {
			sum += math.Exp(float64(v) - top)
		}
		for _, v := range row {
			y.Data = append(y.Data, float32(math.Exp(float64(v)-top)/sum))
		}
	}
	return y
}

// trace computes the outputs of modules and blocks that names ask for.
func (f *forward) trace(ctx context.Context, names []string) (err error) {
	var modules []string
	var blocks, extra, ofTexts bool
	ofTower := true // images alone: from the tower's own forward_intermediates, which makes no unit vectors
	for _, name := range names {
		if module, ok := strings.CutPrefix(name, "act."); ok {
			modules = append(modules, module)
		}
		if key, ok := strings.CutPrefix(name, "fi."); ok {
			blocks = true
			ofTower = ofTower && strings.HasPrefix(key, "image_") && f.named == nil
			ofTexts = ofTexts || strings.HasPrefix(key, "text_") || strings.HasSuffix(key, "_logits")
			extra = extra || strings.Contains(name, "_prefix.") || strings.Contains(name, "_suffix.")
		}
	}
	if f.modules, err = traceModules(ctx, f.m, f.inputs, modules); err != nil || !blocks {
		return err
	}
	texts := f.texts
	if !ofTexts {
		texts = nil
	}
	o, err := f.m.ForwardIntermediates(ctx, f.byName(), texts, clip.IntermediatesOptions{
		NoNormalize: ofTower, ImageOutputExtraTokens: extra, TextOutputExtraTokens: extra,
		OutputLogitScaleBias: slices.Contains(names, "fi.logit_scale"),
	})
	if err != nil {
		return err
	}
	f.intermediates = flatten(f.m, o)
	return nil
}

// traceModules leaves out the modules that the model does not know.
func traceModules(ctx context.Context, m *clip.Model, in inputs, modules []string) (map[string]clip.Array, error) {
	if len(modules) == 0 {
		return nil, nil
	}
	found, err := m.Trace(ctx, in.byName(), in.texts, modules...)
	if len(modules) == 1 && errors.Is(err, clip.ErrInput) {
		return nil, nil
	}
	if !errors.Is(err, clip.ErrInput) {
		return found, err
	}
	found = map[string]clip.Array{}
	for _, module := range modules {
		one, err := traceModules(ctx, m, in, []string{module})
		if err != nil {
			return nil, err
		}
		for name, t := range one {
			found[name] = t
		}
	}
	return found, nil
}
