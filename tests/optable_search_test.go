package tests

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/half"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// halves is word i of vectors in binary16, between -1 and 1.
func halves(i int) float64 {
	at := func(i int) uint32 { return uint32(half.F32ToF16(float32(math.Sin(float64(i * i % 1009))))) }
	return float64(int32(at(2*i) | at(2*i+1)<<16))
}

func TestScores(t *testing.T) {
	var cases []opCase
	for _, variant := range tunedNames("scores") {
		for _, s := range [][3]int{{1, 1, 8}, {1, 197, 512}, {3, 65, 24}, {2, 63, 136}, {1, 7, 1152}} {
			cases = append(cases, opCase{
				name: fmt.Sprintf("%d by %d of %d, %s", s[0], s[1], s[2], variant), tol: tolDot, variant: variant,
				inputs: []opInput{{name: "x", shape: graph.Shape{s[0], s[2]}}, {name: "v", shape: graph.Shape{s[1], s[2] / 2}, ints: 1, gen: halves}},
				noGrad: []string{"x"},
				build:  one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.Scores(g, in["x"], in["v"]) }),
			})
		}
	}
	runOpCases(t, cases)
}

// ranked is a number of few values, so that some are equal.
func ranked(i int) float64 { return math.Round(20 * math.Sin(float64(i*7919%1013))) }

func TestTopK(t *testing.T) {
	var cases []opCase
	for _, s := range [][3]int{{1, 1, 1}, {1, 64, 64}, {2, 65, 7}, {3, 197, 150}, {2, 1000, 20}, {1, 4160, 3000}, {1, 8193, 1}, {2, 4099, 40}, {1, 640, 1}} {
		for _, masked := range []bool{false, true} {
			c := opCase{
				name: fmt.Sprintf("%d of %d in %d rows, masked: %t", s[2], s[1], s[0], masked), tol: 0,
				inputs: []opInput{{name: "x", shape: graph.Shape{s[0], s[1]}, gen: ranked}},
				noGrad: []string{"x"},
				build: func(g *graph.Graph, in tensors) []graph.Tensor {
					values, indices := ops.TopK(g, in["x"], in["mask"], s[2])
					return []graph.Tensor{values, indices}
				},
			}
			if masked {
				mask := func(i int) float64 { return float64(int32(uint32(i+1) * 0x9e3779b9 & 0x5b5b5b5b)) }
				c.inputs = append(c.inputs, opInput{name: "mask", shape: graph.Shape{graph.Ceil(s[1], 32)}, ints: 1, gen: mask})
			}
			cases = append(cases, c)
		}
	}
	runOpCases(t, cases)
}

// TestTopKOrder has the kernels order what comparisons of floats do not.
func TestTopKOrder(t *testing.T) {
	x := []float64{math.NaN(), math.Inf(-1), math.Copysign(0, -1), 0, -1, math.Inf(1), 1e-42, math.NaN(), -1e-42, 3}
	c := opCase{
		inputs: []opInput{{name: "x", shape: graph.Shape{1, len(x)}, gen: func(i int) float64 { return x[i] }}},
		noGrad: []string{"x"},
		build: func(g *graph.Graph, in tensors) []graph.Tensor {
			values, indices := ops.TopK(g, in["x"], graph.Tensor{}, len(x))
			return []graph.Tensor{values, indices}
		},
	}
	r := newOpRun(t, c)
	got, want := r.onDevice(t, r.outs...), r.eval(t, r.outs...)
	require.Equal(t, []float32{5, 9, 6, 2, 3, 8, 4, 1, 0, 7}, got[1])
	for i, index := range got[1] {
		require.Equal(t, want[1][i], float64(index))
		require.Equal(t, math.IsNaN(x[int(index)]), math.IsNaN(float64(got[0][i])))
		if !math.IsNaN(x[int(index)]) {
			require.Equal(t, float32(x[int(index)]), got[0][i])
		}
	}
}
