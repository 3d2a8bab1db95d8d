package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/train"
)

// curve is a run in curves.json, one element a step.
type curve struct {
	Loss         []float64 `json:"loss"`
	LogitScale   []float64 `json:"logit_scale_after"`
	LogitBias    []float64 `json:"logit_bias_after"`
	LR           []float64 `json:"lr"`
	GradNorm     []float64 `json:"grad_norm_before_clip"`
	Float64Error float64   `json:"loss_f32_vs_f64_max_abs"`
}

// constant tells whether the learning rate of a run is known and stays the same.
func (c curve) constant() bool { return len(c.LR) > 0 && slices.Min(c.LR) == slices.Max(c.LR) }

// schedule is how the learning rate of a run follows its steps.
func (t *training) schedule(s setting, want curve) train.Schedule {
	switch {
	case s.total > 0:
		return train.CosineLR(t.optimizer.LR, s.warmup, s.total)
	case len(want.LR) == 0: // no step is made
		return train.ConstLR(t.optimizer.LR, 0)
	}
	return train.ConstLR(want.LR[0], 0)
}

// rateTolerance is what learning rates may differ by, of numbers around 1e-3 in float64.
const rateTolerance = 1e-17

// compareCurves runs the curves.
func (t *training) compareCurves(ctx context.Context) error {
	if !t.has("curves.json") {
		return nil
	}
	var curves map[string]curve
	if err := t.decode("curves.json", &curves); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(curves)) {
		setting, ok := parseSetting(name)
		if !ok || !curves[name].constant() && setting.total == 0 {
			t.notBuilt(name, "a run with these settings")
			continue
		}
		if err := t.compareCurve(ctx, name, setting, curves[name]); err != nil {
			return fmt.Errorf("curves.json: %s: %w", name, err)
		}
	}
	return nil
}

func (t *training) compareCurve(ctx context.Context, name string, s setting, want curve) error {
	r, err := t.start(ctx, s, want)
	if err != nil {
		return err
	}
	defer r.close()
	if err := t.compareRun(ctx, name, r, want); err != nil {
		return err
	}
	return t.compareFinal(ctx, name, s, r.trainer, want)
}

// run is a model that is trained.
type run struct {
	model   *clip.Model
	trainer *train.Trainer
	pairs   int // of each batch; 0 is all
	rate    train.Schedule
}

// start readies the run that gave a curve.
func (t *training) start(ctx context.Context, s setting, want curve) (*run, error) {
	s.bias = want.LogitBias != nil
	if s.pairs > len(t.batches[0].texts) || s.parts > 0 && s.pairs%s.parts != 0 {
		return nil, fmt.Errorf("%d pairs in %d parts, of batches of %d", s.pairs, s.parts, len(t.batches[0].texts))
	}
	m, err := t.model(ctx, s)
	if err != nil {
		return nil, err
	}
	if s.scale != 0 {
		for name, p := range m.Parameters() {
			if name == "logit_scale" {
				err = errors.Join(m.Store().Write(ctx, &p.State, []float32{float32(s.scale)}), m.Refresh(ctx))
			}
		}
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
	}
	o, schedule := t.optimizer, t.schedule(s, want)
	trainer, err := train.New(m, train.Config{
		Loss: s.loss,
		Optimizer: train.Scheduled{
			Optimizer: train.AdamW{Beta1: o.Betas[0], Beta2: o.Betas[1], Eps: o.Eps, WeightDecay: o.WeightDecay},
			LR:        schedule,
		},
		GradClipNorm: s.clipNorm, Decays: s.decays(),
		MicroBatch: s.pairs / max(1, s.parts), SumScaleGradients: true,
	})
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return &run{m, trainer, s.pairs, schedule}, nil
}

func (r *run) close() {
	r.trainer.Close()
	r.model.Close()
}

// compareRun makes the steps of a run and the rows of what came out of them.
func (t *training) compareRun(ctx context.Context, name string, r *run, want curve) error {
	var got curve
	for i := range want.Loss {
		b := t.batches[i%len(t.batches)]
		value, err := r.trainer.Step(ctx, b.first(r.pairs))
		if err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
		bias, _ := r.model.LogitBias()
		got.Loss, got.LR = append(got.Loss, value), append(got.LR, r.rate(i+1))
		got.GradNorm = append(got.GradNorm, r.trainer.GradNorm())
		got.LogitScale = append(got.LogitScale, math.Log(float64(r.model.LogitScale())))
		got.LogitBias = append(got.LogitBias, float64(bias))
	}
	t.compareSteps(name+".loss", got.Loss, want.Loss, max(t.tolerance, toleranceFactor*want.Float64Error))
	if !want.constant() {
		t.compareSteps(name+".lr", got.LR, want.LR, rateTolerance)
	}
	t.compareSteps(name+".grad_norm_before_clip", got.GradNorm, want.GradNorm, t.tolerance)
	t.compareSteps(name+".logit_scale_after", got.LogitScale, want.LogitScale, t.paramTolerance)
	t.compareSteps(name+".logit_bias_after", got.LogitBias, want.LogitBias, t.paramTolerance)
	return nil
}

// compareSteps makes the row of one quantity over a run, if it was recorded.
func (c *testCase) compareSteps(name string, got, want []float64, tolerance float64) {
	if len(want) == 0 || len(got) < len(want) {
		return
	}
	worst := 0.0
	for i, w := range want {
		d := math.Abs(got[i] - w)
		if math.IsNaN(d) {
			worst = d
			break
		}
		worst = max(worst, d)
	}
	c.add(name, worst, tolerance, fmt.Sprintf("%d steps", len(want)))
}

// compareFinal makes a row for every parameter of final_params_NAME.safetensors.
// The biases of keys have a gradient of zero, since softmax does not see a
// constant, and what AdamW makes of the rounding noise instead is bounded by the
// learning rate in every step only.
func (t *training) compareFinal(ctx context.Context, name string, s setting, trainer *train.Trainer, want curve) error {
	file := "final_params_" + name + ".safetensors"
	if s.legacy {
		file = "final_params_legacy_rule.safetensors"
	}
	if !t.has(file) {
		return nil
	}
	got, err := trainer.Parameters(ctx)
	if err != nil {
		return err
	}
	wanted, err := t.readAll(file)
	if err != nil {
		return err
	}
	if s.legacy { // of which only what the other rule does not decay was recorded
		maps.DeleteFunc(got, func(name string, _ clip.Array) bool { return wanted[name].Data == nil })
	}
	noise := want.LR[0] * float64(len(want.Loss))
	t.compareParameters(name+".final.", splitKeyBias(got), splitKeyBias(wanted), func(n string) float64 {
		if strings.HasSuffix(n, keyBias) || strings.HasSuffix(n, ".k_proj.bias") {
			return noise
		}
		return t.paramTolerance
	})
	return nil
}

// keyBias ends the name that splitKeyBias gives to the keys' third of a bias.
const keyBias = ".in_proj_bias (keys)"

// splitKeyBias splits the biases of attentions' input projections into those of keys,
// whose gradients are zero but for rounding, and those of queries and values.
func splitKeyBias(params map[string]clip.Array) map[string]clip.Array {
	split := maps.Clone(params)
	for name, t := range params {
		base, ok := strings.CutSuffix(name, ".in_proj_bias")
		if !ok || len(t.Data)%3 != 0 {
			continue
		}
		width := len(t.Data) / 3
		rest := slices.Concat(t.Data[:width], t.Data[2*width:])
		delete(split, name)
		split[base+keyBias] = clip.Array{Shape: []int{width}, Data: t.Data[width : 2*width]}
		split[base+".in_proj_bias (queries, values)"] = clip.Array{Shape: []int{2 * width}, Data: rest}
	}
	return split
}

// first returns the first n pairs of a batch, or all pairs where n is 0.
func (in inputs) first(n int) train.Batch {
	if n == 0 {
		n = len(in.texts)
	}
	shape := append([]int{n}, in.images.Shape[1:]...)
	data := in.images.Data[:n*len(in.images.Data)/in.images.Shape[0]]
	return train.Batch{Images: clip.Array{Shape: shape, Data: data}, Texts: in.texts[:n]}
}
