package engine

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// A task of any number of inputs and outputs runs in batches of its items, whatever
// these are: here patches with their places and which of them count, of which three
// things are computed.
func TestInputsAndOutputsGoByName(t *testing.T) {
	d, err := gpu.Open(gpu.Options{DefaultLimits: true})
	require.NoError(t, err)
	defer d.Close()
	e, err := Open(d, 4)
	require.NoError(t, err)
	defer e.Close()
	const items, patches, width = 7, 3, 2
	pixels, index, valid := make([]float32, items*patches*width), make([]int32, items*patches), make([]float32, items*patches)
	for i := range pixels {
		pixels[i] = float32(i)
	}
	for i := range index {
		index[i], valid[i] = int32(i%4), float32(i%2)
	}
	table := &graph.Param{State: graph.State{Name: "table", Spec: graph.Spec{Shape: graph.Shape{4, width}}}, Source: tens{}}
	out, err := e.Run(t.Context(), items, Task{
		Key: "patches",
		Record: func(g *graph.Graph, batch int) map[string]graph.Tensor {
			x := g.Input("patches", graph.Shape{batch, patches, width}, graph.F32)
			at := ops.Gather(g, g.Param(table), g.Input("places", graph.Shape{batch, patches}, graph.I32))
			counted := g.Input("valid", graph.Shape{batch, patches}, graph.F32)
			tokens := g.Add(x, at)
			return map[string]graph.Tensor{"tokens": tokens, "features": ops.SumAxis(g, tokens, 1), "count": ops.SumAxis(g, counted, 1)}
		},
		Feed: func(lo, hi int) map[string]any {
			n := patches
			return map[string]any{"patches": pixels[lo*n*width : hi*n*width], "places": index[lo*n : hi*n], "valid": valid[lo*n : hi*n]}
		},
	})
	require.NoError(t, err)
	assert.Equal(t, []int{items, patches, width}, out["tokens"].Shape)
	assert.Equal(t, []int{items, width}, out["features"].Shape)
	assert.Equal(t, []int{items}, out["count"].Shape)
	for i := range items {
		sum, count := float32(0), float32(0)
		for p := range patches {
			row := i*patches + p
			token := pixels[row*width] + 10*float32(index[row])*width
			assert.Equal(t, token, out["tokens"].Data[row*width])
			sum, count = sum+token, count+valid[row]
		}
		assert.Equal(t, sum, out["features"].Data[i*width])
		assert.Equal(t, count, out["count"].Data[i])
	}
}

// tens are 0, 10, 20 and so on.
type tens struct{}

func (tens) ReadF32(dst []float32, offset int) error {
	for i := range dst {
		dst[i] = 10 * float32(offset+i)
	}
	return nil
}
