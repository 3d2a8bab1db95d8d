package ops

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
)

// descent is a rule without the kernel that it names.
var descent = Rule{
	Kernel: "none", Moments: []string{"sum"}, Settings: []string{"lr", "decay"},
	Ref: func(s []float64, decays bool, w, grad float64, moments []float64) float64 {
		moments[0] += grad
		if decays {
			w *= 1 - s[1]
		}
		return w - s[0]*moments[0]
	},
}

// Records say where the elements of moments and gradients have their parameters.
func TestUpdateOfPartOfASlab(t *testing.T) {
	a, b := &graph.State{Name: "a", Spec: graph.Spec{Shape: graph.Shape{3}}}, &graph.State{Name: "b", Spec: graph.Spec{Shape: graph.Shape{2}}}
	home := &graph.State{Name: "home", Spec: graph.Spec{Shape: graph.Shape{512}}, Parts: []*graph.State{a, b}, Offsets: []int64{0, SlabAlign}}
	sum := &graph.State{Name: "sum", Spec: b.Spec}
	g := graph.New()
	in := func(name string, dtype graph.Element, shape ...int) graph.Tensor { return g.Input(name, shape, dtype) }
	Update(g, &descent, home, []*graph.State{sum}, in("grad", graph.F32, 2), in("factor", graph.F32, 1), in("records", graph.I32, 10), in("settings", graph.F32, 2))
	var records []float64
	for _, v := range Records(2, Record(b, 0, SlabAlign, true, 0.5)) {
		records = append(records, float64(v))
	}
	state := map[*graph.State][]float64{a: {1, 2, 3}, b: {4, 5}, sum: {10, 20}}
	_, err := g.Eval(map[string][]float64{"grad": {2, 4}, "factor": {0.5}, "records": records, "settings": {1, 0.25}}, state)
	require.NoError(t, err)
	assert.Equal(t, map[*graph.State][]float64{a: {1, 2, 3}, b: {3 - 5.5, 3.75 - 11}, sum: {11, 22}}, state)
}

func TestUpdateMisuse(t *testing.T) {
	state := func(n int) *graph.State {
		return &graph.State{Name: "w", Spec: graph.Spec{Shape: graph.Shape{n}}}
	}
	packed := func(l packing.Format) *graph.State {
		return &graph.State{Name: "w", Spec: graph.Spec{Shape: graph.Shape{4, 4}}, Format: l}
	}
	slab := &graph.State{Name: "slab", Spec: graph.Spec{Shape: graph.Shape{16}}, Parts: []*graph.State{packed(packing.F16)}, Offsets: []int64{0}}
	for name, c := range map[string]struct {
		w                     *graph.State
		moment, grad, records int
		settings, factor      int
		want                  []string
	}{
		"moments":  {state(7), 8, 7, 10, 2, 1, []string{"update", "f32[7]", "f32[8]"}},
		"gradient": {state(7), 7, 6, 10, 2, 1, []string{"update", "f32[7]", "f32[6]"}},
		"records":  {state(7), 7, 7, 9, 2, 1, []string{"update", "records i32[9]", "Records"}},
		"settings": {state(7), 7, 7, 10, 3, 1, []string{"update", "settings f32[3]", "[2]"}},
		"factor":   {state(7), 7, 7, 10, 2, 2, []string{"update", "factor f32[2]", "[1]"}},
		"rounded":  {slab, 7, 7, 10, 2, 1, []string{"update", "w is stored as f16"}},
		"packed":   {packed(packing.F32), 7, 7, 10, 2, 1, []string{"update", "input 0 is w, which is packed"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := graph.New()
			end := g.Scope("update")
			Update(g, &descent, c.w, []*graph.State{state(c.moment)}, g.Input("grad", graph.Shape{c.grad}, graph.F32),
				g.Input("factor", graph.Shape{c.factor}, graph.F32), g.Input("records", graph.Shape{c.records}, graph.I32), g.Input("settings", graph.Shape{c.settings}, graph.F32))
			end()
			_, err := g.Build()
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}
