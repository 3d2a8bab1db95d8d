package train

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// SGD is torch.optim.SGD: gradient descent with momentum (Sutskever et al., 2013).
type SGD struct {
	LR          float64
	Momentum    float64
	Dampening   float64 // the momentum gets 1 − Dampening times the gradient, from the second step on
	Nesterov    bool    // Nesterov's momentum; wants a Momentum above 0 and a Dampening of 0
	WeightDecay float64 // a step adds WeightDecay times the parameter to its gradient, where Config.Decays tells
}

// Rule implements Optimizer.
func (SGD) Rule() *ops.Rule { return &sgd }

// Settings implements Optimizer. Settings out of range give clip.ErrInput.
func (o SGD) Settings(step int) (map[string]float64, error) {
	if !(o.LR >= 0 && o.Momentum >= 0 && o.WeightDecay >= 0) || o.Dampening-o.Dampening != 0 || o.Nesterov && (o.Momentum == 0 || o.Dampening != 0) {
		return nil, fmt.Errorf("%w: SGD with %+v", clip.ErrInput, o)
	}
	s := map[string]float64{"lr": o.LR, "momentum": o.Momentum, "gain": 1, "weight_decay": o.WeightDecay, "nesterov": 0}
	if step > 1 {
		s["gain"] = 1 - o.Dampening
	}
	if o.Nesterov {
		s["nesterov"] = 1
	}
	return s, nil
}

var sgd = ops.Rule{
	Kernel:   "sgd",
	Moments:  []string{"momentum_buffer"},
	Settings: []string{"lr", "momentum", "gain", "weight_decay", "nesterov"},
	Ref: func(s []float64, decays bool, w, grad float64, moments []float64) float64 {
		lr, momentum, gain, decay, nesterov := s[0], s[1], s[2], s[3], s[4] != 0
		if decays {
			grad += decay * w
		}
		moments[0] = momentum*moments[0] + gain*grad
		if nesterov {
			return w - lr*(grad+momentum*moments[0])
		}
		return w - lr*moments[0]
	},
}
