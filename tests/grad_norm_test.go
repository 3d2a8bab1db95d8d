package tests

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// normRun is the norm over the slabs of the table of Update and one of many workgroups.
// The gradients of the second are a State, as sums over several batches are.
type normRun struct {
	prog    *graph.Program
	g       *graph.Graph
	outs    []graph.Tensor
	session *gpu.Session
	inputs  map[string][]float64
	values  map[*graph.State][]float64
}

func newNormRun(t *testing.T, maxNorm float64) *normRun {
	t.Helper()
	r := &normRun{g: graph.New(), inputs: map[string][]float64{}, values: map[*graph.State][]float64{}}
	r.g.Guard = 256
	var grads, records []graph.Tensor
	members := [][]member{slabs["side by side"], slabs["63"], {{shape: graph.Shape{301, 333}, layout: packing.F32}, {shape: graph.Shape{65, 1024}}}}
	for i, members := range members {
		slab := newSlabRun(members)
		var parts []graph.Tensor
		var kept []*graph.State
		for j, p := range slab.trained {
			name, values := fmt.Sprintf("grad %d %d", i, j), slab.random(p.Shape.Elems())
			if i == 1 {
				sum := &graph.Param{State: graph.State{Name: name, Spec: p.Spec}, Source: memory(values)}
				parts, kept = append(parts, r.g.Param(sum)), append(kept, &sum.State)
				r.values[&sum.State] = values
				continue
			}
			r.inputs[name] = values
			parts = append(parts, r.g.Input(name, p.Shape, graph.F32))
		}
		if kept != nil {
			grads = append(grads, r.g.State(sideBySide("sums", kept)))
		} else {
			grads = append(grads, r.g.Join(slab.like, parts...))
		}
		name := fmt.Sprint("records ", i)
		for _, v := range slab.records {
			r.inputs[name] = append(r.inputs[name], float64(v))
		}
		records = append(records, r.g.Input(name, graph.Shape{len(slab.records)}, graph.I32))
	}
	norm, factor := ops.GradNorm(r.g, r.g.Input("loss", graph.Shape{}, graph.F32), maxNorm, grads, records)
	r.outs = []graph.Tensor{norm, factor}
	prog, err := r.g.Build(r.outs...)
	require.NoError(t, err)
	r.prog = prog
	d := openChecked(t)
	store := d.NewStore()
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	r.session, err = d.Load(prog, store)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.session.Close()) })
	return r
}

// run returns norm and factor of the device and of the reference.
func (r *normRun) run(t *testing.T) (got, want [2]float64) {
	t.Helper()
	feed := map[string]any{}
	for _, in := range r.prog.Inputs {
		feed[in.Name] = narrow(in.Element, r.inputs[in.Name])
	}
	norm, factor := make([]float32, 1), make([]float32, 1)
	require.NoError(t, r.session.Run(t.Context(), gpu.IO{Inputs: feed, Outputs: [][]float32{norm, factor}}))
	ref, err := r.g.Eval(r.inputs, r.values, r.outs...)
	require.NoError(t, err)
	return [2]float64{float64(norm[0]), float64(factor[0])}, [2]float64{ref[0][0], ref[1][0]}
}

// The kernels agree with the reference, whatever lies between the gradients, and give
// the same bits again.
func TestGradNorm(t *testing.T) {
	for maxNorm, factor := range map[float64]float64{0: 1, 1e9: 1, 7: 7, 1e-30: 1e-30} {
		r := newNormRun(t, maxNorm)
		r.inputs["loss"] = []float64{2}
		got, want := r.run(t)
		assert.InEpsilon(t, want[0], got[0], 2e-7)
		assert.InEpsilon(t, want[1], got[1], 4e-7)
		if factor != 1 {
			factor /= want[0] + 1e-6
		}
		assert.InEpsilon(t, factor, want[1], 1e-12)
		again, _ := r.run(t)
		assert.Equal(t, got, again)
	}
}

// What is no number gives the factor 0, and a norm beyond float32 does.
func TestGradNormOfWhatIsNoNumber(t *testing.T) {
	r := newNormRun(t, 7)
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		r.inputs["loss"] = []float64{bad}
		got, want := r.run(t)
		assert.Zero(t, got[1], bad)
		assert.Zero(t, want[1], bad)
		assert.InEpsilon(t, want[0], got[0], 2e-7)
	}
	r.inputs["loss"] = []float64{0}
	for _, bad := range []float64{math.NaN(), math.Inf(1), 1e30} {
		good := slices.Clone(r.inputs["grad 2 1"])
		r.inputs["grad 2 1"][65*1024-1] = bad
		got, _ := r.run(t)
		assert.Zero(t, got[1], bad)
		copy(r.inputs["grad 2 1"], good)
	}
	got, _ := r.run(t)
	assert.Positive(t, got[1])
}
