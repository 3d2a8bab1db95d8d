package verify

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/train"
)

// digest stands for a gradient: its l2 norm, its largest absolute element and
// its dot product with cos(0.37 i + 1), i the flat row-major index.
type digest [3]float64

func digestOf(x []float32) digest {
	var d digest
	for i, v := range x {
		d[0] += float64(v) * float64(v)
		d[1] = max(d[1], math.Abs(float64(v)))
		d[2] += float64(v) * math.Cos(0.37*float64(i)+1)
	}
	d[0] = math.Sqrt(d[0])
	return d
}

// gradients is a grads.json.
type gradients struct {
	Objective    string             `json:"objective"`
	Loss         float64            `json:"loss"`
	Float64Error float64            `json:"f32_vs_f64_max_dev_of_any_digest"`
	Params       map[string]*digest `json:"params"` // nil: not trained
}

// relativeTolerance bounds a digest relative to the gradient's norm: what the
// device's exp and inverseSqrt, which WGSL lets be several times less accurate
// than a CPU's, come to where attention is sharp.
const relativeTolerance = 2e-5

// compareDigests makes a row for the loss and one for each parameter.
func (c *testCase) compareDigests(ctx context.Context, m *clip.Model, in inputs) error {
	var want gradients
	if err := c.decode("grads.json", &want); err != nil {
		return err
	}
	if in.images == nil || in.texts == nil {
		return fmt.Errorf("grads.json: a loss needs images and texts in inputs.safetensors")
	}
	var loss train.Loss
	switch {
	case strings.HasPrefix(want.Objective, "ClipLoss"):
		loss = train.ClipLoss{}
	case strings.HasPrefix(want.Objective, "SigLipLoss"):
		loss = train.SigLipLoss{}
	case strings.HasPrefix(want.Objective, "CoCaLoss"):
		loss = cocaLoss(want.Objective)
	default:
		c.notBuilt("grads.json", fmt.Sprintf("the objective %q", want.Objective))
		return nil
	}
	got, value, err := train.Gradients(ctx, m, loss, train.Batch{Images: *in.images, Texts: in.texts})
	if err != nil {
		return fmt.Errorf("grads.json: %w", err)
	}
	tolerance := toleranceFactor * want.Float64Error
	c.add("loss", math.Abs(value-want.Loss), max(tolerance, relativeTolerance*math.Abs(want.Loss)), "")
	for _, name := range slices.Sorted(maps.Keys(want.Params)) {
		w := want.Params[name]
		g, trained := got[name]
		switch {
		case w == nil:
			c.check("grad."+name, !trained, "not trained")
		case !trained:
			c.check("grad."+name, false, "no gradient")
		default:
			d := digestOf(g.Data)
			c.add("grad."+name, d.distance(*w), max(tolerance, relativeTolerance*w[0]), "")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want.Params[name]; !ok {
			c.check("grad."+name, false, "grads.json has no such parameter")
		}
	}
	return nil
}

// distance is the largest difference of any of the three numbers.
func (d digest) distance(w digest) float64 {
	worst := 0.0
	for i := range d {
		diff := math.Abs(d[i] - w[i])
		if math.IsNaN(diff) {
			return diff
		}
		worst = max(worst, diff)
	}
	return worst
}
