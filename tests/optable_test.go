// Package tests holds what crosses packages.
package tests

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// opInput is one input of an opCase: a parameter of random floats, or an i32
// input where ints is set.
type opInput struct {
	name  string
	shape graph.Shape
	ints  int                 // > 0: i32 ids in [0, ints), or what gen gives
	gen   func(i int) float64 // the value of element i; nil: random

	format     packing.Format // of the parameter on the device, to which its values are rounded
	transposed bool
}

// opCase is one row of the op table. It is asked three questions: does the VJP
// agree with finite differences of Ref (no device), and do the kernels of the
// forward pass and of the gradient agree with Ref.
type opCase struct {
	name   string
	inputs []opInput
	build  func(g *graph.Graph, in map[string]graph.Tensor) []graph.Tensor
	tol    float64  // of the kernels, see closeRows
	noGrad []string // inputs without gradient
	kink   bool     // the function has a kink at these inputs: no finite differences

	variant string        // the kernel to take wherever it is a candidate
	adapter graph.Adapter // its kernels are those of this type
	dx12    bool          // its kernels are those of DX12
}

// runOpCases asks every case the table's questions.
func runOpCases(t *testing.T, cases []opCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Run("misuse", c.checkMisuse)
			r := newOpRun(t, c)
			if len(r.wrt) > 0 && !c.kink {
				t.Run("gradient", r.checkGradient)
			}
			t.Run("parity", r.checkParity)
		})
	}
}

// opRun is one case recorded: its outputs, a scalar loss = Σ out·r with fixed
// random r, and the loss's gradients.
type opRun struct {
	c      opCase
	g      *graph.Graph
	params []*graph.Param // float inputs
	wrt    []*graph.Param // those with a gradient
	outs   []graph.Tensor
	loss   graph.Tensor
	grads  []graph.Tensor
	inputs map[string][]float64 // the i32 inputs, the seed and the r's
	state  map[*graph.State][]float64
	rng    *rand.Rand

	offered bool // the variant was a candidate somewhere
}

func newOpRun(t testing.TB, c opCase) *opRun {
	t.Helper()
	r := &opRun{
		c:      c,
		g:      graph.New(),
		inputs: map[string][]float64{"seed": {1 << 30, -7}},
		state:  map[*graph.State][]float64{},
		rng:    rand.New(rand.NewPCG(1, 2)),
	}
	r.g.Adapter, r.g.DX12 = c.adapter, c.dx12
	r.g.Variants = func(_ string, candidates []string) string {
		r.offered = r.offered || slices.Contains(candidates, c.variant)
		return c.variant
	}
	in := map[string]graph.Tensor{}
	for _, spec := range c.inputs {
		in[spec.name] = r.input(spec)
	}
	r.outs = c.build(r.g, in)
	require.NoError(t, r.g.Err())
	if len(r.wrt) > 0 {
		r.loss = r.weigh()
		wrt := make([]graph.Tensor, len(r.wrt))
		for i, p := range r.wrt {
			wrt[i] = r.g.Param(p)
		}
		r.grads = r.g.Grad(r.loss, wrt...)
		require.NoError(t, r.g.Err())
	}
	return r
}

// input records one input with its values, which are f32 numbers so that the
// device sees the same ones.
func (r *opRun) input(in opInput) graph.Tensor {
	v := make([]float64, in.shape.Elems())
	for i := range v {
		switch {
		case in.gen != nil && in.ints > 0:
			v[i] = in.gen(i)
		case in.gen != nil:
			v[i] = float64(float32(in.gen(i)))
		case in.ints > 0:
			v[i] = float64(r.rng.IntN(in.ints))
		default:
			v[i] = float64(float32(r.rng.Float64()*2 - 1))
		}
	}
	if in.ints > 0 {
		r.inputs[in.name] = v
		return r.g.Input(in.name, in.shape, graph.I32)
	}
	p := &graph.Param{
		State:  graph.State{Name: in.name, Spec: graph.Spec{Shape: in.shape}, Format: in.format, Transposed: in.transposed},
		Source: memory(slices.Clone(v)),
	}
	if p.Packed() {
		round(&p.State, v)
	}
	r.params = append(r.params, p)
	r.state[&p.State] = v
	if !slices.Contains(r.c.noGrad, in.name) {
		r.wrt = append(r.wrt, p)
	}
	return r.g.Param(p)
}

// round gives v the values that the device's layout of s can hold.
func round(s *graph.State, v []float64) {
	w := graph.Target{}.Packing(s)
	device := make([]uint32, w.Bytes()/4)
	err := errors.Join(
		w.Pack(memory(v).ReadF32, func(offset int64, words []uint32) error {
			copy(device[offset/4:], words)
			return nil
		}),
		w.Unpack(func(words []uint32, offset int64) error {
			copy(words, device[offset/4:])
			return nil
		}, func(offset int, values []float32) error {
			for i, x := range values {
				v[offset+i] = float64(x)
			}
			return nil
		}))
	if err != nil {
		panic(err) // neither end of the way can fail
	}
}

// weigh records Σ out·r over all f32 outputs.
func (r *opRun) weigh() graph.Tensor {
	var loss graph.Tensor
	for i, out := range r.outs {
		if out.Spec().Element != graph.F32 {
			continue
		}
		n := out.Shape().Elems()
		name := fmt.Sprintf("r%d", i)
		v := make([]float64, n)
		for j := range v {
			v[j] = float64(float32(r.rng.Float64()*2 - 1))
		}
		r.inputs[name] = v
		w := r.g.Input(name, graph.Shape{n, 1}, graph.F32)
		term := ops.MatMul(r.g, r.g.Reshape(out, 1, n), w, false, false)
		if loss.Valid() {
			term = r.g.Add(loss, term)
		}
		loss = term
	}
	return loss
}

// memory is a Source of values held in memory.
type memory []float64

func (m memory) ReadF32(dst []float32, offset int) error {
	for i := range dst {
		dst[i] = float32(m[offset+i])
	}
	return nil
}

// eval computes tensors by Ref.
func (r *opRun) eval(t *testing.T, outs ...graph.Tensor) [][]float64 {
	t.Helper()
	v, err := r.g.Eval(r.inputs, r.state, outs...)
	require.NoError(t, err)
	return v
}

// checkGradient compares the VJP with central differences: along two random
// directions of each input, where every element counts, and along a few axes,
// where an error shows its place.
func (r *opRun) checkGradient(t *testing.T) {
	grads := r.eval(t, r.grads...)
	for i, p := range r.wrt {
		x := r.state[&p.State]
		for range 2 {
			d := make([]float64, len(x))
			for j := range d {
				d[j] = r.rng.Float64()*2 - 1
			}
			r.checkDirection(t, p, grads[i], d)
		}
		for range min(len(x), 8) {
			d := make([]float64, len(x))
			d[r.rng.IntN(len(d))] = 1
			r.checkDirection(t, p, grads[i], d)
		}
	}
}

// checkDirection's tolerance: the difference quotient of fourth order is off by
// h⁴ times the loss's fifth derivative, 1e-8 relative where the loss curves at a
// scale of 3e-3, and by the rounding of the loss over h.
func (r *opRun) checkDirection(t *testing.T, p *graph.Param, grad, d []float64) {
	t.Helper()
	x := r.state[&p.State]
	defer func() { r.state[&p.State] = x }()
	want, size := 0.0, 0.0
	for i := range d {
		want += grad[i] * d[i]
		size += math.Abs(grad[i] * d[i])
	}
	const h = 3e-5
	at := func(steps float64) float64 {
		y := slices.Clone(x)
		for i := range y {
			y[i] += steps * h * d[i]
		}
		r.state[&p.State] = y
		return r.eval(t, r.loss)[0][0]
	}
	got := (8*(at(1)-at(-1)) - (at(2) - at(-2))) / (12 * h)
	tol := 1e-6*max(size, largest(grad)) + 1e-14*math.Abs(at(0))/h
	require.InDelta(t, got, want, tol, "d loss / d %s: finite difference against VJP (direction %v…)", p.Name, d[:min(4, len(d))])
}

func largest(v []float64) float64 {
	m := 0.0
	for _, x := range v {
		m = max(m, math.Abs(x))
	}
	return m
}
