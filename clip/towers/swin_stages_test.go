package towers

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// The norm is the last stage's alone, and so are the features.
func TestSwinStages(t *testing.T) {
	tower := recorded(t, "swin_base").Visual
	_, err := tower.BlockOptions(BlockOptions{Format: "NLC"})
	require.ErrorIs(t, err, check.ErrInput)
	g := graph.New()
	r := tower.Record(g, 1, 0, 3)
	for i, channels := range []int{8, 16, 32} {
		assert.Equal(t, channels, r.Block(i, false).Tokens.Dim(3))
		assert.Equal(t, i == 2, r.Block(i, true).Tokens != r.Block(i, false).Tokens, "stage %d", i)
	}
	require.NoError(t, g.Err())
	g = graph.New()
	tower.Record(g, 1, 0, 2).Outputs()
	assert.ErrorContains(t, g.Err(), "channels of the last stage")
}
