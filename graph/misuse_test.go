package graph

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// What the graph itself is given is refused as an op's inputs are.
func TestMisuse(t *testing.T) {
	state := &State{Name: "s", Spec: Spec{Shape: Shape{2}}}
	foreign := New().Fill(1, 2)
	none := Tensor{}
	for name, record := range map[string]func(g *Graph) Tensor{
		"gradient of nothing": func(g *Graph) Tensor { return g.Grad(none, g.State(state))[0] },
		"gradient of another graph's loss": func(g *Graph) Tensor {
			return g.Grad(g.Reshape(New().Fill(1, 1)), g.State(state))[0]
		},
		"gradient of another graph's scalar": func(g *Graph) Tensor {
			return g.Grad(New().Fill(1), g.State(state))[0]
		},
		"gradient by nothing":       func(g *Graph) Tensor { return g.Grad(g.Fill(1), none)[0] },
		"gradient by another's":     func(g *Graph) Tensor { return g.Grad(g.Fill(1), New().Fill(1))[0] },
		"gradient by an integer":    func(g *Graph) Tensor { return g.Grad(g.Fill(1), g.Input("ids", Shape{1}, I32))[0] },
		"no parameter":              func(g *Graph) Tensor { return g.Param(nil) },
		"no state":                  func(g *Graph) Tensor { return g.Add(g.State(nil), g.Fill(1)) },
		"assigned to no state":      func(g *Graph) Tensor { g.Assign(nil, g.Fill(1, 2)); return g.Fill(1) },
		"nothing assigned":          func(g *Graph) Tensor { g.Assign(state, none); return g.Fill(1) },
		"another graph's assigned":  func(g *Graph) Tensor { g.Assign(state, foreign); return g.Fill(1) },
		"nothing added":             func(g *Graph) Tensor { return g.Add(g.Fill(1), none) },
		"another graph's added":     func(g *Graph) Tensor { return g.Add(foreign, g.Fill(1, 2)) },
		"nothing reshaped":          func(g *Graph) Tensor { return g.Reshape(none) },
		"another graph's reshaped":  func(g *Graph) Tensor { return g.Reshape(foreign, 2) },
		"nothing tapped":            func(g *Graph) Tensor { return g.Tap(none, "x") },
		"another graph's output":    func(*Graph) Tensor { return foreign },
		"filled to no shape":        func(g *Graph) Tensor { return g.Fill(1, -2) },
		"supplied in another shape": func(g *Graph) Tensor { g.Supply("x", g.Fill(1, 2)); return g.Input("x", Shape{3}, F32) },
		"supplied in another type":  func(g *Graph) Tensor { g.Supply("x", g.Fill(1, 2)); return g.Input("x", Shape{2}, I32) },
		"supplied by another graph": func(g *Graph) Tensor { g.Supply("x", foreign); return g.Add(g.Fill(1, 2), g.Input("x", Shape{2}, F32)) },
		"supplied and read twice": func(g *Graph) Tensor {
			g.Supply("x", g.Fill(1, 2))
			return g.Add(g.Input("x", Shape{2}, F32), g.Input("x", Shape{2}, F32))
		},
		"no element type": func(g *Graph) Tensor { return g.Input("x", Shape{2}, 9) },
	} {
		t.Run(name, func(t *testing.T) {
			assert.NotPanics(t, func() {
				g := New()
				_, err := g.Build(record(g))
				assert.Error(t, err)
			})
		})
	}
}
