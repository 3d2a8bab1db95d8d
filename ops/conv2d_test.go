package ops

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
)

// convOf is a convolution of an image of some channels, and the image's windows.
func convOf(g *graph.Graph, channels int, f packing.Format) (y, windows graph.Tensor) {
	w := g.State(&graph.State{Name: "w", Spec: graph.Spec{Shape: graph.Shape{4, channels, 3, 3}}, Format: f})
	windows = Unfold(g, g.Input("x", graph.Shape{2, 6, 5, channels}, graph.F32), 3, 3, 1, 1)
	return Linear(g, windows, w, graph.Tensor{}), windows
}

// TestUnfoldFuses: a GPU's kernels read windows from the image where nothing else reads them.
func TestUnfoldFuses(t *testing.T) {
	conv := func(channels int, f packing.Format) func(g *graph.Graph) []graph.Tensor {
		return func(g *graph.Graph) []graph.Tensor {
			y, _ := convOf(g, channels, f)
			return []graph.Tensor{Map(g, batchNormOf(g, y), ReLU)}
		}
	}
	requireFused(t, map[string]fusion{
		"whole groups of channels": {conv(8, packing.F16), []string{"linear", "linear ACT=3 x=windows"}},
		"fill, copy and convolve":  {conv(3, packing.F32), []string{"linear", "linear", "linear", "linear ACT=3 x=windows"}},
		"not packed":               {conv(8, packing.RowMajor), []string{"unfold", "linear", "batchnorm", "map"}},
		"windows are an output": {func(g *graph.Graph) []graph.Tensor {
			y, windows := convOf(g, 8, packing.F32)
			return []graph.Tensor{y, windows}
		}, []string{"unfold", "linear ACT=9"}},
		"windows have another reader": {func(g *graph.Graph) []graph.Tensor {
			y, windows := convOf(g, 8, packing.F32)
			return []graph.Tensor{y, Map(g, windows, Exp)}
		}, []string{"unfold", "linear ACT=9", "map"}},
		"on software drivers": {func(g *graph.Graph) []graph.Tensor {
			g.Adapter = graph.CPU
			y, _ := convOf(g, 8, packing.F32)
			return []graph.Tensor{y}
		}, []string{"unfold", "linear ACT=9"}},
	})
}

// TestUnfoldFusesMemory: an image is bound, and not its windows, which would take more than a kernel binds.
func TestUnfoldFusesMemory(t *testing.T) {
	for adapter, want := range map[graph.Adapter]error{graph.Discrete: nil, graph.CPU: &graph.SizeError{}} {
		g := graph.New()
		g.Adapter, g.MaxBinding = adapter, 2*6*5*8*4
		y, _ := convOf(g, 8, packing.F32)
		p, err := g.Build(y)
		if want != nil {
			require.ErrorAs(t, err, &want)
			continue
		}
		require.NoError(t, err)
		assert.Less(t, p.ArenaBytes(), int64(9*2*6*5*8*4))
	}
}

// TestUnfoldFusesForTheForwardPass: a weight's gradient needs the windows, and with a frozen weight nothing does.
func TestUnfoldFusesForTheForwardPass(t *testing.T) {
	for frozen, want := range map[bool]int{false: 1, true: 0} {
		g := graph.New()
		w := &graph.Param{State: graph.State{Name: "w", Spec: graph.Spec{Shape: graph.Shape{4, 8, 3, 3}}, Format: packing.F32}, Frozen: frozen}
		x := g.Input("x", graph.Shape{2, 6, 5, 8}, graph.F32)
		y := Conv2D(g, x, g.Param(w), graph.Tensor{}, 1, 1)
		wrt := []graph.Tensor{x}
		if !frozen {
			wrt = append(wrt, g.Param(w))
		}
		p, err := g.Build(append([]graph.Tensor{y}, g.Grad(Sum(g, y), wrt...)...)...)
		require.NoError(t, err)
		unfolds := 0
		for _, s := range p.Steps {
			if s.Op == "unfold" {
				unfolds++
			}
		}
		assert.Equal(t, want, unfolds)
	}
}
