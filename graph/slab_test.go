package graph

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

func four(name string) *State { return &State{Name: name, Spec: Spec{Shape: Shape{4}}} }

// slabOf holds parts of up to 64 elements.
func slabOf(parts ...*State) *State {
	s := &State{Name: "slab", Spec: Spec{Shape: Shape{64 * len(parts)}}, Parts: parts}
	for i := range parts {
		s.Offsets = append(s.Offsets, int64(256*i))
	}
	return s
}

func TestSlabsThatCannotHoldTheirParts(t *testing.T) {
	long := &State{Name: "long", Spec: Spec{Shape: Shape{defaultMaxBinding / 256, 65}}}
	for want, s := range map[string]*State{
		"hold 1 others at 0 offsets":     {Name: "slab", Spec: Spec{Shape: Shape{64}}, Parts: []*State{four("a")}},
		"want a vector of f32":           {Name: "slab", Spec: Spec{Shape: Shape{8, 8}}, Parts: []*State{four("a")}, Offsets: []int64{0}},
		"hold b f32[4] at byte 16":       {Name: "slab", Spec: Spec{Shape: Shape{64}}, Parts: []*State{four("a"), four("b")}, Offsets: []int64{0, 16}},
		"hold b f32[4] at byte 0":        {Name: "slab", Spec: Spec{Shape: Shape{64}}, Parts: []*State{four("a"), four("b")}, Offsets: []int64{0, 0}},
		"hold slab f32[64] at byte 0":    {Name: "outer", Spec: Spec{Shape: Shape{64}}, Parts: []*State{slabOf(four("a"))}, Offsets: []int64{0}},
		"slab f32[64] cannot hold 272 b": {Name: "slab", Spec: Spec{Shape: Shape{64}}, Parts: []*State{four("a")}, Offsets: []int64{256}},
		"state b f32[4] cannot be pac":   slabOf(four("a"), &State{Name: "b", Spec: four("b").Spec, Format: packing.F32}),
		"cannot hold long":               {Name: "slab", Spec: Spec{Shape: Shape{defaultMaxBinding}}, Parts: []*State{long}, Offsets: []int64{0}},
	} {
		require.ErrorContains(t, Target{}.Check(s), want)
		g := New()
		_, err := g.Build(g.State(s))
		require.ErrorContains(t, err, want)
		_, err = g.Build(g.Join(s, g.Fill(1, 4)))
		require.Error(t, err)
	}
	a := four("a")
	g := New()
	_, err := g.Build(g.Join(slabOf(a), g.Fill(1, 5)))
	require.ErrorContains(t, err, "f32[5] as a f32[4]")
	g = New()
	g.MaxBinding = 256
	var size *SizeError
	_, err = g.Build(g.Join(slabOf(a, four("b")), g.Fill(1, 4), g.Fill(1, 4)))
	require.ErrorAs(t, err, &size)
	g = New()
	g.MaxBinding = 256
	_, err = g.Build(g.State(slabOf(a, four("b"))))
	require.ErrorAs(t, err, &size, "a slab is one binding")
	g = New()
	_, err = g.Build(g.Join(slabOf(a)))
	require.ErrorContains(t, err, "0 tensors, slab holds 1")
}

// increment adds its second input to a State.
var increment = &Op{
	Name:  "increment",
	Infer: func(n *Node) ([]Spec, error) { return []Spec{n.In[0].Spec()}, nil },
	Lower: func(n *Node) []Launch { // the kernel is none that would do that
		return []Launch{{Kernel: shaders.Variant{File: "copy"}, Params: []uint32{1}, Args: []Arg{In(1), Out(0)}, Rows: 1}}
	},
	Ref: func(_ *Node, in, out [][]float64) {
		for i, x := range in[0] {
			out[0][i] = x + in[1][i]
		}
	},
}

// A slab and its parts share their values: what one of them is given, the others have.
func TestSlabsShareTheirPartsValues(t *testing.T) {
	a, b := four("a"), four("b")
	slab := slabOf(a, b)
	g := New()
	before := g.Add(g.State(a), g.State(b))
	g.Update(increment, nil, []*State{slab}, g.Fill(10, 128))
	between := g.Add(g.State(a), g.State(b))
	g.Assign(a, g.Fill(7, 4))
	after := g.Add(g.State(slab), g.Fill(0, 128))
	state := map[*State][]float64{a: {1, 2, 3, 4}, b: {5, 6, 7, 8}}
	got, err := g.Eval(nil, state, before, between, after)
	require.NoError(t, err)
	assert.Equal(t, []float64{6, 8, 10, 12}, got[0])
	assert.Equal(t, []float64{26, 28, 30, 32}, got[1])
	assert.Equal(t, []float64{7, 7, 7, 7}, got[2][:4])
	assert.Equal(t, []float64{15, 16, 17, 18}, got[2][64:68])
	assert.Equal(t, map[*State][]float64{a: {7, 7, 7, 7}, b: {15, 16, 17, 18}}, state)

	p, err := g.Build(before, between)
	require.NoError(t, err)
	assert.ElementsMatch(t, []*State{a, b, slab}, p.States, "a slab's parts are there, too")
	assert.Equal(t, []string{"add", "increment", "add", "assign"}, slices.DeleteFunc(ops(p), func(op string) bool { return op == "fill" }))
	assert.Contains(t, p.String(), "slab f32[128] holding 2 states")
}

func ops(p *Program) []string {
	var names []string
	for _, s := range p.Steps {
		names = append(names, s.Op)
	}
	return names
}

func TestHandlesOfSlabsGoStaleWithTheirParts(t *testing.T) {
	for name, change := range map[string]func(g *Graph, a, slab *State) Tensor{
		"the part, after the slab": func(g *Graph, a, slab *State) Tensor {
			old := g.State(a)
			g.Update(increment, nil, []*State{slab}, g.Fill(1, 64))
			return g.Add(old, old)
		},
		"the slab, after the part": func(g *Graph, a, slab *State) Tensor {
			old := g.State(slab)
			g.Assign(a, g.Fill(1, 4))
			return g.Add(old, old)
		},
	} {
		a := four("a")
		g := New()
		_, err := g.Build(change(g, a, slabOf(a)))
		require.ErrorContains(t, err, "as it was before it was assigned", name)
	}
}

// twice makes its output and then reads it.
var twice = &Op{
	Name:  "twice",
	Infer: func(n *Node) ([]Spec, error) { return []Spec{n.In[0].Spec(), n.In[0].Spec()}, nil },
	Lower: func(n *Node) []Launch {
		k := shaders.Variant{File: "copy"}
		return []Launch{
			{Kernel: k, Params: []uint32{4}, Args: []Arg{In(0), Out(0)}, Rows: 4},
			{Kernel: k, Params: []uint32{4}, Args: []Arg{Out(0), Out(1)}, Rows: 4},
		}
	},
}

func TestJoinedTensorsAreMadeInPlace(t *testing.T) {
	copies := func(record func(g *Graph, x Tensor) (a, b Tensor, outs []Tensor)) int {
		g := New()
		a, b, outs := record(g, vector(g, "x"))
		joined := g.Join(slabOf(four("a"), four("b")), a, b)
		p, err := g.Build(append(outs, g.Add(joined, joined))...)
		require.NoError(t, err)
		n := 0
		for _, op := range ops(p) {
			if op == "join" {
				n++
			}
		}
		return n
	}
	fill := func(g *Graph) Tensor { return g.Fill(1, 4) }
	for name, c := range map[string]struct {
		copies int
		record func(g *Graph, x Tensor) (a, b Tensor, outs []Tensor)
	}{
		"both": {0, func(g *Graph, x Tensor) (Tensor, Tensor, []Tensor) { return g.Add(x, x), fill(g), nil }},
		"another shape": {0, func(g *Graph, x Tensor) (Tensor, Tensor, []Tensor) {
			return g.Reshape(g.Fill(1, 2, 2), 4), fill(g), nil
		}},
		"an input":  {1, func(g *Graph, x Tensor) (Tensor, Tensor, []Tensor) { return x, fill(g), nil }},
		"a state":   {1, func(g *Graph, x Tensor) (Tensor, Tensor, []Tensor) { return g.State(four("s")), fill(g), nil }},
		"twice":     {2, func(g *Graph, x Tensor) (Tensor, Tensor, []Tensor) { y := fill(g); return y, y, nil }},
		"an output": {1, func(g *Graph, x Tensor) (Tensor, Tensor, []Tensor) { y := fill(g); return y, fill(g), []Tensor{y} }},
		"read too":  {1, func(g *Graph, x Tensor) (Tensor, Tensor, []Tensor) { y := fill(g); return y, g.Add(y, x), nil }},
		"its reader": {1, func(g *Graph, x Tensor) (Tensor, Tensor, []Tensor) {
			y := g.Apply(twice, nil, x)
			return y[0], y[1], nil
		}},
		"guarded": {2, func(g *Graph, x Tensor) (Tensor, Tensor, []Tensor) { g.Guard = 256; return g.Add(x, x), fill(g), nil }},
	} {
		assert.Equal(t, c.copies, copies(c.record), name)
	}
}

// TestJoinsInRandomGraphs replays programs of adds and joins in their own memory.
func TestJoinsInRandomGraphs(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		g := New()
		pool := []Tensor{vector(g, "x"), g.Fill(2, 4)}
		var outs []Tensor
		for range 8 {
			var parts []Tensor
			var states []*State
			for range 1 + rng.IntN(4) {
				for range rng.IntN(4) {
					pool = append(pool, g.Add(pool[rng.IntN(len(pool))], pool[len(pool)-1]))
				}
				part := pool[rng.IntN(len(pool))]
				if rng.IntN(3) > 0 {
					part = g.Add(part, pool[len(pool)-1])
				}
				parts, states = append(parts, part), append(states, four("p"))
			}
			joined := g.Join(slabOf(states...), parts...)
			outs = append(outs, g.Add(joined, joined))
		}
		p, err := g.Build(outs...)
		require.NoError(t, err)
		inputs := map[string][]float64{"x": {1, 2, 3, 5}}
		want, err := g.Eval(inputs, nil, outs...)
		require.NoError(t, err)
		got := replayAdds(p, inputs)
		for i := range outs {
			for at := 0; at < len(want[i]); at += 64 { // between the parts anything may be
				require.Equal(t, want[i][at:at+4], got[i][at:at+4])
			}
		}
	}
}

// replayAdds runs fills, adds and joins.
func replayAdds(p *Program, inputs map[string][]float64) [][]float64 {
	var memory [][]float64
	for _, n := range slices.Concat(p.Arena, p.Kept) {
		memory = append(memory, make([]float64, n/4))
	}
	at := func(s Slot) []float64 {
		if s.Space == SpaceInput {
			return inputs[p.Inputs[s.Index].Name]
		}
		index := s.Index
		if s.Space == SpaceKept {
			index += len(p.Arena)
		}
		return memory[index][s.Offset/4 : (s.Offset+s.Bytes)/4]
	}
	for _, s := range p.Steps {
		y := at(s.Slots[len(s.Slots)-1])
		switch s.Op {
		case "fill":
			for i := range y {
				y[i] = 2
			}
		case "add":
			a, b := at(s.Slots[0]), at(s.Slots[1])
			for i := range y {
				y[i] = a[i] + b[i]
			}
		case "join":
			copy(y[s.Params[6]:], at(s.Slots[0]))
		}
	}
	var outs [][]float64
	for _, o := range p.Outputs {
		outs = append(outs, at(o.Slots[0]))
	}
	return outs
}

// An output is read at the end of a run, so it cannot be what a state was before.
func TestOutputsAreNotStale(t *testing.T) {
	s := four("s")
	g := New()
	before := g.State(s)
	g.Assign(s, g.Fill(1, 4))
	_, err := g.Build(before)
	require.ErrorContains(t, err, "output 0 is state s as it was before it was assigned")
	_, err = g.Build(g.State(s))
	require.NoError(t, err)
}
