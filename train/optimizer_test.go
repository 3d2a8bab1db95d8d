package train

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAdamWFirstStep: from zero moments the corrected step is lr · sign(grad).
func TestAdamWFirstStep(t *testing.T) {
	const lr, decay = 1e-2, 0.1
	o := AdamW{LR: lr, Beta1: 0.9, Beta2: 0.98, Eps: 1e-300, WeightDecay: decay}
	named, err := o.Settings(1)
	require.NoError(t, err)
	var settings []float64
	for _, name := range o.Rule().Settings {
		settings = append(settings, named[name])
	}
	for kept, decays := range map[float64]bool{1: false, 1 - lr*decay: true} {
		moments := []float64{0, 0}
		assert.InDelta(t, kept-lr, o.Rule().Ref(settings, decays, 1, 0.5, moments), 1e-14)
		assert.InDeltaSlice(t, []float64{0.05, 0.005}, moments, 1e-14)
		moments = []float64{0, 0}
		assert.InDelta(t, -2*kept+lr, o.Rule().Ref(settings, decays, -2, -3, moments), 1e-14)
		assert.InDeltaSlice(t, []float64{-0.3, 0.18}, moments, 1e-14)
	}
}
