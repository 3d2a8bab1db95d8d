package train

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Optimizer is how parameters follow their gradients. A Trainer asks for the
// settings before every step, so that a learning rate may follow a schedule, see Scheduled.
type Optimizer interface {
	// Rule is what the device computes, the same at every step.
	Rule() *ops.Rule
	// Settings are the values of Rule().Settings at a step, counted from 1, by name.
	Settings(step int) (map[string]float64, error)
}

// AdamW is torch.optim.AdamW (Loshchilov & Hutter, 2019).
type AdamW struct {
	LR           float64
	Beta1, Beta2 float64 // in [0, 1)
	Eps          float64 // above 0
	WeightDecay  float64 // a step multiplies what Config.Decays tells by 1 − LR · WeightDecay
}

// Rule implements Optimizer.
func (AdamW) Rule() *ops.Rule { return &adamW }

// Settings implements Optimizer. Settings out of range give clip.ErrInput.
func (o AdamW) Settings(step int) (map[string]float64, error) {
	if !(o.LR >= 0 && o.Eps > 0 && o.Beta1 >= 0 && o.Beta1 < 1 && o.Beta2 >= 0 && o.Beta2 < 1 && o.WeightDecay >= 0) {
		return nil, fmt.Errorf("%w: AdamW with %+v: want LR and WeightDecay of 0 or more, Beta1 and Beta2 in [0, 1), Eps above 0", clip.ErrInput, o)
	}
	return map[string]float64{
		"lr": o.LR, "eps": o.Eps, "weight_decay": o.WeightDecay,
		"rate1": 1 - o.Beta1, "rate2": 1 - o.Beta2, // float32 holds small numbers better than their complements
		"bias1": 1 - math.Pow(o.Beta1, float64(step)), "bias2": 1 - math.Pow(o.Beta2, float64(step)),
	}, nil
}

var adamW = ops.Rule{
	Kernel:   "adamw",
	Moments:  []string{"exp_avg", "exp_avg_sq"},
	Settings: []string{"lr", "rate1", "rate2", "eps", "weight_decay", "bias1", "bias2"},
	Ref: func(s []float64, decays bool, w, grad float64, moments []float64) float64 {
		lr, rate1, rate2, eps, decay, bias1, bias2 := s[0], s[1], s[2], s[3], s[4], s[5], s[6]
		if !decays {
			decay = 0
		}
		moments[0] += rate1 * (grad - moments[0])
		moments[1] += rate2 * (grad*grad - moments[1])
		return w*(1-lr*decay) - lr/bias1*moments[0]/(math.Sqrt(moments[1]/bias2)+eps)
	},
}

// settings are o's numbers for a step as the kernel takes them.
func settings(o Optimizer, step int) ([]float32, error) {
	named, err := o.Settings(step)
	if err != nil {
		return nil, err
	}
	names := o.Rule().Settings
	values := make([]float32, len(names))
	for i, name := range names {
		v, ok := named[name]
		if !ok || math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%w: the optimizer's %s is %v at step %d, want a number for each of %v", clip.ErrInput, name, v, step, names)
		}
		values[i] = float32(v)
		if math.IsInf(float64(values[i]), 0) || values[i] == 0 && v != 0 {
			return nil, fmt.Errorf("%w: the optimizer's %s is %v at step %d, which float32 does not hold", clip.ErrInput, name, v, step)
		}
	}
	if len(named) > len(names) {
		return nil, fmt.Errorf("%w: the optimizer sets %v, the rule %s takes %v", clip.ErrInput, slices.Sorted(maps.Keys(named)), o.Rule().Kernel, names)
	}
	return values, nil
}
