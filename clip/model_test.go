package clip

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Refresh reads what the store does not have yet from the weights, and then what
// others have written there.
func TestRefresh(t *testing.T) {
	for _, class := range classes {
		m := newModel(t, class.members)
		scale := m.LogitScale()
		bias, hasBias := m.LogitBias()
		require.NoError(t, m.Refresh(t.Context()))
		assert.Equal(t, scale, m.LogitScale())
		for name, p := range m.Parameters() {
			if name == "logit_scale" || name == "logit_bias" {
				require.NoError(t, m.Store().Write(t.Context(), &p.State, []float32{2}))
			}
		}
		assert.Equal(t, scale, m.LogitScale())
		require.NoError(t, m.Refresh(t.Context()))
		assert.InDelta(t, math.Exp(2), float64(m.LogitScale()), 1e-5)
		if hasBias {
			now, _ := m.LogitBias()
			assert.NotEqual(t, bias, now)
			assert.Equal(t, float32(2), now)
		}
	}
}
