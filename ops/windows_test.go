package ops

import (
	"testing"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// TestWindowsMisuse: windows and biases that do not fit what they are for.
func TestWindowsMisuse(t *testing.T) {
	requireMisuse(t, "visual.trunk.layers.0", map[string]misuse{
		"windows of nothing": {func(g *graph.Graph) graph.Tensor {
			return Windows(g, floats(g, "x", 2, 4, 4, 3), WindowConfig{Height: 2})
		},
			[]string{"windows", "[2 4 4 3]", "2×0"}},
		"windows of tokens": {func(g *graph.Graph) graph.Tensor {
			return Windows(g, floats(g, "x", 2, 4, 3), WindowConfig{Height: 2, Width: 2})
		}, []string{"[2 4 3]", "[batch, height, width, channels]"}},
		"windows, shift": {func(g *graph.Graph) graph.Tensor {
			return Windows(g, floats(g, "x", 2, 4, 4, 3), WindowConfig{Height: 2, Width: 2, ShiftX: 4})
		}, []string{"4 columns", "fewer"}},
		"windows of another image": {func(g *graph.Graph) graph.Tensor {
			return FromWindows(g, floats(g, "x", 8, 4, 3), graph.Shape{2, 4, 5, 3}, WindowConfig{Height: 2, Width: 2})
		}, []string{"f32[8×4×3]", "[12 4 3]"}},
		"relative bias, another table": {func(g *graph.Graph) graph.Tensor {
			return RelativeBias(g, floats(g, "table", 9, 2), RelativeBiasConfig{Height: 2, Width: 3})
		}, []string{"relative_bias", "f32[9×2]", "2×3", "[15, heads]"}},
		"relative bias, shift without windows": {func(g *graph.Graph) graph.Tensor {
			return RelativeBias(g, floats(g, "table", 9, 2), RelativeBiasConfig{Height: 2, Width: 2, ShiftY: 1})
		}, []string{"ShiftY:1", "and windows"}},
	})
}
