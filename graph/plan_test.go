package graph

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// towers are the activations of two towers of four steps, and the gradients that their
// backward passes make of them side by side: those of the last tower come first.
func towers() *planner {
	const size, end = 1024, 16
	p := &planner{}
	for tower := range 2 {
		for i := range 4 {
			step := 4*tower + i
			p.activations = append(p.activations, activation{size: size, first: step, last: end - 1 - step})
			p.steps = append(p.steps, []touch{{step, true}})
		}
	}
	for step := 8; step < end; step++ {
		gradients := 8 + (step-8)/4
		p.steps = append(p.steps, []touch{{end - 1 - step, false}, {gradients, true}})
	}
	p.steps = append(p.steps, nil)
	for tower := range 2 {
		p.activations = append(p.activations, activation{size: 4 * size, first: 8 + 4*tower, last: end, joined: true})
	}
	return p
}

// The activations of the one tower lie where the gradients of the other will be.
func TestGradientsOfTwoTowersHaveTwoColours(t *testing.T) {
	one := towers().attempt(2, byFirst)
	require.NoError(t, one.check())
	assert.Equal(t, int64(16<<10), one.bytes())
	p := towers()
	bound, err := p.plan()
	require.NoError(t, err)
	assert.Equal(t, int64(12<<10), p.bytes())
	assert.Equal(t, p.bytes(), bound)
}
