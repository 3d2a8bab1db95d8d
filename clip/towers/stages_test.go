package towers

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// Towers of feature maps end where forward_intermediates with stop_early says, and then
// have no features, because the head takes the channels of the last stage.
func TestStagesStopEarly(t *testing.T) {
	for name, channels := range map[string]int{"convnext_base_linear": 12, "fastvit_mci0": 8, "timm_resnet18": 8} {
		tower := recorded(t, name).Visual
		_, err := tower.BlockOptions(BlockOptions{Format: "NLC"})
		require.ErrorIs(t, err, check.ErrInput, name)
		o, err := tower.BlockOptions(BlockOptions{StopEarly: true, Normalize: true, Format: "NCHW"})
		require.NoError(t, err)
		assert.Equal(t, BlockOptions{StopEarly: true, Format: "NCHW"}, o, name)

		g := graph.New()
		r := tower.Record(g, 1, 0, 2)
		assert.Equal(t, channels, r.Block(1, false).Tokens.Dim(3), name)
		require.NoError(t, g.Err())
		r.Outputs()
		assert.ErrorContains(t, g.Err(), "channels of the last stage", name)
	}
}
