package graph

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// cube is x³ by an op that only knows its own gradient.
var cube = &Op{
	Name:  "cube",
	Infer: func(n *Node) ([]Spec, error) { return []Spec{n.In[0].Spec()}, nil },
	VJP: func(g *Graph, n *Node, dy []Tensor) []Tensor {
		return []Tensor{g.Apply(cubeGrad, nil, n.In[0], dy[0])[0]}
	},
	Ref: func(_ *Node, in, out [][]float64) {
		for i, x := range in[0] {
			out[0][i] = x * x * x
		}
	},
}

var cubeGrad = &Op{
	Name:  "cube_grad",
	Infer: func(n *Node) ([]Spec, error) { return []Spec{n.In[0].Spec()}, nil },
	Ref: func(_ *Node, in, out [][]float64) {
		for i, x := range in[0] {
			out[0][i] = 3 * x * x * in[1][i]
		}
	},
}

// TestCheckpointing computes blocks again: once, with what they read kept and the
// States that they assign assigned once.
func TestCheckpointing(t *testing.T) {
	count := &State{Name: "count", Spec: Spec{Shape{1}, F32}}
	w := &Param{State: State{Name: "w", Spec: Spec{Shape{1}, F32}}}
	record := func(checkpointing bool) (*Graph, []Tensor) {
		g := New()
		g.Checkpointing = checkpointing
		x := g.Input("x", Shape{1}, F32)
		var inside, last Tensor
		y := g.Block("0", func() Tensor {
			g.Assign(count, g.Add(g.State(count), g.Fill(1, 1)))
			return g.Block("0", func() Tensor { // a part of the outer block
				inside = g.Apply(cube, nil, g.Add(x, g.Param(w)))[0]
				return g.Apply(cube, nil, inside)[0]
			})
		})
		y = g.Block("1", func() Tensor { return g.Add(y, g.Apply(cube, nil, y)[0]) })
		untouched := g.Block("2", func() Tensor { return g.Apply(cube, nil, x)[0] })
		last = g.Add(y, g.Add(inside, untouched))
		return g, append(g.Grad(last, g.Param(w), x, inside, y), last)
	}
	values := func(g *Graph, outs []Tensor) ([][]float64, map[*State][]float64) {
		state := map[*State][]float64{count: {7}, &w.State: {0.25}}
		got, err := g.Eval(map[string][]float64{"x": {1}}, state, outs...)
		require.NoError(t, err)
		return got, state
	}
	plain, outs := record(false)
	want, stateWanted := values(plain, outs)
	again, outs := record(true)
	got, state := values(again, outs)
	assert.Equal(t, want, got)
	assert.Equal(t, stateWanted, state)
	assert.Equal(t, []float64{8}, state[count])

	ops := func(g *Graph) map[string]int {
		n := map[string]int{}
		for _, node := range g.nodes {
			n[node.Op.Name]++
		}
		return n
	}
	before, after := ops(plain), ops(again)
	assert.Equal(t, before["cube"]+4, after["cube"], "all blocks are recomputed")
	assert.Equal(t, before["assign"], after["assign"])
	assert.Equal(t, before["cube_grad"], after["cube_grad"])

	n := len(again.nodes)
	again.Grad(outs[len(outs)-1], outs[len(outs)-1])
	assert.Len(t, again.nodes, n+1, "the gradient by itself needs no block")
}

// TestPure drops what changes States, and refuses what would read them changed.
func TestPure(t *testing.T) {
	s := &State{Name: "count", Spec: Spec{Shape{1}, F32}}
	g := New()
	g.Pure = true
	y := g.Add(g.State(s), g.Fill(1, 1))
	g.Assign(s, y)
	p, err := g.Build(y)
	require.NoError(t, err)
	assert.Len(t, p.Steps, 2)
	state := map[*State][]float64{s: {7}}
	got, err := g.Eval(nil, state, y)
	require.NoError(t, err)
	assert.Equal(t, []float64{8}, got[0])
	assert.Equal(t, []float64{7}, state[s])
	_, err = g.Build(g.State(s))
	require.ErrorContains(t, err, "reads count after it has changed")
}
