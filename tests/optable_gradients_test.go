package tests

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// What the table's other rows do not ask of kernels that sum up gradients.

var weightGradVariants = []string{
	"linear_weight_grad GROUPS=1 WG=8", "linear_weight_grad GROUPS=1 WG=32", "linear_weight_grad GROUPS=4 WG=8", "linear_weight_grad GROUPS=4 WG=32",
}

// linearGradCase is a linear map, packed or not, of which only some inputs are trained.
func linearGradCase(l packing.Format, variant string, rows, in, out int, frozen ...string) opCase {
	return opCase{
		name:    fmt.Sprintf("%v %s %d×%d in %d, frozen: %v", l, variant, rows, in, out, frozen),
		tol:     tolScaled,
		variant: variant,
		noGrad:  frozen,
		inputs:  []opInput{param("x", rows, in), {name: "w", shape: graph.Shape{out, in}, format: l}, param("bias", out)},
		build: one(func(g *graph.Graph, t tensors) graph.Tensor {
			return ops.Linear(g, t["x"], t["w"], t["bias"])
		}),
	}
}

// TestLinearWeightGrad has every kernel make the gradients of a weight and a bias, of
// lengths that are multiples of four or not, with more rows than one sum has terms.
func TestLinearWeightGrad(t *testing.T) {
	var cases []opCase
	for _, v := range weightGradVariants {
		for _, s := range [][3]int{{1, 4, 4}, {63, 132, 20}, {65, 520, 12}, {2115, 8, 36}} {
			cases = append(cases, linearGradCase(packing.F32, v, s[0], s[1], s[2]))
		}
	}
	for _, l := range append(packedLayouts, packing.RowMajor) {
		for _, frozen := range [][]string{{"w"}, {"bias"}, {"x", "w"}, {"x"}} {
			cases = append(cases, linearGradCase(l, "", 197, 12, 8, frozen...), linearGradCase(l, "", 197, 13, 8, frozen...))
		}
		project := opCase{
			name: fmt.Sprint(l, " projection"), tol: tolScaled,
			inputs: []opInput{param("x", 5, 13, 20), {name: "p", shape: graph.Shape{20, 36}, format: l, transposed: true}},
			build:  one(func(g *graph.Graph, t tensors) graph.Tensor { return ops.Project(g, t["x"], t["p"]) }),
		}
		cases = append(cases, project)
	}
	runOpCases(t, cases)
}

// TestLinearGradOfFunctions has every kernel make the gradient of x and go on to that of
// a Function's input.
func TestLinearGradOfFunctions(t *testing.T) {
	var cases []opCase
	for f := ops.GELU; f <= ops.Tanh; f++ {
		cases = append(cases, perceptronCase(packing.F32, "", f))
	}
	for _, v := range linearVariants {
		cases = append(cases, perceptronCase(packing.F32, v, ops.GELU))
	}
	for _, l := range packedLayouts[1:] {
		cases = append(cases, perceptronCase(l, "", ops.GELU))
	}
	runOpCases(t, append(cases, unfused(perceptronCase(packing.F32, "", ops.GELU))))
}

// perceptronCase is a linear map of what a Function makes of x.
func perceptronCase(l packing.Format, variant string, f ops.Function) opCase {
	return opCase{
		name: fmt.Sprint(l, " ", variant, " ", f), tol: tolScaled + tolMap, variant: variant, kink: f == ops.ReLU,
		inputs: []opInput{param("x", 3, 7, 33), {name: "w", shape: graph.Shape{13, 33}, format: l}},
		build: one(func(g *graph.Graph, t tensors) graph.Tensor {
			return ops.Linear(g, ops.Map(g, t["x"], f), t["w"], graph.Tensor{})
		}),
	}
}

// unfused is c with a kernel for every op.
func unfused(c opCase) opCase {
	build := c.build
	c.name += ", unfused"
	c.build = func(g *graph.Graph, in tensors) []graph.Tensor {
		g.Unfused = true
		return build(g, in)
	}
	return c
}

// TestLayerNormGrad has every kernel sum up the rows, of which some inputs may need
// nothing, and add what flows around the norm.
func TestLayerNormGrad(t *testing.T) {
	var cases []opCase
	for _, v := range []string{"layernorm_grad WG=32", "layernorm_grad WG=128"} {
		for _, c := range layerNormCases() {
			c.name, c.variant = c.name+", "+v, v
			cases = append(cases, c)
		}
		for _, s := range []graph.Shape{{1, 1}, {7, 63}, {3, 11, 65}, {2115, 9}} {
			for _, frozen := range [][]string{nil, {"weight"}, {"bias"}, {"weight", "bias"}, {"x"}} {
				cases = append(cases, residualCase(v, s, frozen...))
			}
		}
	}
	runOpCases(t, append(cases, unfused(residualCase("", graph.Shape{3, 11, 65}))))
}

// residualCase is x and what a norm makes of it.
func residualCase(variant string, x graph.Shape, frozen ...string) opCase {
	return opCase{
		name: fmt.Sprintf("%s around %v, frozen: %v", variant, x, frozen), variant: variant, tol: tolNorm, noGrad: frozen,
		inputs: []opInput{param("x", x...), param("weight", x[len(x)-1]), param("bias", x[len(x)-1])},
		build: one(func(g *graph.Graph, in tensors) graph.Tensor {
			return g.Add(in["x"], ops.LayerNorm(g, in["x"], in["weight"], in["bias"], 1e-5))
		}),
	}
}

// TestBatchNormGrad sums up more rows than one sum has terms, of which some inputs may
// need nothing.
func TestBatchNormGrad(t *testing.T) {
	var cases []opCase
	for _, frozen := range [][]string{nil, {"x"}, {"w", "b", "mean", "variance"}, {"x", "w", "mean", "variance"}, {"mean", "variance"}} {
		cases = append(cases, opCase{
			name: fmt.Sprint("frozen: ", frozen), tol: tolNorm, noGrad: frozen,
			inputs: []opInput{
				param("x", 2115, 9), param("w", 9), param("b", 9), param("mean", 9),
				{name: "variance", shape: graph.Shape{9}, gen: func(i int) float64 { return 0.1 + float64(i%5) }},
			},
			build: one(func(g *graph.Graph, in tensors) graph.Tensor {
				return ops.BatchNorm(g, in["x"], in["w"], in["b"], in["mean"], in["variance"], 1e-5)
			}),
		})
	}
	runOpCases(t, cases)
}

// TestGradientKernels: the tables above know every kernel, and what nothing reads
// costs nothing.
func TestGradientKernels(t *testing.T) {
	var offered []string
	kernels := func(c opCase) (names []string) {
		r := newOpRun(t, c)
		r.g.Variants = func(class string, candidates []string) string {
			if strings.HasPrefix(class, "linear_weight_grad") {
				offered = candidates
			}
			return ""
		}
		p, err := r.g.Build(r.grads...)
		require.NoError(t, err)
		for _, s := range p.Steps {
			if s.Scope == "grad." && s.Op != "matmul" { // of the loss
				names = append(names, s.Op)
			}
		}
		return names
	}
	frozen := func(names ...string) []string { return kernels(linearGradCase(packing.F32, "", 197, 12, 8, names...)) }
	both := []string{"linear_grad", "linear_weight_grad"}
	assert.Equal(t, both, frozen())
	assert.Equal(t, both, frozen("bias"))
	assert.Equal(t, both[:1], frozen("w", "bias"))
	assert.Equal(t, both[1:], frozen("x"))
	assert.Equal(t, []string{"linear_weight_grad", "linear_weight_grad"}, frozen("x", "w"), "two passes of one sum")
	assert.ElementsMatch(t, append(slices.Clone(weightGradVariants), weightGradTile), offered)

	perceptron := perceptronCase(packing.F32, "", ops.GELU)
	padded := []string{"linear_grad", "linear_grad"} // dy, of rows that are no multiple of four
	assert.ElementsMatch(t, append(padded, both...), kernels(perceptron))
	assert.ElementsMatch(t, append(append(padded, both...), "map_grad"), kernels(unfused(perceptron)))
	x := graph.Shape{197, 65}
	assert.Equal(t, []string{"layernorm_grad"}, kernels(residualCase("", x)))
	assert.Equal(t, []string{"layernorm_grad", "add"}, kernels(unfused(residualCase("", x))))
}
