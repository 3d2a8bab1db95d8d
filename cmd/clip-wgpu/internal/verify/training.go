package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/train"
)

// training is a case of kind training.
type training struct {
	*testCase
	tolerance, paramTolerance float64
	gradTolerance             map[string]float64 // by what batch norms do
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

// setting is how something is computed.
type setting struct {
	loss  train.Loss
	bias  bool   // with a logit bias, which the model itself may not have
	norms string // what batch norms do: eval, frozen or train
	locks []lock // of the towers

	clipNorm float64 // of the gradients, 0 for none
	legacy   bool    // the older rule of what decays
	pairs    int     // of each batch, its first ones; 0 is all
	parts    int     // micro-batches a step, 0 for one
	scale    float64 // that the logits' begins with; 0 is the model's
	warmup   int     // steps of a cosine schedule
	total    int     // of its steps; 0 is a constant rate
}

// settingName matches the names of files, losses and curves that tell a setting.
var settingName = regexp.MustCompile(`^(?:(?P<loss>clip|siglip)(?:_|$))?(?:loss|adamw)?(?P<bias>_with_bias)?_?(?:chunk(?P<chunk>[0-9]+))?` +
	`(?:(?P<norms>eval|frozen|train)_bn)?(?:grad_clip_(?P<clip>[0-9.]+))?(?P<legacy>legacy_wd_rule)?` +
	`(?:accum(?P<parts>[0-9])_)?(?:batch(?P<pairs>[0-9]))?(?:_no_accum)?` +
	`(?:clamp_(?:high|low)_start_(?P<start>[0-9.]+))?(?:cosine_warmup(?P<warmup>[0-9]+)_total(?P<total>[0-9]+))?(?: \(.*\))?$`)

// steps tells whether s says how steps are made, so that there is no loss or gradient of it.
func (s setting) steps() bool {
	return s.clipNorm != 0 || s.legacy || s.pairs != 0 || s.parts != 0 || s.scale != 0 || s.total != 0
}

func parseSetting(name string) (s setting, ok bool) {
	m := settingName.FindStringSubmatch(name)
	if m == nil {
		return s, false
	}
	text := func(group string) string { return m[settingName.SubexpIndex(group)] }
	number := func(group string) int { n, _ := strconv.Atoi(text(group)); return n }
	s = setting{
		loss: train.ClipLoss{}, bias: text("bias") != "", norms: text("norms"), legacy: text("legacy") != "",
		parts: number("parts"), pairs: number("pairs"), warmup: number("warmup"), total: number("total"),
	}
	switch {
	case text("loss") == "siglip":
		s.loss, s.bias = train.SigLipLoss{ChunkSize: number("chunk")}, true
	case text("chunk") != "":
		return s, false
	}
	for group, dst := range map[string]*float64{"clip": &s.clipNorm, "start": &s.scale} {
		if text(group) == "" {
			continue
		}
		var err error
		if *dst, err = strconv.ParseFloat(text(group), 64); err != nil {
			return s, false
		}
	}
	return s, true
}

// verifyTraining compares losses, gradients, running statistics and short runs
// of AdamW.
func verifyTraining(ctx context.Context, c *testCase) error {
	t, err := newTraining(c)
	if err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{t.compareLosses, t.compareGradients, t.compareRunningStats, t.compareDecayRules, t.compareCurves, t.compareLockedRuns} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func newTraining(c *testCase) (*training, error) {
	t := &training{testCase: c}
	var more struct {
		Optimizer      optimizer `json:"optimizer"`
		ParamTolerance *float64  `json:"suggested_final_param_tolerance"`
		EvalError      float64   `json:"eval_bn_grad_f32_vs_f64_max_abs"`
		TrainError     float64   `json:"train_bn_grad_f32_vs_f64_max_abs"`
	}
	if err := c.decode("meta.json", &more); err != nil {
		return nil, err
	}
	var err error
	if t.tolerance, err = c.tolerance(); err != nil {
		return nil, err
	}
	t.gradTolerance = map[string]float64{"eval": toleranceFactor * more.EvalError, "train": toleranceFactor * more.TrainError}
	t.optimizer, t.paramTolerance = more.Optimizer, t.tolerance
	if more.ParamTolerance != nil {
		t.paramTolerance = *more.ParamTolerance
	}
	if t.batches, err = c.batches("inputs.safetensors"); err != nil {
		return nil, err
	}
	return t, c.findLogitBias("inputs.safetensors")
}

// findLogitBias makes a logit bias among the inputs an extra tensor of the model.
func (c *testCase) findLogitBias(file string) error {
	f, err := c.open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, ok := f.Tensor("logit_bias"); ok {
		extra := map[string]string{"logit_bias": file}
		maps.Copy(extra, c.meta.ExtraTensors)
		c.meta.ExtraTensors = extra
	}
	return nil
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
			images: &clip.Array{Shape: shape[1:], Data: all.images.Data[i*size : (i+1)*size]},
			texts:  all.texts[i*n : (i+1)*n],
		}
	}
	return list, nil
}

// gradients are those of the first batch.
func (t *training) gradients(ctx context.Context, s setting) (map[string]clip.Array, float64, error) {
	m, err := t.model(ctx, s)
	if err != nil {
		return nil, 0, err
	}
	defer m.Close()
	return train.Gradients(ctx, m, s.loss, train.Batch{Images: *t.batches[0].images, Texts: t.batches[0].texts})
}

// model opens a fresh model; extra parameters but the logit bias are always in it.
func (t *training) model(ctx context.Context, s setting) (*clip.Model, error) {
	m, err := t.loadWith(ctx, func(name string) bool { return s.bias || name != "logit_bias" })
	if err != nil {
		return nil, err
	}
	switch s.norms {
	case "frozen":
		m.FreezeBatchNorm()
	case "eval":
		m.Eval()
	}
	if err := applyLocks(m, s.locks); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
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
		setting, ok := parseSetting(name)
		if !ok || setting.steps() || len(w.Data) != 1 {
			t.notBuilt(name, "this loss")
			continue
		}
		_, value, err := t.gradients(ctx, setting)
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
		setting, ok := parseSetting(which)
		if !ok || setting.steps() {
			t.notBuilt(e.Name(), "gradients in this mode")
			continue
		}
		if err := t.compareGradientFile(ctx, e.Name(), setting); err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
	}
	return nil
}

func (t *training) compareGradientFile(ctx context.Context, file string, s setting) error {
	want, err := t.readAll(file)
	if err != nil {
		return err
	}
	_, s.bias = want["logit_bias"]
	got, _, err := t.gradients(ctx, s)
	if err != nil {
		return err
	}
	prefix := strings.TrimSuffix(file, ".safetensors") + "."
	tolerance := max(t.tolerance, t.gradTolerance[s.norms])
	t.compareParameters(prefix, got, want, func(string) float64 { return tolerance })
	return nil
}

// runningStats is the file of them.
const runningStats = "running_stats_after_1_train_forward.safetensors"

// compareRunningStats makes a row for every buffer after one forward pass.
func (t *training) compareRunningStats(ctx context.Context) error {
	if !t.has(runningStats) {
		return nil
	}
	want, err := t.readAll(runningStats)
	if err != nil {
		return err
	}
	m, err := t.model(ctx, setting{})
	if err != nil {
		return err
	}
	defer m.Close()
	if _, _, err := train.Gradients(ctx, m, train.ClipLoss{}, train.Batch{Images: *t.batches[0].images, Texts: t.batches[0].texts}); err != nil {
		return err
	}
	got, err := buffers(ctx, m)
	if err != nil {
		return err
	}
	t.compareParameters("running_stats.", got, want, func(string) float64 { return t.tolerance })
	return nil
}

// readAll reads the tensors of a file.
func (c *testCase) readAll(file string) (map[string]clip.Array, error) {
	f, err := c.open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all := map[string]clip.Array{}
	for _, name := range f.Names() {
		t, err := readTensor(f, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all[name] = t
	}
	return all, nil
}

// compareParameters makes a row for every tensor of want, and for those that
// only got has.
func (c *testCase) compareParameters(prefix string, got, want map[string]clip.Array, tolerance func(name string) float64) {
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
