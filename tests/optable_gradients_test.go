package tests

import (
	"fmt"
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
	perceptron := func(f ops.Function) func(*graph.Graph, tensors) []graph.Tensor {
		return one(func(g *graph.Graph, t tensors) graph.Tensor {
			return ops.Linear(g, ops.Map(g, t["x"], f), t["w"], graph.Tensor{})
		})
	}
	inputs := func(l packing.Format) []opInput {
		return []opInput{param("x", 3, 7, 33), {name: "w", shape: graph.Shape{13, 33}, format: l}}
	}
	for f := ops.GELU; f <= ops.Tanh; f++ {
		cases = append(cases, opCase{
			name: f.String(), tol: tolScaled + tolMap, kink: f == ops.ReLU, inputs: inputs(packing.F32), build: perceptron(f),
		})
	}
	for _, v := range linearVariants {
		for _, l := range packedLayouts {
			cases = append(cases, opCase{
				name: fmt.Sprint(l, " ", v), tol: tolScaled + tolMap, variant: v, inputs: inputs(l), build: perceptron(ops.QuickGELU),
			})
		}
	}
	runOpCases(t, cases)
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
				cases = append(cases, opCase{
					name: fmt.Sprintf("%v around %v, frozen: %v", v, s, frozen), variant: v, tol: tolNorm, noGrad: frozen,
					inputs: []opInput{param("x", s...), param("weight", s[len(s)-1]), param("bias", s[len(s)-1])},
					build: one(func(g *graph.Graph, in tensors) graph.Tensor {
						x := in["x"]
						return g.Add(x, ops.LayerNorm(g, x, in["weight"], in["bias"], 1e-5))
					}),
				})
			}
		}
	}
	runOpCases(t, cases)
}

// TestGradientKernels: the tables above know every kernel, and what nothing reads
// costs nothing.
func TestGradientKernels(t *testing.T) {
	offered := map[string]bool{}
	kernels := func(c opCase) (names []string) {
		r := newOpRun(t, c)
		r.g.Variants = func(_ string, candidates []string) string {
			for _, name := range candidates {
				offered[name] = true
			}
			return ""
		}
		p, err := r.g.Build(r.grads...)
		require.NoError(t, err)
		for _, s := range p.Steps {
			if s.Op == "linear_weight_grad" || s.Op == "linear_grad" {
				names = append(names, s.Op)
			}
		}
		return names
	}
	both := []string{"linear_grad", "linear_weight_grad"}
	assert.ElementsMatch(t, both, kernels(linearGradCase(packing.F32, "", 197, 12, 8)))
	assert.Equal(t, both[:1], kernels(linearGradCase(packing.F32, "", 197, 12, 8, "w", "bias")))
	assert.Equal(t, both[1:], kernels(linearGradCase(packing.F32, "", 197, 12, 8, "x")))
	assert.Len(t, kernels(linearGradCase(packing.F32, "", 197, 12, 8, "x", "w")), 2, "two passes of one sum")
	var weightGrads []string
	for name := range offered {
		if len(name) > 18 && name[:18] == "linear_weight_grad" {
			weightGrads = append(weightGrads, name)
		}
	}
	assert.ElementsMatch(t, weightGradVariants, weightGrads)
}
