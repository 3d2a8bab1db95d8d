package graph

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph/packing"
)

// TestPackedStateIsRefused where an op would take it element by element.
func TestPackedStateIsRefused(t *testing.T) {
	state := func(f packing.Format, shape ...int) *State {
		return &State{Name: "w", Spec: Spec{Shape: shape}, Format: f}
	}
	for name, c := range map[string]struct {
		build func(g *Graph) Tensor
		want  string
	}{
		"an op that does not know": {func(g *Graph) Tensor {
			w := g.State(state(packing.F32, 4, 4))
			return g.Add(w, w)
		}, "add: input 0 is w, which is packed as f32"},
		"reshape":      {func(g *Graph) Tensor { return g.Reshape(g.State(state(packing.Q8, 4, 4)), 16) }, "reshape: input 0 is w, which is packed as q8"},
		"output":       {func(g *Graph) Tensor { return g.State(state(packing.F16, 4, 4)) }, "output 0 is w, which is packed as f16"},
		"a vector":     {func(g *Graph) Tensor { return g.State(state(packing.F32, 4)) }, "state w f32[4] cannot be packed"},
		"no layout":    {func(g *Graph) Tensor { return g.State(state(77, 4, 4)) }, "state w f32[4×4] cannot be packed"},
		"assign, bf16": {func(g *Graph) Tensor { g.Assign(state(packing.BF16, 4, 4), g.Fill(0, 4, 4)); return g.Fill(0, 1) }, "w is stored as bf16: training wants its weights in f32"},
	} {
		t.Run(name, func(t *testing.T) {
			g := New()
			_, err := g.Build(c.build(g))
			require.ErrorContains(t, err, c.want)
		})
	}
}

// A packed State is the weight that its role and shape make of it; the Target says
// where it lies and how long it is.
func TestPackingOfStates(t *testing.T) {
	target := Target{Arrangement: packing.Panels(3), MaxBinding: 256}
	for _, c := range []struct {
		s       State
		want    packing.Weight
		buffers []int64
	}{
		{State{Spec: Spec{Shape: Shape{9, 10}}}, packing.Weight{}, []int64{360}},
		{State{Spec: Spec{Shape: Shape{100, 1}}}, packing.Weight{}, []int64{256, 144}},
		{State{Name: "w", Spec: Spec{Shape: Shape{9, 10}}, Format: packing.F32}, packing.Weight{Name: "w", N: 9, K: 10, Format: packing.F32}, []int64{4 * 12 * 12}},
		{State{Spec: Spec{Shape: Shape{6, 3, 2, 5}}, Format: packing.F16}, packing.Weight{N: 6, K: 30, Format: packing.F16}, []int64{2 * 8 * 32}},
		{State{Spec: Spec{Shape: Shape{5, 6}}, Format: packing.BF16, Transposed: true}, packing.Weight{N: 6, K: 5, Transposed: true, Format: packing.BF16}, []int64{2 * 8 * 8}},
	} {
		if c.s.Packed() {
			c.want.Arrangement = packing.Panels(3)
		}
		assert.Equal(t, c.want, target.Packing(&c.s))
		assert.Equal(t, c.buffers, target.Buffers(&c.s))
		if c.s.Packed() {
			assert.Equal(t, c.buffers[0], c.s.Bytes())
		}
	}
	assert.Zero(t, target.Packing(nil))
}
