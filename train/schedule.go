package train

import (
	"fmt"
	"math"

	"github.com/clip-wgpu/clip-wgpu/clip"
)

// Schedule gives the learning rate at a step, counted from 1; layer decay multiplies it.
// The schedules here are those of open_clip_train's scheduler.py. In all of them the rate
// rises linearly to base over the first warmup steps. A step is an update, so
// micro-batches do not count.
type Schedule func(step int) float64

// ConstLR stays at base.
func ConstLR(base float64, warmup int) Schedule {
	return func(step int) float64 {
		if step <= warmup {
			return base * float64(step) / float64(warmup)
		}
		return base
	}
}

// CosineLR falls along half a period of a cosine, from base at step warmup+1 towards 0 at
// step steps+1 (Loshchilov & Hutter, SGDR, 2017). steps, more than warmup, are those of
// the whole training: past them the cosine rises again, as open_clip_train's does.
func CosineLR(base float64, warmup, steps int) Schedule {
	rise := ConstLR(base, warmup)
	return func(step int) float64 {
		if step <= warmup {
			return rise(step)
		}
		return 0.5 * (1 + math.Cos(math.Pi*float64(step-1-warmup)/float64(steps-warmup))) * base
	}
}

// ConstLRCooldown stays at base until the last cooldown steps of steps. In these the rate
// is end + (base − end) · left^power, where left falls from 1 by 1/cooldown a step. A
// power of 1 gives a straight line; open_clip_train's defaults are power 1 and end 0. Past
// steps the rate may be negative or NaN, which Step refuses.
func ConstLRCooldown(base float64, warmup, steps, cooldown int, power, end float64) Schedule {
	rise := ConstLR(base, warmup)
	return func(step int) float64 {
		into := step - 1 - (steps - cooldown)
		if step <= warmup || into < 0 {
			return rise(step)
		}
		return math.Pow(1-float64(into)/float64(cooldown), power)*(base-end) + end
	}
}

// Scheduled is an Optimizer with a learning rate that follows a schedule.
type Scheduled struct {
	Optimizer
	LR Schedule
}

// Settings implements Optimizer. A rate that is negative or no number gives
// clip.ErrInput.
func (o Scheduled) Settings(step int) (map[string]float64, error) {
	if o.Optimizer == nil || o.LR == nil {
		return nil, fmt.Errorf("%w: Scheduled wants an Optimizer and an LR", clip.ErrInput)
	}
	s, err := o.Optimizer.Settings(step)
	if err != nil {
		return nil, err
	}
	rate := o.LR(step)
	if !(rate >= 0) {
		return nil, fmt.Errorf("%w: the schedule's learning rate at step %d is %v", clip.ErrInput, step, rate)
	}
	s["lr"] = rate
	return s, nil
}
