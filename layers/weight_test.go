package layers

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// eval computes y of one row x = (1, 0, -1).
func eval(t *testing.T, state map[*graph.State][]float64, record func(g *graph.Graph, x graph.Tensor) graph.Tensor) ([]float64, error) {
	t.Helper()
	g := graph.New()
	y := record(g, g.Input("x", graph.Shape{1, 3}, graph.F32))
	values, err := g.Eval(map[string][]float64{"x": {1, 0, -1}}, state, y)
	if err != nil {
		return nil, err
	}
	return values[0], nil
}

// shift is an Adapter that adds where it was asked to begin.
type shift struct{}

func (shift) Adapt(g *graph.Graph, _, y graph.Tensor, first int) graph.Tensor {
	return g.Add(y, g.Fill(float64(100*first), y.Shape()...))
}

func TestWeightsInEveryRole(t *testing.T) {
	w, p, bias := NewWeight(nil, 5, 3), NewProjection(nil, 3, 5), NewParam(nil, 5)
	w.Adapter, p.Adapter = shift{}, shift{}
	state := map[*graph.State][]float64{
		&w.State:    {1, 0, 0, 2, 0, 0, 3, 0, 0, 4, 0, 0, 5, 0, 1},
		&p.State:    {1, 2, 3, 4, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
		&bias.State: {10, 20, 30, 40, 50},
	}
	for name, c := range map[string]struct {
		record func(g *graph.Graph, x graph.Tensor) graph.Tensor
		want   []float64
	}{
		"a weight":              {func(g *graph.Graph, x graph.Tensor) graph.Tensor { return w.Forward(g, x, nil) }, []float64{1, 2, 3, 4, 4}},
		"with a bias":           {func(g *graph.Graph, x graph.Tensor) graph.Tensor { return w.Forward(g, x, bias) }, []float64{11, 22, 33, 44, 54}},
		"rows of it":            {func(g *graph.Graph, x graph.Tensor) graph.Tensor { return w.Rows(g, x, bias, 4, 1) }, []float64{454}},
		"a projection":          {func(g *graph.Graph, x graph.Tensor) graph.Tensor { return p.Forward(g, x, nil) }, []float64{1, 2, 3, 4, 4}},
		"a projection's biases": {func(g *graph.Graph, x graph.Tensor) graph.Tensor { return p.Forward(g, x, bias) }, []float64{11, 22, 33, 44, 54}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := eval(t, state, c.record)
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}

// narrow is an Adapter that forgets outputs.
type narrow struct{}

func (narrow) Adapt(g *graph.Graph, _, _ graph.Tensor, _ int) graph.Tensor { return g.Fill(0, 1, 2) }

func TestAdaptersKeepTheShape(t *testing.T) {
	w := NewWeight(nil, 5, 3)
	w.Name, w.Adapter = "w", narrow{}
	_, err := eval(t, map[*graph.State][]float64{&w.State: make([]float64, 15)}, func(g *graph.Graph, x graph.Tensor) graph.Tensor {
		return w.Forward(g, x, nil)
	})
	assert.EqualError(t, err, "the adapter of w makes f32[1×2] of f32[1×5]")
}
