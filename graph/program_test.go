package graph

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A few steps of a program need the inputs and States that they touch, and no others.
func TestOnlySomeSteps(t *testing.T) {
	g := New()
	x, y := vector(g, "x"), vector(g, "y")
	a, b := &State{Name: "a", Spec: Spec{Shape: Shape{4}}}, &State{Name: "b", Spec: Spec{Shape: Shape{4}}}
	first := g.Add(x, g.State(a))
	p, err := g.Build(g.Add(g.Add(first, g.State(b)), y))
	require.NoError(t, err)
	listing := p.String()
	assert.Equal(t, `2 steps, 2 activation buffers of 512 bytes, 1 states
i0 = y f32[4]
s0 = b f32[4]
   0 binary OP=0                                  a0 s0 a1                        1×1  .add
   1 binary OP=0                                  a1 i0 a0                        1×1  .add
`, p.Only(1, 2).String())
	assert.Equal(t, `1 steps, 2 activation buffers of 512 bytes, 1 states
i0 = x f32[4]
s0 = a f32[4]
   0 binary OP=0                                  i0 s0 a0                        1×1  .add
`, p.Only(0).String())
	assert.Equal(t, listing, p.String(), "the whole stays")

	slab := &State{Name: "slab", Spec: Spec{Shape: Shape{8}}, Parts: []*State{a, b}}
	whole := &Program{States: []*State{slab, a, b}, Steps: []Step{{Slots: []Slot{{Space: SpaceState, Index: 2}, {Space: SpaceState, Index: 0}}}}}
	part := whole.Only(0)
	assert.Equal(t, []*State{b, slab, a}, part.States)
	assert.Equal(t, []Slot{{Space: SpaceState, Index: 0}, {Space: SpaceState, Index: 1}}, part.Steps[0].Slots)
}
