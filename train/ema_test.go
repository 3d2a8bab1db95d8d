package train

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/gpu"
)

// The averages are timm's ModelEmaV3 by its definition: they begin as the model, follow
// parameters and running statistics, and take counters over.
func TestEMA(t *testing.T) {
	for name, make := range map[string]func() (*clip.Model, Batch){
		"ViT": func() (*clip.Model, Batch) {
			images, texts := pairs(4)
			return open(t), Batch{Images: images, Texts: texts}
		},
		"ResNet": func() (*clip.Model, Batch) {
			images, texts := resNetPairs(3, 64)
			return openResNet(t), Batch{Images: images, Texts: texts}
		},
	} {
		t.Run(name, func(t *testing.T) {
			const decay = 0.75
			c := DefaultConfig()
			c.EMADecay = decay
			m, batch := make()
			want := parameters(t, m)
			trainer, err := New(m, c)
			require.NoError(t, err)
			defer trainer.Close()
			for range 3 {
				_, err := trainer.Step(t.Context(), batch)
				require.NoError(t, err)
				for name, values := range parameters(t, m) {
					for i, v := range values {
						if strings.HasSuffix(name, "num_batches_tracked") {
							want[name][i] = v
						} else {
							want[name][i] += (1 - decay) * (v - want[name][i])
						}
					}
				}
				got, err := trainer.EMA(t.Context())
				require.NoError(t, err)
				require.Len(t, got, len(want))
				for name, values := range want {
					assert.InDeltaSlice(t, values, got[name].Data, 1e-6, name)
				}
			}
		})
	}
}

// Averages begin as the parameters on the device, which may have been trained before.
func TestEMABeginsAsTheModel(t *testing.T) {
	m := open(t)
	steps(t, newTrainer(t, m), 1)
	c := DefaultConfig()
	c.EMADecay = 0.9
	trainer, err := New(m, c)
	require.NoError(t, err)
	got, err := trainer.EMA(t.Context())
	require.NoError(t, err)
	want, err := trainer.Parameters(t.Context())
	require.NoError(t, err)
	assert.Equal(t, want, got)
	require.NoError(t, trainer.Close())
	_, err = trainer.EMA(t.Context())
	require.ErrorIs(t, err, gpu.ErrClosed)
	_, err = newTrainer(t, m).EMA(t.Context())
	require.ErrorIs(t, err, clip.ErrInput)
}

// One dispatch a slab, none for what is frozen, and no memory either.
func TestEMAOfFrozenParametersCostsNothing(t *testing.T) {
	m := open(t)
	m.LockImageTower(0, true)
	require.NoError(t, m.LockTextTower(1, true))
	c := DefaultConfig()
	c.EMADecay = 0.9
	trainer, err := New(m, c)
	require.NoError(t, err)
	defer trainer.Close()
	trainer.slabs, trainer.ema = trainer.model.slabs(trainer.cfg, 1), trainer.model.averages(c, 1)
	p, err := trainer.program(4, towers.Lengths{Text: 16})
	require.NoError(t, err)
	dispatches := 0
	for _, s := range p.Steps {
		if s.Op == "average" {
			dispatches++
		}
	}
	assert.Equal(t, 2, dispatches)
	for _, a := range trainer.ema {
		for _, p := range a.of {
			assert.Contains(t, []string{"logit_scale", "text_projection"}, p.Name)
		}
	}
	steps(t, trainer, 1)
	got, err := trainer.EMA(t.Context())
	require.NoError(t, err)
	now, err := trainer.Parameters(t.Context())
	require.NoError(t, err)
	var follow []string
	for name, x := range now {
		if !slices.Equal(x.Data, got[name].Data) {
			follow = append(follow, name)
		}
	}
	assert.ElementsMatch(t, []string{"logit_scale", "text_projection"}, follow)
}
