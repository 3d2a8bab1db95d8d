package train

import (
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
)

// TestRoundedWeightsCannotBeTrained: an update would vanish in their rounding.
func TestRoundedWeightsCannotBeTrained(t *testing.T) {
	m := open(t)
	for _, c := range []clip.CastDType{clip.F16, clip.BF16, clip.Q8} {
		rounded, err := clip.New(m.Config(), 1, clip.WithDevice(m.Device()), clip.WithCastDType(c))
		require.NoError(t, err)
		_, err = New(rounded, DefaultConfig())
		require.ErrorIs(t, err, clip.ErrInput)
		require.ErrorContains(t, err, "is stored as "+string(c)+": training wants its weights in f32")
		require.NoError(t, rounded.Close())
	}
}

// lockMiddle freezes the last block of the image tower alone, so that gradients flow
// through it, and the text tower but for its projection.
func lockMiddle(t *testing.T, m *clip.Model) {
	t.Helper()
	require.NoError(t, m.LockTextTower(1, true))
	for name, p := range m.Parameters() {
		p.Frozen = p.Frozen || strings.HasPrefix(name, "visual.transformer.resblocks.1.")
	}
}

// Frozen weights of fewer bits take less memory. The rest learns through them, in f32,
// and none of their bits changes.
func TestFrozenWeightsOfFewerBits(t *testing.T) {
	memory := map[clip.CastDType]int64{}
	for _, c := range []clip.CastDType{clip.F32, clip.F16, clip.BF16, clip.Q8} {
		t.Run(string(c), func(t *testing.T) {
			exact, m := open(t), open(t)
			lockMiddle(t, exact)
			lockMiddle(t, m)
			idle := m.Device().MemoryInUse()
			require.NoError(t, m.CastFrozen(t.Context(), c))
			before := parameters(t, m)
			for name, p := range exact.Parameters() { // the rounded values, in f32
				require.NoError(t, exact.Store().Write(t.Context(), &p.State, before[name]))
			}
			images, texts := pairs(4)
			want, _, err := Gradients(t.Context(), exact, ClipLoss{}, Batch{Images: images, Texts: texts})
			require.NoError(t, err)
			got, _, err := Gradients(t.Context(), m, ClipLoss{}, Batch{Images: images, Texts: texts})
			require.NoError(t, err)
			require.Len(t, got, len(want))
			for name := range want {
				assert.InDeltaSlice(t, want[name].Data, got[name].Data, 1e-6, name)
			}

			trainer := newTrainer(t, m)
			var losses []float64
			for range 8 {
				loss, err := trainer.Step(t.Context(), Batch{Images: images, Texts: texts})
				require.NoError(t, err)
				losses = append(losses, loss)
			}
			assert.Less(t, losses[7], losses[0]-0.2, "%v", losses)
			after, params := parameters(t, m), maps.Collect(m.Parameters())
			for name, values := range after {
				if p := params[name]; p.Frozen {
					assert.Equal(t, before[name], values, name)
				} else {
					assert.NotEqual(t, before[name], values, name)
				}
			}
			memory[c] = m.Device().MemoryInUse() - idle
			assert.Equal(t, string(c), params["transformer.resblocks.0.mlp.c_fc.weight"].Format.String())
		})
	}
	assert.Less(t, memory[clip.F16], memory[clip.F32])
	assert.Equal(t, memory[clip.F16], memory[clip.BF16])
	assert.Less(t, memory[clip.Q8], memory[clip.F16])
	t.Logf("bytes on the device: %v", memory)
}

// Once a program uses a weight it stays as it is stored. What f16 cannot hold is f32.
func TestCastFrozenRefuses(t *testing.T) {
	m := open(t)
	m.LockImageTower(0, true)
	require.ErrorIs(t, m.CastFrozen(t.Context(), "q4"), clip.ErrInput)
	params := maps.Collect(m.Parameters())
	large := params["visual.transformer.resblocks.0.mlp.c_fc.weight"]
	values := make([]float32, large.Shape.Elems())
	require.NoError(t, large.Source.ReadF32(values, 0))
	values[0] = 1e6
	require.NoError(t, m.Store().Write(t.Context(), &large.State, values))
	require.NoError(t, m.CastFrozen(t.Context(), clip.F16))
	assert.Equal(t, "f32", large.Format.String())
	assert.Contains(t, m.Warnings()[len(m.Warnings())-1], "stored in f32, as f16 cannot hold it: tensor visual.transformer.resblocks.0.mlp.c_fc.weight")
	assert.Equal(t, values, parameters(t, m)[large.Name])
	assert.Equal(t, "f32", params["transformer.resblocks.0.mlp.c_fc.weight"].Format.String(), "not frozen")

	images, _ := pairs(2)
	_, err := m.EncodeImage(t.Context(), images, true)
	require.NoError(t, err)
	rounded := params["visual.proj"]
	err = m.LockTextTower(0, true)
	require.NoError(t, err)
	err = m.CastFrozen(t.Context(), clip.Q8)
	require.ErrorIs(t, err, clip.ErrInput)
	require.ErrorContains(t, err, "before the model first computes: state visual.")
	assert.Equal(t, "f16", rounded.Format.String())
	for name, p := range params {
		assert.NotEqual(t, "q8", p.Format.String(), "%s, though some are refused", name)
	}

	m.LockImageTower(99, false)
	_, err = New(m, DefaultConfig())
	require.ErrorIs(t, err, clip.ErrInput)
	require.ErrorContains(t, err, "is stored as f16: training wants its weights in f32")
}
