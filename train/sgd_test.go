package train

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
)

// The rule, in float64, does what torch recorded. The kernel is compared with the
// rule in TestUpdate of package tests.
func TestSGDFollowsTorch(t *testing.T) {
	data, err := os.ReadFile("testdata/sgd.json")
	require.NoError(t, err)
	var recorded struct {
		Start [][]float64   `json:"start"` // by parameter
		Grads [][][]float64 `json:"grads"` // by step and parameter
		Runs  []struct {
			Settings struct {
				LR          float64 `json:"lr"`
				Momentum    float64
				Dampening   float64
				Nesterov    bool
				WeightDecay float64 `json:"weight_decay"`
			}
			After [][][]float64 `json:"after"`
		} `json:"runs"`
	}
	require.NoError(t, json.Unmarshal(data, &recorded))
	require.NotEmpty(t, recorded.Runs)
	for _, run := range recorded.Runs {
		o := SGD(run.Settings)
		for p, start := range recorded.Start {
			for i, w := range start {
				moments := []float64{0}
				for step, after := range run.After {
					named, err := o.Settings(step + 1)
					require.NoError(t, err)
					var values []float64
					for _, name := range o.Rule().Settings {
						values = append(values, named[name])
					}
					w = o.Rule().Ref(values, p == 1, w, recorded.Grads[step][p][i], moments)
					require.InDelta(t, after[p][i], w, 1e-12, "%+v: parameter %d, element %d, step %d", o, p, i, step+1)
				}
			}
		}
	}
}

func TestSGDTrains(t *testing.T) {
	m := open(t)
	images, texts := pairs(4)
	trainer, err := New(m, Config{Loss: ClipLoss{}, Optimizer: SGD{LR: 1e-2, Momentum: 0.9, Nesterov: true}})
	require.NoError(t, err)
	defer trainer.Close()
	var losses []float64
	for range 20 {
		loss, err := trainer.Step(t.Context(), Batch{Images: images, Texts: texts})
		require.NoError(t, err)
		losses = append(losses, loss)
	}
	assert.Less(t, losses[19], losses[0]/2, "twenty steps on one batch: %v", losses)
}

func TestSettingsOutOfRange(t *testing.T) {
	for _, o := range []Optimizer{
		SGD{LR: -1}, SGD{LR: 1, Momentum: -1}, SGD{LR: 1, WeightDecay: -1}, SGD{LR: 1, Nesterov: true},
		SGD{LR: 1, Momentum: 0.9, Nesterov: true, Dampening: 0.1},
		AdamW{LR: -1, Eps: 1}, AdamW{LR: 1}, AdamW{LR: 1, Eps: 1, Beta1: 1}, AdamW{LR: 1, Eps: 1, Beta2: -1}, AdamW{LR: 1, Eps: 1, WeightDecay: -1},
	} {
		_, err := o.Settings(1)
		require.ErrorIs(t, err, clip.ErrInput, fmt.Sprintf("%T%+v", o, o))
	}
}
