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

// linearOf is a linear map of an input by a packed weight.
func linearOf(g *graph.Graph, f packing.Format) graph.Tensor {
	w := g.State(&graph.State{Name: "w", Spec: graph.Spec{Shape: graph.Shape{4, 8}}, Format: f})
	return Linear(g, g.Input("x", graph.Shape{3, 8}, graph.F32), w, graph.Tensor{})
}

// residualOf is an input of the shape that linearOf gives.
func residualOf(g *graph.Graph) graph.Tensor {
	return g.Input("r", graph.Shape{3, 4}, graph.F32)
}

func batchNormOf(g *graph.Graph, x graph.Tensor) graph.Tensor {
	c := g.State(&graph.State{Name: "c", Spec: graph.Spec{Shape: graph.Shape{4}}})
	return BatchNorm(g, x, c, c, c, c, 1e-5)
}

// fusion is what is recorded and the kernels that Build makes of it, with the constants that tell what is fused.
type fusion struct {
	build func(g *graph.Graph) []graph.Tensor
	want  []string
}

// afterParam is which parameter of linear's kernels says that the function comes after the residual.
const afterParam = 8

func requireFused(t *testing.T, fusions map[string]fusion) {
	for name, c := range fusions {
		t.Run(name, func(t *testing.T) {
			g := graph.New()
			p, err := g.Build(c.build(g)...)
			require.NoError(t, err)
			var got []string
			for _, s := range p.Steps {
				step := s.Op
				for _, field := range strings.Fields(s.Kernel.Name) {
					if strings.HasPrefix(field, "ACT=") || strings.HasPrefix(field, "x=") {
						step += " " + field
					}
				}
				if strings.HasPrefix(s.Kernel.Name, "linear") {
					if s.Params[afterParam] == 1 {
						step += " after"
					}
					if s.Slots[3].Space != graph.SpaceNone {
						step += " residual"
					}
				}
				got = append(got, step)
			}
			assert.Equal(t, c.want, got)
		})
	}
}

// TestLinearFuses: what follows a packed linear map is made by its kernel where that gives the same.
func TestLinearFuses(t *testing.T) {
	requireFused(t, map[string]fusion{
		"function": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{Map(g, linearOf(g, packing.F32), QuickGELU)}
		}, []string{"linear ACT=2"}},
		"function, then sum": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{g.Add(residualOf(g), Map(g, linearOf(g, packing.Q8), GELU))}
		}, []string{"linear ACT=0 residual"}},
		"sum, either way round": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{g.Add(linearOf(g, packing.F16), residualOf(g))}
		}, []string{"linear ACT=9 residual"}},
		"sum, then function": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{Map(g, g.Add(residualOf(g), linearOf(g, packing.F32)), ReLU)}
		}, []string{"linear ACT=3 after residual"}},
	})
}

// TestLinearFusesOnce: the kernel has one function, one normalization and one order of them.
func TestLinearFusesOnce(t *testing.T) {
	requireFused(t, map[string]fusion{
		"function, sum, function": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{Map(g, g.Add(Map(g, linearOf(g, packing.F32), ReLU), residualOf(g)), ReLU)}
		}, []string{"linear ACT=3 residual", "map"}},
		"normalization, sum, function": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{Map(g, g.Add(batchNormOf(g, linearOf(g, packing.F32)), residualOf(g)), ReLU)}
		}, []string{"linear", "linear ACT=3 after residual"}},
		"function, then normalization": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{batchNormOf(g, Map(g, linearOf(g, packing.F32), ReLU))}
		}, []string{"linear ACT=3", "batchnorm"}},
		"two normalizations": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{batchNormOf(g, batchNormOf(g, linearOf(g, packing.F32)))}
		}, []string{"linear", "linear ACT=9", "batchnorm"}},
		"two functions": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{Map(g, Map(g, linearOf(g, packing.F32), ReLU), Exp)}
		}, []string{"linear ACT=3", "map"}},
	})
}

// TestLinearFusesOneSum: the kernel adds one residual of whole rows, and only to what nothing else reads.
func TestLinearFusesOneSum(t *testing.T) {
	requireFused(t, map[string]fusion{
		"sum with a table that repeats": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{AddBroadcast(g, linearOf(g, packing.F32), g.Input("t", graph.Shape{1, 4}, graph.F32), 1)}
		}, []string{"linear ACT=9 residual"}},
		"sum with less than a row": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{AddBroadcast(g, linearOf(g, packing.F32), g.Input("t", graph.Shape{2}, graph.F32), 1)}
		}, []string{"linear ACT=9", "add_broadcast"}},
		"sum with one for several columns": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{AddBroadcast(g, linearOf(g, packing.F32), g.Input("t", graph.Shape{4}, graph.F32), 3)}
		}, []string{"linear ACT=9", "add_broadcast"}},
		"two sums": {func(g *graph.Graph) []graph.Tensor {
			x := residualOf(g)
			return []graph.Tensor{g.Add(x, g.Add(x, linearOf(g, packing.F32)))}
		}, []string{"linear ACT=9 residual", "add"}},
		"sum with itself": {func(g *graph.Graph) []graph.Tensor {
			y := linearOf(g, packing.F32)
			return []graph.Tensor{g.Add(y, y)}
		}, []string{"linear ACT=9", "add"}},
		"also an output": {func(g *graph.Graph) []graph.Tensor {
			y := linearOf(g, packing.F32)
			return []graph.Tensor{y, Map(g, y, ReLU)}
		}, []string{"linear ACT=9", "map"}},
		"not packed": {func(g *graph.Graph) []graph.Tensor {
			return []graph.Tensor{g.Add(residualOf(g), Map(g, linearOf(g, packing.RowMajor), ReLU))}
		}, []string{"linear", "map", "add"}},
	})
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
