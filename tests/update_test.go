package tests

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/ops"
	"github.com/clip-wgpu/clip-wgpu/train"
)

// optimizers are settings of every rule, which the tables of Update try.
var optimizers = map[string]train.Optimizer{
	"adamw":        train.AdamW{LR: 1e-3, Beta1: 0.9, Beta2: 0.98, Eps: 1e-6, WeightDecay: 0.2},
	"sgd":          train.SGD{LR: 1e-2, WeightDecay: 0.3},
	"sgd momentum": train.SGD{LR: 1e-2, Momentum: 0.9, Dampening: 0.25, WeightDecay: 0.3},
	"sgd nesterov": train.SGD{LR: 1e-2, Momentum: 0.9, Nesterov: true},
}

// member is a parameter in a slab.
type member struct {
	shape      graph.Shape
	layout     packing.Format
	transposed bool
	frozen     bool
	decays     bool
	slow       float64 // what the learning rate is divided by; 0 is 1
}

// slabs are what one dispatch updates, by what is odd about it.
var slabs = map[string][]member{
	"one element":   {{shape: graph.Shape{}}},
	"63":            {{shape: graph.Shape{63}, decays: true}},
	"197":           {{shape: graph.Shape{197}, slow: 3}},
	"packed":        {{shape: graph.Shape{7, 301}, layout: packing.F32, decays: true}},
	"transposed":    {{shape: graph.Shape{7, 301}, layout: packing.F32, transposed: true, decays: true}},
	"partial panel": {{shape: graph.Shape{70, 5, 3}, layout: packing.F32}},
	"side by side": {
		{shape: graph.Shape{301, 7}, layout: packing.F32, transposed: true, decays: true},
		{shape: graph.Shape{257}, frozen: true},
		{shape: graph.Shape{}},
		{shape: graph.Shape{33, 9}, layout: packing.F32, slow: 2},
		{shape: graph.Shape{33, 9}, layout: packing.F32, frozen: true},
		{shape: graph.Shape{3, 256}, decays: true, slow: 0.5},
		{shape: graph.Shape{1}},
	},
}

// TestUpdate compares the rules' kernels with their reference over three steps,
// parameters and moments after each, frozen parameters too. Nothing changes in the last.
func TestUpdate(t *testing.T) {
	for rule, o := range optimizers {
		for name, members := range slabs {
			t.Run(rule+", "+name, func(t *testing.T) { newUpdateRun(t, o, members).check(t, o, []float64{1, 0.5, 0}) })
		}
	}
}

// TestAverage does the same for moving averages.
func TestAverage(t *testing.T) {
	for name, members := range slabs {
		t.Run(name, func(t *testing.T) {
			r := newSlabRun(members)
			factor, records := r.input("factor", graph.F32, 1), r.recordsInput()
			ops.Average(r.g, r.moment("ema"), r.home, 0.1, records, factor)
			r.check(t, nil, []float64{1, 0.5, 0})
		})
	}
}

// updateRun is a slab with its program.
type updateRun struct {
	g            *graph.Graph
	all, trained []*graph.State
	home, like   *graph.State
	states       []*graph.State // parameters, then moments
	inputs       map[string][]float64
	values       map[*graph.State][]float64
	rng          *rand.Rand
	records      []int32
}

// newSlabRun is a slab of members without a program.
func newSlabRun(members []member) *updateRun {
	r := &updateRun{g: graph.New(), inputs: map[string][]float64{}, values: map[*graph.State][]float64{}, rng: rand.New(rand.NewPCG(1, 2))}
	for i, m := range members {
		p := &graph.Param{
			State:  graph.State{Name: fmt.Sprint("p", i), Spec: graph.Spec{Shape: m.shape}, Format: m.layout, Transposed: m.transposed},
			Source: memory(r.random(m.shape.Elems())),
		}
		r.g.Param(p)
		r.values[&p.State] = p.Source.(memory)
		r.all = append(r.all, &p.State)
		if !m.frozen {
			r.trained = append(r.trained, &p.State)
		}
	}
	r.states = slices.Clone(r.all)
	r.home, r.like = sideBySide("home", r.all), sideBySide("trained", r.trained)
	var rows [][]int32
	for i, p := range r.trained {
		m := members[slices.Index(r.all, p)]
		rate := 1.0
		if m.slow != 0 {
			rate = 1 / m.slow
		}
		rows = append(rows, ops.Record(p, r.like.Offsets[i], r.home.Offsets[slices.Index(r.all, p)], m.decays, rate))
	}
	r.records = ops.Records(r.like.Shape.Elems(), rows...)
	return r
}

func (r *updateRun) input(name string, element graph.Element, shape ...int) graph.Tensor {
	return r.g.Input(name, shape, element)
}

// recordsInput declares and gives the records.
func (r *updateRun) recordsInput() graph.Tensor {
	for _, v := range r.records {
		r.inputs["records"] = append(r.inputs["records"], float64(v))
	}
	return r.input("records", graph.I32, len(r.records))
}

// moment makes a slab of moments.
func (r *updateRun) moment(name string) *graph.State {
	var parts []*graph.State
	for _, p := range r.trained {
		s := *p
		s.Name = name + "." + p.Name
		parts = append(parts, &s)
		r.values[&s] = make([]float64, s.Shape.Elems())
	}
	r.states = append(r.states, parts...)
	return sideBySide(name, parts)
}

// gradient declares gradients, which are new in every step.
func (r *updateRun) gradient() graph.Tensor {
	var grads []graph.Tensor
	for i, p := range r.trained {
		grads = append(grads, r.input(fmt.Sprint("grad", i), graph.F32, p.Shape...))
	}
	return r.g.Join(r.like, grads...)
}

func newUpdateRun(t *testing.T, o train.Optimizer, members []member) *updateRun {
	t.Helper()
	r := newSlabRun(members)
	var moments []*graph.State
	for _, name := range o.Rule().Moments {
		moments = append(moments, r.moment(name))
	}
	settings, factor := r.input("settings", graph.F32, len(o.Rule().Settings)), r.input("factor", graph.F32, 1)
	ops.Update(r.g, o.Rule(), r.home, moments, r.gradient(), factor, r.recordsInput(), settings)
	require.NoError(t, r.g.Err())
	return r
}

// sideBySide is a slab.
func sideBySide(name string, parts []*graph.State) *graph.State {
	s := &graph.State{Name: name, Parts: parts}
	end := int64(0)
	for _, p := range parts {
		s.Offsets = append(s.Offsets, end)
		end += (p.Bytes() + ops.SlabAlign - 1) / ops.SlabAlign * ops.SlabAlign
	}
	s.Shape = graph.Shape{int(end / 4)}
	return s
}

// random are n numbers that float32 holds.
func (r *updateRun) random(n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = float64(float32(r.rng.Float64()*2 - 1))
	}
	return v
}

// check makes a step for each of factors. o may be nil.
func (r *updateRun) check(t *testing.T, o train.Optimizer, factors []float64) {
	d, err := device()
	require.NoError(t, err)
	prog, err := r.g.Build()
	require.NoError(t, err)
	store := d.NewStore()
	defer store.Close()
	session, err := d.Load(prog, store)
	require.NoError(t, err)
	defer session.Close()
	for step, factor := range factors {
		r.inputs["factor"], r.inputs["settings"] = []float64{factor}, nil
		if o != nil {
			named, err := o.Settings(step + 1)
			require.NoError(t, err)
			for _, name := range o.Rule().Settings {
				r.inputs["settings"] = append(r.inputs["settings"], float64(float32(named[name])))
			}
		}
		feed := map[string]any{}
		for _, in := range prog.Inputs {
			if _, ok := r.inputs[in.Name]; !ok || in.Name[0] == 'g' {
				r.inputs[in.Name] = r.random(in.Shape.Elems())
			}
			feed[in.Name] = narrow(in.Element, r.inputs[in.Name])
		}
		_, err = r.g.Eval(r.inputs, r.values)
		require.NoError(t, err)
		require.NoError(t, session.Run(t.Context(), gpu.IO{Inputs: feed}))
		for _, s := range r.states {
			got := make([]float32, s.Shape.Elems())
			require.NoError(t, store.Read(t.Context(), s, got))
			closeRows(t, fmt.Sprintf("step %d: %s", step+1, s.Name), graph.Shape{len(got)}, r.values[s], got, tolUlp)
			for i, v := range got { // the next step begins with what the device has
				require.False(t, math.IsNaN(float64(v)))
				r.values[s][i] = float64(v)
			}
		}
	}
}

// TestAccumulate adds to a State where it lies, run after run.
func TestAccumulate(t *testing.T) {
	for _, n := range []int{1, 63, 257, 70001} {
		g := graph.New()
		sum := &graph.State{Name: "sum", Spec: graph.Spec{Shape: graph.Shape{n}}}
		ops.Accumulate(g, sum, g.Input("x", sum.Shape, graph.F32))
		prog, err := g.Build()
		require.NoError(t, err)
		d, err := device()
		require.NoError(t, err)
		store := d.NewStore()
		session, err := d.Load(prog, store)
		require.NoError(t, err)
		r := updateRun{rng: rand.New(rand.NewPCG(1, 2))}
		values := map[*graph.State][]float64{sum: make([]float64, n)}
		for range 3 {
			x := r.random(n)
			_, err := g.Eval(map[string][]float64{"x": x}, values)
			require.NoError(t, err)
			require.NoError(t, session.Run(t.Context(), gpu.IO{Inputs: map[string]any{"x": narrow(graph.F32, x)}}))
		}
		got := make([]float32, n)
		require.NoError(t, store.Read(t.Context(), sum, got))
		closeRows(t, "sum", graph.Shape{n}, values[sum], got, tolUlp)
		require.NoError(t, session.Close())
		require.NoError(t, store.Close())
	}
	g := graph.New()
	ops.Accumulate(g, &graph.State{Name: "sum", Spec: graph.Spec{Shape: graph.Shape{4}}}, g.Input("x", graph.Shape{5}, graph.F32))
	require.ErrorContains(t, g.Err(), "accumulate: f32[4], f32[5]")
}
