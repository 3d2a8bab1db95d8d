package tests

import (
	"context"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// device is shared by the table's cases: it has WebGPU's default limits, fills
// activations with NaN before a run and checks what lies around them after.
var device = sync.OnceValues(func() (*gpu.Device, error) {
	return gpu.Open(gpu.Options{DefaultLimits: true, Check: true})
})

// checkParity compares the kernels with Ref: the outputs and the gradients.
func (r *opRun) checkParity(t *testing.T) {
	outs := append(slices.Clone(r.outs), r.grads...)
	want, got := r.eval(t, outs...), r.onDevice(t, outs...)
	for i, out := range outs {
		what := "output"
		if i >= len(r.outs) {
			what = "gradient of " + r.wrt[i-len(r.outs)].Name
		}
		closeRows(t, what, out.Shape(), want[i], got[i], r.c.tol)
	}
}

// onDevice computes tensors by their kernels.
func (r *opRun) onDevice(t *testing.T, outs ...graph.Tensor) [][]float32 {
	t.Helper()
	d, err := device()
	require.NoError(t, err)
	r.g.Guard = 256
	prog, err := r.g.Build(outs...)
	require.NoError(t, err)
	require.True(t, r.c.variant == "" || r.offered, "no op offers %q", r.c.variant)
	store := d.NewStore()
	defer store.Close()
	session, err := d.Load(prog, store)
	require.NoError(t, err)
	defer session.Close()

	io := gpu.IO{Inputs: map[string]any{}}
	for _, in := range prog.Inputs {
		io.Inputs[in.Name] = narrow(in.Element, r.inputs[in.Name])
	}
	for _, out := range outs {
		io.Outputs = append(io.Outputs, make([]float32, out.Shape().Elems()))
	}
	require.NoError(t, session.Run(context.Background(), io))
	return io.Outputs
}

// narrow makes v what the device takes.
func narrow(t graph.Element, v []float64) any {
	if t == graph.I32 {
		ids := make([]int32, len(v))
		for i, x := range v {
			ids[i] = int32(x)
		}
		return ids
	}
	f := make([]float32, len(v))
	for i, x := range v {
		f[i] = float32(x)
	}
	return f
}

// closeRows wants |got − want| ≤ tol · scale for every element, where scale is
// the largest |want| of its row, or a hundredth of the whole tensor's if that
// is more: what a row cancels down to is rounded at the size of its terms.
func closeRows(t *testing.T, what string, shape graph.Shape, want []float64, got []float32, tol float64) {
	t.Helper()
	cols := 1
	if len(shape) > 0 {
		cols = shape[len(shape)-1]
	}
	floor := largest(want) / 100
	for row := 0; row*cols < len(want); row++ {
		scale := max(floor, largest(want[row*cols:(row+1)*cols]))
		for j := range cols {
			i := row*cols + j
			// The comparison is false for NaN.
			if off := math.Abs(float64(got[i]) - want[i]); !(off <= tol*scale) {
				require.Failf(t, "device and reference differ", "%s %v, row %d, column %d: device %g, reference %g, off by %.2g of the row's %.3g, want at most %.2g",
					what, []int(shape), row, j, got[i], want[i], off/scale, scale, tol)
			}
		}
	}
}
