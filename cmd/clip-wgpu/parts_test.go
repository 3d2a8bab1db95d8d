package main

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// limited has towers for batches up to a size.
type limited int

func (most limited) Programs(batch int) (image, text *graph.Program, err error) {
	if batch > int(most) {
		return nil, nil, &graph.SizeError{}
	}
	return &graph.Program{Steps: make([]graph.Step, 3)}, nil, nil
}

func TestPartsOf(t *testing.T) {
	for _, c := range []struct {
		n, most int
		want    string
		steps   int
	}{
		{1, 8, "1", 3}, {8, 8, "8", 3}, {6, 8, "4 + 2", 6}, {7, 8, "4 + 2 + 1", 9},
		{16, 4, "4 + 4 + 4 + 4", 12}, {11, 4, "4 + 4 + 2 + 1", 12}, {3, 1, "1 + 1 + 1", 9},
	} {
		all, err := partsOf(limited(c.most), imageTower, c.n, nil)
		require.NoError(t, err)
		assert.Equal(t, c.want, all.String())
		assert.Equal(t, c.steps, all.dispatches())
	}
	_, err := partsOf(limited(0), imageTower, 2, nil)
	assert.ErrorAs(t, err, new(*graph.SizeError))

	// What the device refuses when it loads counts too, other errors end it.
	var tried []int
	all, err := partsOf(limited(8), imageTower, 6, func(_ *graph.Program, batch int) error {
		if tried = append(tried, batch); batch > 1 {
			return &gpu.MemoryError{}
		}
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, "1 + 1 + 1 + 1 + 1 + 1", all.String())
	assert.Equal(t, []int{4, 2, 1}, tried)
	broken := errors.New("broken")
	_, err = partsOf(limited(8), imageTower, 6, func(*graph.Program, int) error { return broken })
	assert.ErrorIs(t, err, broken)
}
