package train

import (
	"testing"

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
