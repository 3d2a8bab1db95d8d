package checkpoint

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/cliptest"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/finite"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// odd is the tiny model with one element of a tensor replaced.
func odd(t *testing.T, name string, element int, value float32) *Checkpoint {
	t.Helper()
	all := cliptest.Tensors(t, tinyModel(t).Model.Parameters())
	data := make([]float32, all[name].Len())
	require.NoError(t, all[name].ReadF32(data, 0))
	data[element] = value
	cliptest.Set(t, all, name, all[name].Shape, data...)
	c, err := Open(t.Context(), cliptest.Folder(t, all, cliptest.Tiny), Options{})
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// readAll reads parameters in pieces, from their elements from on, as a device does.
func readAll(t *testing.T, c *Checkpoint, from int) {
	t.Helper()
	for _, p := range c.Model.Parameters() {
		for at := min(from, p.Shape.Elems()); at < p.Shape.Elems(); {
			piece := make([]float32, min(7, p.Shape.Elems()-at))
			require.NoError(t, p.Source.ReadF32(piece, at))
			at += len(piece)
		}
	}
}

// What was read from one end to the other is not read again, and anything else is.
func TestInspectReadsNothingTwice(t *testing.T) {
	const name = "visual.conv1.weight"
	c := odd(t, name, 0, 0)
	readAll(t, c, 0)
	require.NoError(t, c.Close())
	require.NoError(t, c.Inspect(t.Context()))
	assert.Empty(t, c.Warnings)

	c = odd(t, name, 0, 0)
	readAll(t, c, 1)
	require.NoError(t, c.Close())
	assert.ErrorIs(t, c.Inspect(t.Context()), weights.ErrClosed)
}

// However much was read before, Inspect finds the same.
func TestInspectFindsTheFirst(t *testing.T) {
	const name = "visual.conv1.weight"
	inf := float32(math.Inf(-1))
	for _, element := range []int{0, 6, 7, 100} {
		for _, from := range []int{0, 1, 50, 1 << 30} {
			c := odd(t, name, element, inf)
			readAll(t, c, from)
			require.NoError(t, c.Inspect(t.Context()))
			assert.Equal(t, finite.Exceptions{{Tensor: name, Element: element, Value: float64(inf)}}, c.NotFinite)
		}
	}
}

// A format that cannot hold a number is given up although the number was read before.
func TestInspectOfNarrowFormats(t *testing.T) {
	const name = "visual.transformer.resblocks.0.mlp.c_fc.weight"
	c := odd(t, name, 3, 1e6)
	assert.False(t, c.Narrow())
	readAll(t, c, 0)
	require.NoError(t, c.Model.Cast("f16"))
	assert.True(t, c.Narrow())
	require.NoError(t, c.Inspect(t.Context()))
	require.Len(t, c.Warnings, 1)
	assert.Contains(t, c.Warnings[0], "stored in f32, as fewer bits cannot hold it: tensor "+name)
	for n, p := range c.Model.Parameters() {
		if n == name {
			assert.Equal(t, packing.F32, p.Format)
		}
	}
}
