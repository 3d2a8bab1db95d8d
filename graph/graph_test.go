package graph

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/clip-wgpu/clip-wgpu/shaders"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func vector(g *Graph, name string) Tensor { return g.Input(name, Shape{4}, F32) }

func TestBuildPrunesWhatNobodyReads(t *testing.T) {
	g := New()
	x := vector(g, "x")
	g.Add(x, g.Fill(1, 4))
	p, err := g.Build(g.Add(x, x))
	require.NoError(t, err)
	assert.Len(t, p.Steps, 1)
	assert.Equal(t, "add", p.Steps[0].Op)
}

// A tensor has its buffer to itself from the step that writes it to the last
// that reads it.
func TestActivationsNeverOverlap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		g := New()
		pool := []Tensor{vector(g, "x"), g.Input("wide", Shape{1000}, F32)}
		for range 30 {
			a := pool[rng.IntN(len(pool))]
			b := a
			for _, c := range pool {
				if c.Dim(0) == a.Dim(0) && rng.IntN(2) == 0 {
					b = c
				}
			}
			if rng.IntN(5) == 0 {
				b = g.Reshape(g.Reshape(b, 1, b.Dim(0)), b.Dim(0))
			}
			pool = append(pool, g.Add(a, b))
		}
		outs := []Tensor{pool[len(pool)-1], pool[rng.IntN(len(pool))], pool[rng.IntN(len(pool))]}
		p, err := g.Build(outs...)
		require.NoError(t, err)
		checkByReplay(t, g, p, outs, fmt.Sprint("round ", round))
	}
}

// checkByReplay runs a program of adds in its own memory, a float for every 4
// bytes, and compares the outputs with Eval's.
func checkByReplay(t *testing.T, g *Graph, p *Program, outs []Tensor, name string) {
	t.Helper()
	value := map[string]float64{"x": 3, "wide": 5}
	inputs := map[string][]float64{}
	memory := map[Slot][]float64{} // by space and index
	at := func(s Slot) []float64 {
		return memory[Slot{Space: s.Space, Index: s.Index}][s.Offset/4 : (s.Offset+s.Bytes)/4]
	}
	for _, in := range p.Inputs {
		v := make([]float64, in.Shape.Elems())
		for i := range v {
			v[i] = value[in.Name]
		}
		inputs[in.Name], memory[Slot{Space: SpaceInput, Index: in.Slots[0].Index}] = v, v
	}
	for i, n := range p.Arena {
		memory[Slot{Space: SpaceArena, Index: i}] = make([]float64, n/4)
	}
	for _, s := range p.Steps {
		a, b, y := s.Slots[0], s.Slots[1], s.Slots[2]
		for _, x := range []Slot{a, b} {
			require.False(t, x.Space == y.Space && x.Index == y.Index, "%s: reads and writes one buffer", name)
		}
		for i := range at(y) {
			at(y)[i] = at(a)[i] + at(b)[i]
		}
	}
	want, err := g.Eval(inputs, nil, outs...)
	require.NoError(t, err)
	for i, o := range p.Outputs {
		require.Equal(t, want[i], at(o.Slots[0]), name)
	}
}

// The bound is recomputed from what each step of a program of adds makes: an
// activation lives from the step that writes its place to the last that reads
// it before another writes there.
func TestArenaIsCloseToItsBound(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		g := New()
		x := []Tensor{g.Input("a", Shape{1000}, F32), g.Input("b", Shape{1000}, F32)}
		for range 60 {
			i := max(0, len(x)-1-rng.IntN(6))
			x = append(x, g.Add(x[len(x)-1], x[i]))
		}
		p, err := g.Build(x[len(x)-1])
		require.NoError(t, err)
		bound := recomputeBound(p)
		assert.Equal(t, bound, p.ArenaBound)
		assert.LessOrEqual(t, float64(p.ArenaBytes()), 1.1*float64(bound))
	}
}

func recomputeBound(p *Program) (bound int64) {
	type life struct{ first, last int }
	lives := map[int][]life{} // by arena
	sizes := map[int][]int64{}
	open := map[Slot]int{}
	for s, step := range append(slices.Clone(p.Steps), Step{}) {
		slots := step.Slots
		if s == len(p.Steps) { // the outputs are read at the end
			for _, o := range p.Outputs {
				slots = append(slots, o.Slots...)
			}
		}
		for i, slot := range slots {
			switch {
			case slot.Space != SpaceArena:
			case s < len(p.Steps) && i == len(slots)-1:
				open[slot] = len(lives[slot.Index])
				lives[slot.Index] = append(lives[slot.Index], life{s, s})
				sizes[slot.Index] = append(sizes[slot.Index], (slot.Bytes+255)/256*256)
			default:
				lives[slot.Index][open[slot]].last = s
			}
		}
	}
	for arena, list := range lives {
		var most int64
		for s := range len(p.Steps) + 1 {
			var alive int64
			for i, l := range list {
				if l.first <= s && s <= l.last {
					alive += sizes[arena][i]
				}
			}
			most = max(most, alive)
		}
		bound += most
	}
	return bound
}

// pairOp stands for two adds: c + (a + b).
var pairOp = &Op{
	Name: "pair",
	Lower: func(n *Node) []Launch {
		return []Launch{{Kernel: shaders.Variant{File: "fill"}, Params: []uint32{1, 0}, Args: []Arg{Out(0)}, Rows: 1}}
	},
}

func TestFuseTakesInTheOnlyReader(t *testing.T) {
	first := *addOp
	first.Name = "first"
	first.Fuse = func(n, user *Node) *Node {
		if user.Op != addOp {
			return nil
		}
		return &Node{Op: pairOp, In: append(slices.Clone(n.In), user.In[1]), Out: user.Out}
	}
	names := func(outs ...Tensor) (ops []string) {
		p, err := outs[0].node.g.Build(outs...)
		require.NoError(t, err)
		for _, s := range p.Steps {
			ops = append(ops, s.Op)
		}
		return ops
	}
	record := func() (g *Graph, x, a, b Tensor) {
		g = New()
		x = vector(g, "x")
		a = g.Apply(&first, nil, x, x)[0]
		return g, x, a, g.Add(a, x)
	}
	g, _, a, b := record()
	assert.Equal(t, []string{"pair"}, names(b))
	assert.Equal(t, []string{"first", "add"}, names(b, a), "an output is made as it is")
	assert.Equal(t, []string{"pair", "add"}, names(g.Add(b, b)))
	g, _, a, b = record()
	assert.Equal(t, []string{"first", "add", "add"}, names(g.Add(a, b)), "two read it")
	g, x, a, _ := record()
	s := &State{Name: "s", Spec: Spec{Shape{4}, F32}}
	g.Assign(s, x)
	assert.Equal(t, []string{"first", "assign", "add"}, names(g.Add(a, x)), "it does not move past an assign")
}

// twoOp has two outputs; Fuse takes an addition to the first into a node like it.
var twoOp = &Op{
	Name:  "two",
	Infer: func(n *Node) ([]Spec, error) { return []Spec{n.In[0].Spec(), n.In[0].Spec()}, nil },
	Lower: func(n *Node) []Launch {
		k := shaders.Variant{File: "copy"}
		return []Launch{
			{Kernel: k, Params: []uint32{4}, Args: []Arg{In(0), Out(0)}, Rows: 4},
			{Kernel: k, Params: []uint32{4}, Args: []Arg{In(0), Out(1)}, Rows: 4},
		}
	},
	Fuse: func(n, user *Node) *Node {
		if user.Op != addOp {
			return nil
		}
		return &Node{Op: n.Op, In: append(slices.Clone(n.In), user.In[1]), Out: n.Out}
	},
}

// What else a node makes is read where it ends up, unless that is too late.
func TestFuseKeepsTheOtherOutputs(t *testing.T) {
	names := func(p *Program, err error) []string {
		require.NoError(t, err)
		return ops(p)
	}
	g := New()
	x := vector(g, "x")
	two := g.Apply(twoOp, nil, x)
	sum := g.Add(two[0], x)
	p, err := g.Build(sum, g.Add(two[1], x), two[1])
	assert.Equal(t, []string{"two", "two", "add"}, names(p, err))
	assert.Equal(t, p.Steps[1].Slots[1], p.Steps[2].Slots[0])
	assert.Equal(t, p.Steps[1].Slots[1], p.Outputs[2].Slots[0])

	g = New()
	x = vector(g, "x")
	two = g.Apply(twoOp, nil, x)
	before := g.Add(two[1], x)
	p, err = g.Build(g.Add(two[0], before), before)
	assert.Equal(t, []string{"two", "two", "add", "add"}, names(p, err))
}

func TestAssignIsAnEffect(t *testing.T) {
	g := New()
	s := &State{Name: "s", Spec: Spec{Shape{4}, F32}}
	before := g.Add(g.State(s), g.State(s))
	g.Assign(s, vector(g, "x"))
	after := g.Add(g.State(s), g.State(s))
	state := map[*State][]float64{s: {1, 1, 1, 1}}
	got, err := g.Eval(map[string][]float64{"x": {5, 5, 5, 5}}, state, before, after)
	require.NoError(t, err)
	assert.Equal(t, 2.0, got[0][0])
	assert.Equal(t, 10.0, got[1][0])
	assert.Equal(t, 5.0, state[s][0])
	p, err := g.Build(before)
	require.NoError(t, err)
	assert.Equal(t, []string{"add", "assign"}, []string{p.Steps[0].Op, p.Steps[1].Op}, "the assign is kept, after the read before it")
}

func TestStaleStateIsRefused(t *testing.T) {
	g := New()
	s := &State{Name: "moment", Spec: Spec{Shape{4}, F32}}
	old := g.State(s)
	g.Assign(s, vector(g, "x"))
	_, err := g.Build(g.Add(old, old))
	assert.ErrorContains(t, err, "moment")
}

func TestGradSumsOverUses(t *testing.T) {
	g := New()
	p := &Param{State: State{Name: "p", Spec: Spec{Shape{1}, F32}}}
	unused := &Param{State: State{Name: "unused", Spec: Spec{Shape{2}, F32}}}
	x := g.Param(p)
	loss := g.Add(g.Add(x, g.Reshape(x, 1)), x)
	grads := g.Grad(loss, g.Param(p), g.Param(unused))
	got, err := g.Eval(nil, map[*State][]float64{&p.State: {7}, &unused.State: {1, 2}}, grads...)
	require.NoError(t, err)
	assert.Equal(t, []float64{3}, got[0])
	assert.Equal(t, []float64{0, 0}, got[1])
}

func TestMisuseIsReportedOnceByBuild(t *testing.T) {
	g := New()
	end := g.Scope("visual")
	bad := g.Add(vector(g, "x"), g.Input("y", Shape{5}, F32))
	end()
	out := g.Reshape(g.Add(bad, bad), 2, 2)
	assert.Equal(t, 1, out.Dim(7), "shapes of what follows a mistake can be asked for")
	_, err := g.Build(out)
	assert.ErrorContains(t, err, "visual")
	assert.ErrorContains(t, err, "f32[4] + f32[5]")

	g = New()
	_, err = g.Build(New().Fill(1, 4))
	assert.ErrorContains(t, err, "graph")
	g.Add(New().Fill(1, 4), New().Fill(1, 4))
	assert.ErrorContains(t, g.Err(), "another graph")
	g = New()
	g.Input("x", Shape{0}, F32)
	assert.ErrorContains(t, g.Err(), "empty dimension")
	g = New()
	vector(g, "x")
	vector(g, "x")
	assert.ErrorContains(t, g.Err(), "twice")
}

func TestManyWorkgroupsAreFolded(t *testing.T) {
	g := New()
	p, err := g.Build(g.Fill(1, 1<<25))
	require.NoError(t, err)
	assert.Equal(t, [2]uint32{fold, 128}, p.Steps[0].Groups)
	assert.Equal(t, fold, p.Steps[0].Kernel.Consts["FOLD"])
}

func TestModuleTapsItsResult(t *testing.T) {
	g := New()
	end := g.Scope("visual")
	y := g.Module("ln_pre", func() Tensor { return vector(g, "x") })
	end()
	got, ok := g.Tapped("visual.ln_pre")
	assert.True(t, ok)
	assert.Equal(t, y, got)
}

func TestListing(t *testing.T) {
	g := New()
	x := vector(g, "x")
	end := g.Scope("tower")
	y := g.Add(x, x)
	end()
	p, err := g.Build(y)
	require.NoError(t, err)
	assert.Equal(t, `1 steps, 1 activation buffers of 256 bytes, 0 states
i0 = x f32[4]
   0 binary OP=0                                  i0 i0 a0                        1×1  tower.add
output 0 = a0 f32[4]
`, p.String())
}
