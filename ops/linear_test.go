package ops

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/internal/debug"
)

// TestLinearFuses: what follows a packed linear map is made by its kernel where that gives the same.
func TestLinearFuses(t *testing.T) {
	linear := func(g *graph.Graph, l packing.Format) graph.Tensor {
		w := g.State(&graph.State{Name: "w", Spec: graph.Spec{Shape: graph.Shape{4, 8}}, Format: l})
		return Linear(g, g.Input("x", graph.Shape{3, 8}, graph.F32), w, graph.Tensor{})
	}
	r := func(g *graph.Graph) graph.Tensor { return g.Input("r", graph.Shape{3, 4}, graph.F32) }
	normalize := func(g *graph.Graph, x graph.Tensor) graph.Tensor {
		c := g.State(&graph.State{Name: "c", Spec: graph.Spec{Shape: graph.Shape{4}}})
		return BatchNorm(g, x, c, c, c, c, 1e-5)
	}
	for name, c := range map[string]struct {
		build func(g *graph.Graph) []graph.Tensor
		want  []string
	}{
		"function": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{Map(g, linear(g, packing.F32), QuickGELU)}
		}, []string{"linear ACT=2"}},
		"function, then sum": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{g.Add(r(g), Map(g, linear(g, packing.Q8), GELU))}
		}, []string{"linear ACT=0 residual"}},
		"sum, either way round": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{g.Add(linear(g, packing.F16), r(g))}
		}, []string{"linear ACT=9 residual"}},
		"sum, then function": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{Map(g, g.Add(r(g), linear(g, packing.F32)), ReLU)}
		}, []string{"linear ACT=3 AFTER=true residual"}},
		"function, sum, function": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{Map(g, g.Add(Map(g, linear(g, packing.F32), ReLU), r(g)), ReLU)}
		}, []string{"linear ACT=3 residual", "map"}},
		"normalization, sum, function": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{Map(g, g.Add(normalize(g, linear(g, packing.F32)), r(g)), ReLU)}
		}, []string{"linear", "linear ACT=3 AFTER=true residual"}},
		"function, then normalization": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{normalize(g, Map(g, linear(g, packing.F32), ReLU))}
		}, []string{"linear ACT=3", "batchnorm"}},
		"two normalizations": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{normalize(g, normalize(g, linear(g, packing.F32)))}
		}, []string{"linear", "linear ACT=9", "batchnorm"}},
		"two functions": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{Map(g, Map(g, linear(g, packing.F32), ReLU), Exp)}
		}, []string{"linear ACT=3", "map"}},
		"sum with a table that repeats": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{AddBroadcast(g, linear(g, packing.F32), g.Input("t", graph.Shape{1, 4}, graph.F32), 1)}
		}, []string{"linear ACT=9 residual"}},
		"sum with less than a row": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{AddBroadcast(g, linear(g, packing.F32), g.Input("t", graph.Shape{2}, graph.F32), 1)}
		}, []string{"linear ACT=9", "add_broadcast"}},
		"sum with one for several columns": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{AddBroadcast(g, linear(g, packing.F32), g.Input("t", graph.Shape{4}, graph.F32), 3)}
		}, []string{"linear ACT=9", "add_broadcast"}},
		"two sums": {func(g *graph.Graph) []graph.Tensor {
			x := r(g)
			return []graph.Tensor{g.Add(x, g.Add(x, linear(g, packing.F32)))}
		}, []string{"linear ACT=9 residual", "add"}},
		"sum with itself": {func(g *graph.Graph) []graph.Tensor {
			y := linear(g, packing.F32)
			return []graph.Tensor{g.Add(y, y)}
		}, []string{"linear ACT=9", "add"}},
		"also an output": {func(g *graph.Graph) []graph.Tensor {
			y := linear(g, packing.F32)
			return []graph.Tensor{y, Map(g, y, ReLU)}
		}, []string{"linear ACT=9", "map"}},
		"not packed": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{g.Add(r(g), Map(g, linear(g, packing.RowMajor), ReLU))}
		}, []string{"linear", "map", "add"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := graph.New()
			p, err := g.Build(c.build(g)...)
			require.NoError(t, err)
			var got []string
			for _, s := range p.Steps {
				step := s.Op
				for _, field := range strings.Fields(s.Kernel.Name) {
					if strings.HasPrefix(field, "ACT=") || strings.HasPrefix(field, "AFTER=") {
						step += " " + field
					}
				}
				if strings.HasPrefix(s.Kernel.Name, "linear") && s.Slots[3].Space != graph.SpaceNone {
					step += " residual"
				}
				got = append(got, step)
			}
			assert.Equal(t, c.want, got)
		})
	}
}

// TestFusedLayers: a fused op does the work of every layer that it was made of and is
// listed under the last.
func TestFusedLayers(t *testing.T) {
	t.Setenv(debug.Variable, "dump=conv")
	g := graph.New()
	x, r := g.Input("x", graph.Shape{3, 8}, graph.F32), g.Input("r", graph.Shape{3, 4}, graph.F32)
	w := g.State(&graph.State{Name: "w", Spec: graph.Spec{Shape: graph.Shape{4, 8}}, Format: packing.F32})
	c := g.State(&graph.State{Name: "c", Spec: graph.Spec{Shape: graph.Shape{4}}})
	y := g.Module("conv", func() graph.Tensor { return Linear(g, x, w, graph.Tensor{}) })
	y = g.Module("bn", func() graph.Tensor { return BatchNorm(g, y, c, c, c, c, 1e-5) })
	y = g.Module("block", func() graph.Tensor { return g.Add(r, y) })
	y = g.Module("act", func() graph.Tensor { return Map(g, y, ReLU) })
	y = g.Module("last", func() graph.Tensor { return Map(g, y, Exp) })
	p, err := g.Build(y)
	require.NoError(t, err)
	layers := map[string][]string{}
	for _, s := range p.Steps {
		layers[s.Scope] = s.Node.Layers()
	}
	assert.Equal(t, map[string][]string{"act": {"conv", "bn", "block", "act"}, "last": {"last"}}, layers)
}
