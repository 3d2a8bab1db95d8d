package tests

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// trained is a case's build on a graph for training.
func trained(build func(*graph.Graph, tensors) []graph.Tensor) func(*graph.Graph, tensors) []graph.Tensor {
	return func(g *graph.Graph, in tensors) []graph.Tensor {
		g.Training = true
		return build(g, in)
	}
}

func TestDropout(t *testing.T) {
	drop := func(f func(*graph.Graph, graph.Tensor, float64) graph.Tensor, rate float64) func(*graph.Graph, tensors) []graph.Tensor {
		return trained(one(func(g *graph.Graph, in tensors) graph.Tensor { return f(g, in["x"], rate) }))
	}
	runOpCases(t, []opCase{
		{name: "one", tol: tolUlp, build: drop(ops.Dropout, 0.5), inputs: []opInput{param("x", 1)}},
		{name: "7x63", tol: tolUlp, build: drop(ops.Dropout, 0.1), inputs: []opInput{param("x", 7, 63)}},
		{name: "3x197x5, most", tol: tolUlp, build: drop(ops.Dropout, 0.9), inputs: []opInput{param("x", 3, 197, 5)}},
		{name: "all", tol: tolUlp, build: drop(ops.Dropout, 1), inputs: []opInput{param("x", 7, 9)}},
		{name: "nearly none", tol: tolUlp, build: drop(ops.Dropout, 1e-12), inputs: []opInput{param("x", 65)}},
		{name: "past the fold", tol: tolUlp, build: drop(ops.Dropout, 0.5), inputs: []opInput{param("x", pastFold)}, noGrad: []string{"x"}},
		{name: "twice", tol: tolUlp, inputs: []opInput{param("x", 7, 9)}, build: trained(one(func(g *graph.Graph, in tensors) graph.Tensor {
			return ops.Dropout(g, ops.Dropout(g, in["x"], 0.3), 0.4)
		}))},
		{name: "path, 65 items", tol: tolUlp, build: drop(ops.DropPath, 0.4), inputs: []opInput{param("x", 65, 7, 3)}},
		{name: "path, vector", tol: tolUlp, build: drop(ops.DropPath, 0.4), inputs: []opInput{param("x", 65)}},
		{name: "path, all", tol: tolUlp, build: drop(ops.DropPath, 1), inputs: []opInput{param("x", 7, 9)}},
	})
}

// A layer is dropped with all of its batch, or not.
func TestLayerDrop(t *testing.T) {
	for _, rate := range []float64{0.01, 0.5, 0.99} {
		runOpCases(t, []opCase{{
			name: fmt.Sprint(rate), tol: 4 * tolUlp, inputs: []opInput{param("x", 3, 5), param("y", 3, 5)},
			build: trained(one(func(g *graph.Graph, in tensors) graph.Tensor { return layers.LayerDrop(g, in["x"], in["y"], rate) })),
		}})
	}
	g := graph.New()
	x, y := g.Input("x", graph.Shape{3}, graph.F32), g.Input("y", graph.Shape{3}, graph.F32)
	assert.Equal(t, y, layers.LayerDrop(g, x, y, 0.5), "where nothing is trained")
}

func TestPatchDropout(t *testing.T) {
	var cases []opCase
	for _, c := range []struct {
		name          string
		batch, tokens int
		prefix        int
		rate          float64
	}{
		{"196 behind a class token", 2, 197, 1, 0.5},
		{"no prefix", 3, 65, 0, 0.25},
		{"a long prefix", 2, 70 + 9, 70, 0.75},
		{"one of a few", 3, 1 + 5, 1, 0.9},
		{"the only one", 2, 2, 1, 0.5},
		{"64, nearly all", 2, 64, 0, 0.01},
	} {
		cases = append(cases, opCase{name: c.name, tol: tolMove, inputs: []opInput{param("x", c.batch, c.tokens, 5), param("shared", c.tokens, 3)},
			build: trained(func(g *graph.Graph, in tensors) []graph.Tensor {
				kept, rows := ops.PatchDropout(g, in["x"], in["shared"], c.prefix, c.rate)
				return []graph.Tensor{kept, rows}
			}),
			noGrad: []string{"shared"}})
	}
	runOpCases(t, cases)
}

func TestRotaryOfItems(t *testing.T) {
	rotary := one(func(g *graph.Graph, in tensors) graph.Tensor { return ops.Rotary(g, in["x"], in["angles"], 8) })
	runOpCases(t, []opCase{
		{name: "angles of each item", tol: tolUlp * 2, build: rotary, noGrad: []string{"angles"},
			inputs: []opInput{param("x", 3, 7, 12), param("angles", 3, 7, 4)}},
	})
}

// Dropping attentions, in three passes and in one: both leave the same.
func TestAttentionDropout(t *testing.T) {
	var cases []opCase
	for _, c := range []attentionCase{
		{name: "one query, one key", batch: 1, heads: 1, lq: 1, lk: 1, d: 4, v: 4, dropout: 0.5},
		{name: "65 tokens, causal", batch: 2, heads: 3, lq: 65, lk: 65, d: 4, v: 4, causal: true, dropout: 0.1},
		{name: "few queries, other value width", batch: 2, heads: 2, lq: 3, lk: 63, d: 5, v: 9, dropout: 0.6},
		{name: "mask of each, of keys", batch: 3, heads: 2, lq: 5, lk: 7, d: 4, v: 4, maskRows: 3, keys: true, dropout: 0.3},
		{name: "all", batch: 2, heads: 2, lq: 5, lk: 7, d: 4, v: 4, dropout: 1},
	} {
		row := c.row()
		row.build = trained(row.build)
		pass := row
		pass.name, pass.variant, pass.noGrad = c.name+", one pass", "one pass", []string{"q", "k", "v", "mask"}
		cases = append(cases, row, pass)
	}
	config := ops.AttentionConfig{Heads: 2, Scale: 0.5, Dropout: 0.3}
	cases = append(cases, opCase{name: "self", tol: tolSoftmax, inputs: []opInput{param("qkv", 2, 9, 24)},
		build: trained(one(func(g *graph.Graph, in tensors) graph.Tensor {
			return ops.SelfAttention(g, in["qkv"], graph.Tensor{}, config)
		}))})
	runOpCases(t, onGPUAndCPU(cases))
}
