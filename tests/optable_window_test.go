package tests

import (
	"fmt"
	"testing"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

func TestWindows(t *testing.T) {
	var cases []opCase
	for _, c := range []struct {
		x graph.Shape
		ops.WindowConfig
	}{
		{graph.Shape{2, 4, 6, 5}, ops.WindowConfig{Height: 2, Width: 3}},
		{graph.Shape{2, 8, 8, 3}, ops.WindowConfig{Height: 4, Width: 4, ShiftY: 2, ShiftX: 2}},
		{graph.Shape{1, 7, 5, 65}, ops.WindowConfig{Height: 4, Width: 3, ShiftY: 2, ShiftX: 1}}, // with zeros
		{graph.Shape{3, 5, 7, 4}, ops.WindowConfig{Height: 2, Width: 2, ByColumn: true}},
		{graph.Shape{1, 3, 4, 2}, ops.WindowConfig{Height: 3, Width: 2, ShiftX: 1, ByColumn: true}},
		{graph.Shape{1, 1, 1, 7}, ops.WindowConfig{Height: 7, Width: 7}},
	} {
		cut := func(g *graph.Graph, in tensors) graph.Tensor { return ops.Windows(g, in["x"], c.WindowConfig) }
		cases = append(cases,
			opCase{name: fmt.Sprintf("%v in %+v", c.x, c.WindowConfig), tol: tolMove, inputs: []opInput{param("x", c.x...)}, build: one(cut)},
			opCase{name: fmt.Sprintf("%v of %+v", c.x, c.WindowConfig), tol: tolMove, inputs: []opInput{param("x", c.x...)},
				build: one(func(g *graph.Graph, in tensors) graph.Tensor {
					return ops.FromWindows(g, cut(g, in), c.x, c.WindowConfig)
				})})
	}
	runOpCases(t, cases)
}

func TestRelativeBias(t *testing.T) {
	var cases []opCase
	for _, c := range []struct {
		heads int
		ops.RelativeBiasConfig
	}{
		{3, ops.RelativeBiasConfig{Height: 1, Width: 1}},
		{2, ops.RelativeBiasConfig{Height: 7, Width: 7}},
		{5, ops.RelativeBiasConfig{Height: 2, Width: 5, Prefix: 1}},
		{2, ops.RelativeBiasConfig{Height: 4, Width: 4, Rows: 2, Cols: 3, ShiftY: 2, ShiftX: 1}},
		{1, ops.RelativeBiasConfig{Height: 3, Width: 5, Rows: 1, Cols: 2, ShiftX: 2}},
	} {
		table := graph.Shape{(2*c.Height - 1) * (2*c.Width - 1), c.heads}
		cases = append(cases, opCase{
			name: fmt.Sprintf("%d heads, %+v", c.heads, c.RelativeBiasConfig), tol: tolSum, inputs: []opInput{param("table", table...)},
			build: one(func(g *graph.Graph, in tensors) graph.Tensor {
				return ops.RelativeBias(g, in["table"], c.RelativeBiasConfig)
			}),
		})
	}
	runOpCases(t, cases)
}

// TestAttentionBias is attention with a bias of each head, of one item, of some, and of all.
func TestAttentionBias(t *testing.T) {
	var cases []opCase
	for _, variant := range []string{"three passes", "three passes in tiles"} {
		for _, items := range []int{1, 2, 4} {
			const heads, lq, lk, width = 3, 5, 7, 4
			c := ops.AttentionConfig{Heads: heads, Scale: 0.5, Causal: items == 2}
			inputs := []opInput{param("q", 4, lq, heads*width), param("k", 4, lk, heads*width), param("v", 4, lk, heads*width), param("bias", items, heads, lq, lk)}
			cases = append(cases, opCase{
				name: fmt.Sprintf("%d items, %s", items, variant), tol: tolSoftmax, variant: variant, inputs: inputs,
				build: one(func(g *graph.Graph, in tensors) graph.Tensor {
					return ops.Attention(g, in["q"], in["k"], in["v"], in["bias"], c)
				}),
			})
		}
		cases = append(cases, opCase{
			name: "self, " + variant, tol: tolSoftmax, variant: variant, inputs: []opInput{param("qkv", 2, 9, 3*2*5), param("bias", 1, 2, 9, 9)},
			build: one(func(g *graph.Graph, in tensors) graph.Tensor {
				return ops.SelfAttention(g, in["qkv"], in["bias"], ops.AttentionConfig{Heads: 2, Scale: 0.4})
			}),
		})
	}
	dropped := cases[0]
	dropped.name, dropped.variant = "dropout", ""
	dropped.build = trained(one(func(g *graph.Graph, in tensors) graph.Tensor {
		return ops.Attention(g, in["q"], in["k"], in["v"], in["bias"], ops.AttentionConfig{Heads: 3, Scale: 0.5, Dropout: 0.3})
	}))
	runOpCases(t, append(cases, dropped))
}
