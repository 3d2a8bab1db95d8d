package train

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
)

// What open_clip_train's schedules give is compared by clip-wgpu verify; here is where
// they begin and end.
func TestSchedules(t *testing.T) {
	assert.Equal(t, 0.5, ConstLR(0.5, 0)(1))
	assert.Equal(t, 0.25, ConstLR(0.5, 2)(1))
	cosine := CosineLR(1, 0, 10)
	assert.Equal(t, 1.0, cosine(1))
	assert.InDelta(t, 0, cosine(11), 1e-15)
	cooldown := ConstLRCooldown(1, 0, 10, 4, 1, 0.2)
	assert.Equal(t, 1.0, cooldown(7))
	assert.InDelta(t, 0.8, cooldown(8), 1e-15)
	assert.InDelta(t, 0.2, cooldown(11), 1e-15)
	assert.Equal(t, 1.0, ConstLRCooldown(1, 0, 10, 0, 1, 0)(10), "no cooldown")
}

func TestScheduled(t *testing.T) {
	o := Scheduled{DefaultConfig().Optimizer, CosineLR(2, 0, 4)}
	s, err := o.Settings(3)
	require.NoError(t, err)
	assert.InDelta(t, 1, s["lr"], 1e-15)
	assert.Equal(t, o.Optimizer.Rule(), o.Rule())
	for _, rate := range []float64{-1, math.NaN()} {
		o.LR = func(int) float64 { return rate }
		_, err := o.Settings(3)
		require.ErrorIs(t, err, clip.ErrInput)
		require.ErrorContains(t, err, "learning rate at step 3 is")
	}
	o.LR = CosineLR(1, 4, 4) // there is no step after the warm-up
	_, err = o.Settings(5)
	require.ErrorIs(t, err, clip.ErrInput)
	for _, o := range []Scheduled{{}, {Optimizer: AdamW{}}, {LR: ConstLR(1, 0)}} {
		_, err := o.Settings(1)
		require.ErrorIs(t, err, clip.ErrInput)
	}
	o.Optimizer = AdamW{LR: -1}
	_, err = o.Settings(1)
	require.ErrorIs(t, err, clip.ErrInput)
}
