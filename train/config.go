package train

import (
	"fmt"
	"math"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// Decays is open_clip_train's rule of what the weight decay is for: not for vectors,
// scalars and what the no_weight_decay of a model or a tower names (optim.py).
func Decays(p *graph.Param) bool { return len(p.Shape) > 1 && !p.NoDecay }

// DecaysLegacy is the rule of open_clip_train before it had that (legacy_main.py): not
// for vectors, scalars and what has bn, ln, bias or logit_scale in its name. So the
// embeddings of positions decay.
func DecaysLegacy(p *graph.Param) bool {
	for _, part := range []string{"bn", "ln", "bias", "logit_scale"} {
		if strings.Contains(p.Name, part) {
			return false
		}
	}
	return len(p.Shape) > 1
}

// leastNorm is the smallest normal float32: devices may take smaller numbers for 0.
const leastNorm = 1.1754944e-38

// check refuses settings out of range and fills in what is nil.
func (c *Config) check() error {
	if c.Loss == nil || c.Optimizer == nil {
		return fmt.Errorf("%w: training wants a loss and an optimizer", clip.ErrInput)
	}
	if c.Decays == nil {
		c.Decays = Decays
	}
	switch {
	case c.MicroBatch < 0:
		return fmt.Errorf("%w: MicroBatch is %d, want a number of pairs, or 0 for all", clip.ErrInput, c.MicroBatch)
	case c.GradClipNorm != 0 && !(c.GradClipNorm >= leastNorm && c.GradClipNorm <= math.MaxFloat32):
		return fmt.Errorf("%w: GradClipNorm is %v, want a norm that float32 holds, or 0 for none", clip.ErrInput, c.GradClipNorm)
	case !(c.ImageLayerDecay >= 0 && c.ImageLayerDecay <= 1 && c.TextLayerDecay >= 0 && c.TextLayerDecay <= 1):
		return fmt.Errorf("%w: ImageLayerDecay is %v and TextLayerDecay is %v, want numbers in (0, 1], or 0 for none", clip.ErrInput, c.ImageLayerDecay, c.TextLayerDecay)
	case !(c.EMADecay >= 0 && c.EMADecay < 1):
		return fmt.Errorf("%w: EMADecay is %v, want a number in (0, 1), or 0 for none", clip.ErrInput, c.EMADecay)
	}
	_, err := settings(c.Optimizer, 1)
	return err
}

// rates are what the learning rate of each parameter is multiplied by
// (layer_decay_param_groups of open_clip_train's optim.py).
func (m *model) rates(c Config) map[*graph.Param]float64 {
	rates := map[*graph.Param]float64{}
	for _, p := range m.stored {
		rates[p] = 1
	}
	image, text := m.structure.LayerGroups()
	for _, tower := range []struct {
		groups [][]*graph.Param
		decay  float64
	}{{image, c.ImageLayerDecay}, {text, c.TextLayerDecay}} {
		if tower.decay == 0 {
			continue
		}
		for i, group := range tower.groups {
			for _, p := range group {
				rates[p] = math.Pow(tower.decay, float64(len(tower.groups)-1-i))
			}
		}
	}
	return rates
}

// NotFiniteError is Step's error where the loss or the norm of the gradients is NaN or
// infinite: no parameter or moment has changed.
type NotFiniteError struct {
	Step           int     // counted from 1
	Loss, GradNorm float64 // the norm before clipping
}

func (e *NotFiniteError) Error() string {
	return fmt.Sprintf("step %d: the loss is %v and the norm of its gradients is %v: the parameters stay as they are", e.Step, e.Loss, e.GradNorm)
}

// finite returns a *NotFiniteError unless both are numbers.
func finite(step int, loss, gradNorm float64) error {
	for _, v := range []float64{loss, gradNorm} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return &NotFiniteError{Step: step, Loss: loss, GradNorm: gradNorm}
		}
	}
	return nil
}
