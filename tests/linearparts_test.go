package tests

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// partsOfWeight are y and the gradients of x and the bias, of rows of a weight.
func partsOfWeight(t *testing.T, format packing.Format, maxBinding int64, first, count int) (values [][]float32, steps int) {
	t.Helper()
	const rows, out, in = 7, 1300, 62
	g := graph.New()
	g.Guard, g.MaxBinding = 256, maxBinding
	w, bias := layers.NewWeight(layers.Normal(1), out, in), layers.NewParam(layers.Normal(1), out)
	w.Name, bias.Name, w.Format = "w", "bias", format
	layers.Seed(w.Param, 1)
	layers.Seed(bias, 2)
	x := g.Input("x", graph.Shape{rows, in}, graph.F32)
	y := w.Rows(g, x, bias, first, count)
	loss := ops.MatMul(g, g.Reshape(ops.Mul(g, y, y), 1, rows*count), g.Fill(0.5, rows*count, 1), false, false)
	outs := append([]graph.Tensor{y}, g.Grad(loss, x, g.Param(bias))...)
	prog, err := g.Build(outs...)
	require.NoError(t, err)
	for i, s := range prog.Steps {
		for _, slot := range s.Slots {
			if maxBinding > 0 {
				require.LessOrEqual(t, slot.Bytes, maxBinding, "step %d", i)
			}
		}
	}
	dev, err := gpu.Open(gpu.Options{DefaultLimits: true, Check: true, MaxBinding: maxBinding})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	store := dev.NewStore()
	defer store.Close()
	session, err := dev.Load(prog, store)
	require.NoError(t, err)
	defer session.Close()
	data := make([]float32, rows*in)
	for i := range data {
		data[i] = float32(i%13-6) / 8
	}
	for _, o := range outs {
		values = append(values, make([]float32, o.Shape().Elems()))
	}
	require.NoError(t, session.Run(t.Context(), gpu.IO{Inputs: map[string]any{"x": data}, Outputs: values}))
	return values, len(prog.Steps)
}

// A weight that no kernel can bind whole is applied in parts, with the same answers.
func TestWeightsAreSplitToFitABinding(t *testing.T) {
	for format, limit := range map[packing.Format]int64{packing.F32: 140 << 10, packing.F16: 70 << 10, packing.Q8: 40 << 10} {
		for _, c := range [][2]int{{0, 1300}, {508, 700}, {1100, 100}} {
			want, whole := partsOfWeight(t, format, 0, c[0], c[1])
			got, steps := partsOfWeight(t, format, limit, c[0], c[1])
			assert.Greater(t, steps, whole)
			for i, what := range []string{"y", "dx", "db"} {
				assert.InDeltaSlice(t, want[i], got[i], 1e-6*largestOf(want[i]), "%v, rows %v: %s", format, c, what)
			}
		}
	}
}

// largestOf is the largest magnitude of values.
func largestOf(values []float32) (most float64) {
	for _, v := range values {
		most = max(most, math.Abs(float64(v)))
	}
	return most
}
