package tests

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// mayBeAbsent are the inputs that ops do without: biases, masks, norms' weights.
var mayBeAbsent = []string{"bias", "b", "mask", "w"}

// checkMisuse records the case with each input absent, and with each of another
// graph: errors that Build returns, but for an input that may be absent.
func (c opCase) checkMisuse(t *testing.T) {
	for _, wrong := range c.inputs {
		foreign := wrong.record(graph.New())
		require.ErrorContains(t, c.buildWith(t, wrong.name, foreign), "another graph", wrong.name)
		if err := c.buildWith(t, wrong.name, graph.Tensor{}); !slices.Contains(mayBeAbsent, wrong.name) {
			require.Error(t, err, wrong.name)
		}
	}
}

// buildWith is what Build says of the case with one input replaced.
func (c opCase) buildWith(t *testing.T, name string, x graph.Tensor) (err error) {
	t.Helper()
	g := graph.New()
	in := tensors{}
	for _, spec := range c.inputs {
		in[spec.name] = spec.record(g)
	}
	in[name] = x
	require.NotPanics(t, func() { _, err = g.Build(c.build(g, in)...) }, name)
	return err
}

// record declares the input, without values.
func (in opInput) record(g *graph.Graph) graph.Tensor {
	if in.ints > 0 {
		return g.Input(in.name, in.shape, graph.I32)
	}
	return g.Param(&graph.Param{State: graph.State{Name: in.name, Spec: graph.Spec{Shape: in.shape}, Layout: in.layout, Transposed: in.transposed}})
}
