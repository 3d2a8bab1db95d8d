package tests

import (
	"context"
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
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

var packedLayouts = []packing.Format{packing.F32, packing.F16, packing.BF16, packing.Q8}

// linearVariants are all kernels of a packed linear map, with all values that they tune.
var linearVariants = slices.Concat(tunedNames("linear_step"), tunedNames("linear_split"), tunedNames("linear_tile"), tunedNames("linear_row"))

func tunedNames(file string) (names []string) {
	variants, err := shaders.Variant{File: file}.Tuned()
	if err != nil {
		panic(err)
	}
	for _, v := range variants {
		names = append(names, v.String())
	}
	return names
}

// tolScaled is tolDot where the device scales the weights after the sum: two roundings more.
const tolScaled = tolDot + 2.4e-7

// packedCase is x [rows, in] by a packed weight [out, in], with all that its kernel can add.
func packedCase(l packing.Format, variant string, rows, in, out int) opCase {
	return opCase{
		name:    fmt.Sprintf("%v %s %d×%d in %d", l, variant, rows, in, out),
		tol:     tolScaled,
		variant: variant,
		inputs: []opInput{
			{name: "x", shape: graph.Shape{rows, in}},
			{name: "w", shape: graph.Shape{out, in}, format: l},
			{name: "bias", shape: graph.Shape{out}},
			{name: "residual", shape: graph.Shape{rows, out}},
		},
		build: one(func(g *graph.Graph, t tensors) graph.Tensor {
			return g.Add(ops.Linear(g, t["x"], t["w"], t["bias"]), t["residual"])
		}),
	}
}

// TestPackedLinear has every kernel read every format, forward and for the gradient of x.
func TestPackedLinear(t *testing.T) {
	var cases []opCase
	for _, l := range packedLayouts {
		for _, v := range linearVariants {
			cases = append(cases, packedCase(l, v, 7, 63, 65))
		}
	}
	for _, v := range linearVariants {
		cases = append(cases, packedCase(packing.F32, v, 65, 33, 301)) // two panels
	}
	for _, s := range [][3]int{{1, 1, 1}, {1, 64, 64}, {63, 4, 7}, {197, 65, 63}, {65, 20, 130}, {3, 301, 5}, {2, 300, 520}} {
		for _, l := range []packing.Format{packing.F32, packing.Q8} {
			cases = append(cases, packedCase(l, "", s[0], s[1], s[2]))
		}
	}
	runOpCases(t, cases)
}

// TestDX12 has the kernels that are others on DX12 compute here.
func TestDX12(t *testing.T) {
	var cases []opCase
	for _, l := range packedLayouts {
		for _, v := range slices.Concat(tunedNames("linear_split"), tunedNames("linear_tile")) {
			cases = append(cases, packedCase(l, v, 65, 33, 65))
		}
	}
	for _, width := range []int{4, 72, 64, 112, 300} {
		c := attentionCase{name: fmt.Sprint("attention ", width), batch: 1, heads: 2, lq: 35, lk: 35, d: width, v: width, causal: true}.row()
		grad := c
		grad.name += ", gradient"
		c.variant, c.noGrad = "one pass", []string{"q", "k", "v"}
		cases = append(cases, c, grad)
	}
	for _, c := range append(cases, tilesOnDX12()...) {
		c.dx12 = true
		t.Run(c.name, func(t *testing.T) { newOpRun(t, c).checkParity(t) })
	}
}

// TestPackedLinearFunctions has the kernel apply every Function, before it adds the residual.
func TestPackedLinearFunctions(t *testing.T) {
	var cases []opCase
	for f := ops.GELU; f <= ops.Tanh; f++ {
		for _, residual := range []bool{false, true} {
			c := packedCase(packing.F32, "", 5, 8, 9)
			c.name = fmt.Sprintf("%v, residual: %t", f, residual)
			c.tol = tolScaled + tolMap
			c.kink = f == ops.ReLU
			c.build = one(func(g *graph.Graph, t tensors) graph.Tensor {
				y := ops.Map(g, ops.Linear(g, t["x"], t["w"], t["bias"]), f)
				if residual {
					y = g.Add(t["residual"], y)
				}
				return y
			})
			if !residual {
				c.inputs = c.inputs[:3]
			}
			cases = append(cases, c)
		}
	}
	runOpCases(t, cases)
}

// TestPackedRoles are the other ways to be a weight: of a convolution, of x·P, a part of the rows.
func TestPackedRoles(t *testing.T) {
	var cases []opCase
	for _, l := range packedLayouts {
		cases = append(cases,
			opCase{
				name: fmt.Sprint(l, " convolution"), tol: tolScaled,
				inputs: []opInput{{name: "x", shape: graph.Shape{2, 5, 27}}, {name: "w", shape: graph.Shape{10, 3, 3, 3}, format: l}},
				build: one(func(g *graph.Graph, t tensors) graph.Tensor {
					return ops.Linear(g, t["x"], t["w"], graph.Tensor{})
				}),
			},
			opCase{
				name: fmt.Sprint(l, " rows"), tol: tolScaled,
				inputs: []opInput{{name: "x", shape: graph.Shape{7, 9}}, {name: "w", shape: graph.Shape{301, 9}, format: l}, {name: "bias", shape: graph.Shape{301}}},
				build: func(g *graph.Graph, t tensors) []graph.Tensor {
					return []graph.Tensor{
						ops.LinearRows(g, t["x"], t["w"], t["bias"], 0, 5),
						ops.LinearRows(g, t["x"], t["w"], t["bias"], 252, 49),
					}
				},
			})
	}
	project := one(func(g *graph.Graph, t tensors) graph.Tensor { return ops.Project(g, t["x"], t["p"]) })
	for _, l := range append(packedLayouts, packing.RowMajor) {
		for _, s := range [][2]int{{1, 1}, {63, 65}, {12, 301}} {
			cases = append(cases, opCase{
				name: fmt.Sprintf("%v projection %d to %d", l, s[0], s[1]), tol: tolScaled, build: project,
				inputs: []opInput{{name: "x", shape: graph.Shape{2, 3, s[0]}}, {name: "p", shape: graph.Shape{s[0], s[1]}, format: l, transposed: true}},
			})
		}
	}
	cases = append(cases, opCase{
		name: "row-major rows", tol: tolDot,
		inputs: []opInput{{name: "x", shape: graph.Shape{7, 9}}, {name: "w", shape: graph.Shape{30, 9}}, {name: "bias", shape: graph.Shape{30}}},
		build: one(func(g *graph.Graph, t tensors) graph.Tensor {
			return ops.LinearRows(g, t["x"], t["w"], t["bias"], 3, 11)
		}),
	})
	runOpCases(t, cases)
}

// TestLinearVariants: the tables above know every kernel.
func TestLinearVariants(t *testing.T) {
	r := newOpRun(t, packedCase(packing.F32, "", 7, 8, 9))
	var offered []string
	r.g.Variants = func(class string, candidates []string) string {
		offered = candidates
		return ""
	}
	_, err := r.g.Build(r.outs...)
	require.NoError(t, err)
	assert.ElementsMatch(t, linearVariants, offered)
}

// TestPackedStore: what is written or assigned is read back row-major.
func TestPackedStore(t *testing.T) {
	d, err := device()
	require.NoError(t, err)
	ctx := context.Background()
	for _, l := range append(packedLayouts, packing.RowMajor) {
		for _, transposed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, transposed: %t", l, transposed), func(t *testing.T) {
				spec := graph.Spec{Shape: graph.Shape{301, 270}}
				p := &graph.Param{State: graph.State{Name: "w", Spec: spec, Format: l, Transposed: transposed}}
				want := make([]float64, spec.Shape.Elems())
				for i := range want {
					want[i] = float64(float32(math.Sin(float64(i))))
				}
				written := narrow(graph.F32, want).([]float32)
				if p.Packed() {
					round(&p.State, want)
				}
				store := d.NewStore()
				defer store.Close()
				read := func() []float64 {
					v := make([]float32, len(want))
					require.NoError(t, store.Read(ctx, &p.State, v))
					return widenAll(v)
				}

				require.NoError(t, store.Write(ctx, &p.State, written))
				require.Equal(t, want, read(), "written")
				if p.Trainable() != nil {
					return
				}
				g := graph.New()
				g.Param(p)
				g.Assign(&p.State, g.Input("x", spec.Shape, graph.F32))
				prog, err := g.Build()
				require.NoError(t, err)
				session, err := d.Load(prog, store)
				require.NoError(t, err)
				defer session.Close()
				slices.Reverse(want)
				require.NoError(t, session.Run(ctx, gpu.IO{Inputs: map[string]any{"x": narrow(graph.F32, want)}}))
				require.Equal(t, want, read(), "assigned")
			})
		}
	}
}

func widenAll(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}
