package graph

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// onceCases record an output and say how many steps run once, and how many there are.
func onceCases() map[string]onceCase {
	s, other := four("s"), four("other")
	slab := slabOf(s, four("neighbour"))
	return map[string]onceCase{
		"of a state": {func(g *Graph) Tensor {
			x := g.State(s)
			return g.Add(g.Input("x", Shape{4}, F32), g.Add(x, x))
		}, 1, 2},
		"a chain, all of it the output": {func(g *Graph) Tensor {
			x := g.Add(g.State(s), g.State(other))
			return g.Add(x, g.State(s))
		}, 2, 2},
		"through reshapes": {func(g *Graph) Tensor {
			x := g.Reshape(g.State(s), 2, 2)
			return g.Add(g.Input("x", Shape{4}, F32), g.Reshape(g.Add(x, x), 4))
		}, 1, 2},
		"behind what depends on an input": {func(g *Graph) Tensor {
			x := g.Add(g.State(s), g.Input("x", Shape{4}, F32))
			return g.Add(x, g.Add(g.State(s), g.State(other)))
		}, 1, 3},
		"nothing of an input": {func(g *Graph) Tensor {
			x := g.Input("x", Shape{4}, F32)
			return g.Add(g.Add(x, x), g.State(s))
		}, 0, 2},
		"nothing without a reader": {func(g *Graph) Tensor {
			x := g.Input("x", Shape{4}, F32)
			g.Add(g.State(s), g.State(s))
			return g.Add(x, x)
		}, 0, 1},
		"nothing of a state that is assigned": {func(g *Graph) Tensor {
			x := g.Add(g.State(s), g.State(s))
			y := g.Add(x, g.Input("x", Shape{4}, F32))
			g.Assign(s, y)
			return y
		}, 0, 3},
		"not what is assigned to another": {func(g *Graph) Tensor {
			g.Assign(other, g.Add(g.State(s), g.State(s)))
			return g.Add(g.State(s), g.Input("x", Shape{4}, F32))
		}, 1, 3},
		"nothing of a state in a slab that is assigned": {func(g *Graph) Tensor {
			x := g.Add(g.State(s), g.State(s))
			g.Assign(slab, g.Input("x", slab.Shape, F32))
			return x
		}, 0, 2},
		"nothing that takes more room": {func(g *Graph) Tensor {
			return g.Add(g.Input("x", Shape{1000}, F32), g.Fill(2, 1000))
		}, 0, 2},
	}
}

type onceCase struct {
	record func(g *Graph) Tensor
	once   int
	steps  int
}

// What States alone decide is computed once.
func TestOnce(t *testing.T) {
	for name, c := range onceCases() {
		t.Run(name, func(t *testing.T) {
			g := New()
			p, err := g.Build(c.record(g))
			require.NoError(t, err)
			assert.Equal(t, []int{c.once, c.steps}, []int{p.Once, len(p.Steps)}, "%v", p)
			assert.Equal(t, c.once > 0, strings.Contains(p.String(), "once:\n"))
			assert.Equal(t, c.once > 0, len(p.Kept) > 0)
			for i, st := range p.Steps {
				assert.Equal(t, i < c.once, st.Slots[len(st.Slots)-1].Space == SpaceKept, "step %d", i)
			}
		})
	}
}

// Where every op is looked at, or no plan is wanted, all steps run in the tape's order.
func TestOnceIsOffWithTheSwitches(t *testing.T) {
	for _, value := range []string{"check=nan", "check=ops", "dump=layer", "plan=off"} {
		t.Setenv("CLIPWGPU", value)
		g := New()
		x := g.Add(g.State(four("s")), g.State(four("t")))
		p, err := g.Build(g.Add(x, g.Input("x", Shape{4}, F32)))
		require.NoError(t, err)
		assert.Zero(t, p.Once, value)
		assert.Empty(t, p.Kept, value)
	}
}

// Runs find what the first one kept, and in the arena whatever others left there.
func TestLaterRunsReadWhatIsKept(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	once := 0
	for range 200 {
		g := New()
		states := []*State{four("a"), four("b"), four("c")}
		values := map[*State][]float64{}
		pool := []Tensor{g.Input("x", Shape{4}, F32)}
		for i, s := range states {
			values[s] = []float64{float64(i), 2, 3, 4}
			pool = append(pool, g.State(s))
		}
		for range 20 {
			pool = append(pool, g.Add(pool[rng.IntN(len(pool))], pool[rng.IntN(len(pool))]))
		}
		outs := []Tensor{pool[len(pool)-1], pool[4+rng.IntN(20)], pool[4+rng.IntN(20)]}
		p, err := g.Build(outs...)
		require.NoError(t, err)
		once += p.Once
		m := newMemory(p, values)
		for run, first := range []int{0, p.Once, p.Once} {
			x := []float64{float64(run), 5, 6, 7}
			m.run(first, x)
			want, err := g.Eval(map[string][]float64{"x": x}, values, outs...)
			require.NoError(t, err)
			for i, o := range p.Outputs {
				require.Equal(t, want[i], m.at(o.Slots[0]), "%v", p)
			}
		}
	}
	assert.Greater(t, once, 200)
}

// memory is where a program of adds works.
type memory struct {
	p     *Program
	space map[Space][][]float64
}

func newMemory(p *Program, values map[*State][]float64) memory {
	m := memory{p, map[Space][][]float64{SpaceInput: {nil}}}
	for _, s := range p.States {
		m.space[SpaceState] = append(m.space[SpaceState], values[s])
	}
	for _, n := range p.Arena {
		m.space[SpaceArena] = append(m.space[SpaceArena], make([]float64, n/4))
	}
	for _, n := range p.Kept {
		m.space[SpaceKept] = append(m.space[SpaceKept], make([]float64, n/4))
	}
	return m
}

func (m memory) at(s Slot) []float64 { return m.space[s.Space][s.Index][s.Offset/4:][:s.Bytes/4] }

// run replays the steps from first on. The arena holds NaN before.
func (m memory) run(first int, x []float64) {
	m.space[SpaceInput][0] = x
	for _, arena := range m.space[SpaceArena] {
		for i := range arena {
			arena[i] = math.NaN()
		}
	}
	for _, st := range m.p.Steps[first:] {
		a, b, y := m.at(st.Slots[0]), m.at(st.Slots[1]), m.at(st.Slots[2])
		for i := range y {
			y[i] = a[i] + b[i]
		}
	}
}
