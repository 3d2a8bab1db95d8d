package verify

import (
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/train"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// training is a case of kind training.
type training struct {
	*testCase
	tolerance, paramTolerance float64
	optimizer                 optimizer
	batches                   []inputs
}

// optimizer is AdamW's settings in meta.json.
type optimizer struct {
	LR          float64    `json:"lr"`
	Betas       [2]float64 `json:"betas"`
	Eps         float64    `json:"eps"`
	WeightDecay float64    `json:"weight_decay"`
}

// losses by the first word of files and curves.
var losses = map[string]train.Loss{"clip": train.ClipLoss, "siglip": train.SigLipLoss}

// verifyTraining compares losses, gradients and short runs of AdamW.
func verifyTraining(ctx context.Context, c *testCase) error {
	t, err := newTraining(c)
	if err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{t.compareLosses, t.compareGradients, t.compareCurves} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if c.has("locks.json") {
		c.notBuilt("locks.json", "locking of towers")
	}
	return nil
}

func newTraining(c *testCase) (*training, error) {
	t := &training{testCase: c}
	var more struct {
		Optimizer      optimizer `json:"optimizer"`
		ParamTolerance *float64  `json:"suggested_final_param_tolerance"`
	}
	if err := c.decode("meta.json", &more); err != nil {
		return nil, err
	}
	var err error
	if t.tolerance, err = c.tolerance(); err != nil {
		return nil, err
	}
	t.optimizer, t.paramTolerance = more.Optimizer, t.tolerance
	if more.ParamTolerance != nil {
		t.paramTolerance = *more.ParamTolerance
	}
	t.batches, err = c.batches("inputs.safetensors")
	return t, err
}

// batches splits image [k, n, 3, height, width] and text [k, n, length].
func (c *testCase) batches(file string) ([]inputs, error) {
	all, err := c.inputs(file)
	if err != nil {
		return nil, err
	}
	if all.images == nil || all.texts == nil || len(all.images.Shape) != 5 || all.images.Shape[0] == 0 {
		return nil, fmt.Errorf("%s: want image [batches, n, 3, height, width] and text [batches, n, length]", file)
	}
	shape := all.images.Shape
	k, n := shape[0], shape[1]
	if len(all.texts) != k*n {
		return nil, fmt.Errorf("%s: %d texts for %d batches of %d images", file, len(all.texts), k, n)
	}
	list := make([]inputs, k)
	size := len(all.images.Data) / k
	for i := range list {
		list[i] = inputs{
			images: &clip.Tensor{Shape: shape[1:], Data: all.images.Data[i*size : (i+1)*size]},
			texts:  all.texts[i*n : (i+1)*n],
		}
	}
	return list, nil
}

// gradients are those of the first batch, with or without a logit bias that
// the model itself does not have.
func (t *training) gradients(ctx context.Context, loss train.Loss, bias bool) (map[string]clip.Tensor, float64, error) {
	m, err := t.model(ctx, bias)
	if err != nil {
		return nil, 0, err
	}
	defer m.Close()
	return train.Gradients(ctx, m, loss, *t.batches[0].images, t.batches[0].texts)
}

// model opens a fresh model; extra parameters but the logit bias are always in it.
func (t *training) model(ctx context.Context, bias bool) (clip.Model, error) {
	return t.loadWith(ctx, func(name string) bool { return bias || name != "logit_bias" })
}

// compareLosses makes the rows of outputs.safetensors.
func (t *training) compareLosses(ctx context.Context) error {
	if !t.has("outputs.safetensors") {
		return nil
	}
	want, err := t.open("outputs.safetensors")
	if err != nil {
		return err
	}
	defer want.Close()
	for _, name := range want.Names() {
		w, err := readTensor(want, name)
		if err != nil {
			return err
		}
		first, rest, _ := strings.Cut(name, "_loss")
		loss, ok := losses[first]
		if !ok || (rest != "" && rest != "_with_bias") || len(w.Data) != 1 {
			t.notBuilt(name, "this loss")
			continue
		}
		_, value, err := t.gradients(ctx, loss, rest != "" || loss == train.SigLipLoss)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		t.add(name, math.Abs(value-float64(w.Data[0])), t.tolerance, "")
	}
	return nil
}

// compareGradients makes a row for every tensor of grads_*.safetensors.
func (t *training) compareGradients(ctx context.Context) error {
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".safetensors")
		which, isGrads := strings.CutPrefix(name, "grads_")
		if !ok || !isGrads {
			continue
		}
		loss, ok := losses[which]
		if !ok {
			t.notBuilt(e.Name(), "gradients in this mode")
			continue
		}
		if err := t.compareGradientFile(ctx, e.Name(), loss); err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
	}
	return nil
}

func (t *training) compareGradientFile(ctx context.Context, file string, loss train.Loss) error {
	f, err := t.open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	want, err := readAll(f)
	if err != nil {
		return err
	}
	_, bias := want["logit_bias"]
	got, _, err := t.gradients(ctx, loss, bias)
	if err != nil {
		return err
	}
	prefix := strings.TrimSuffix(file, ".safetensors") + "."
	t.compareParameters(prefix, got, want, func(string) float64 { return t.tolerance })
	return nil
}

func readAll(src weights.Source) (map[string]clip.Tensor, error) {
	all := map[string]clip.Tensor{}
	for _, name := range src.Names() {
		t, err := readTensor(src, name)
		if err != nil {
			return nil, err
		}
		all[name] = t
	}
	return all, nil
}

// compareParameters makes a row for every tensor of want, and for those that
// only got has.
func (c *testCase) compareParameters(prefix string, got, want map[string]clip.Tensor, tolerance func(name string) float64) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		g, ok := got[name]
		if !ok {
			c.check(prefix+name, false, "is missing")
			continue
		}
		c.compare(prefix+name, g, want[name], tolerance(name))
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			c.check(prefix+name, false, "the reference has none")
		}
	}
}
