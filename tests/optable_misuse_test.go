package tests

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// mayBeAbsent are the names of inputs that ops do without; weight is LayerNorm's, small AddCentered's.
var mayBeAbsent = []string{"bias", "mask", "weight", "small"}

// checkMisuse records the case with each input absent, of another graph or of
// another shape. Nothing panics. Build returns an error for inputs of other graphs
// and for those that must not be absent; some ops take the other shapes.
func (c opCase) checkMisuse(t *testing.T) {
	for _, in := range c.inputs {
		foreign := in.record(graph.New())
		err := c.buildWith(t, in.name, func(*graph.Graph) graph.Tensor { return foreign })
		require.ErrorContains(t, err, "another graph", in.name)
		err = c.buildWith(t, in.name, func(*graph.Graph) graph.Tensor { return graph.Tensor{} })
		require.Equal(t, slices.Contains(mayBeAbsent, in.name), err == nil, "%s is absent: %v", in.name, err)
		for _, shape := range []graph.Shape{{}, {2}, {2, 3}, {1, 2, 3, 4, 5}} {
			_ = c.buildWith(t, in.name, func(g *graph.Graph) graph.Tensor { return g.Fill(1, shape...) })
			_ = c.buildWith(t, in.name, func(g *graph.Graph) graph.Tensor { return g.Input("other", shape, graph.I32) })
		}
	}
}

// buildWith is what Build says of the case with one input replaced.
func (c opCase) buildWith(t *testing.T, name string, wrong func(*graph.Graph) graph.Tensor) (err error) {
	t.Helper()
	g := graph.New()
	in := tensors{}
	for _, spec := range c.inputs {
		in[spec.name] = spec.record(g)
	}
	in[name] = wrong(g)
	require.NotPanics(t, func() { _, err = g.Build(c.build(g, in)...) }, name)
	return err
}

// record declares the input, without values.
func (in opInput) record(g *graph.Graph) graph.Tensor {
	if in.ints > 0 {
		return g.Input(in.name, in.shape, graph.I32)
	}
	return g.Param(&graph.Param{State: graph.State{Name: in.name, Spec: graph.Spec{Shape: in.shape}, Format: in.format, Transposed: in.transposed}})
}
