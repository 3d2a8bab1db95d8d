package verify

import (
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
)

func TestPreprocessKeys(t *testing.T) {
	for _, c := range []struct {
		settings []string
		want     func(*preprocess.Config)
	}{
		{[]string{"32", "default", "f32"}, func(c *preprocess.Config) { c.Size = [2]int{32, 32} }},
		{[]string{"24x40", "longest", "bilinear", "fill127"}, func(c *preprocess.Config) {
			c.Size, c.ResizeMode, c.Interpolation, c.FillColor = [2]int{24, 40}, "longest", "bilinear", 127
		}},
		{[]string{"8", "squash", "mean0.5std0.25"}, func(c *preprocess.Config) {
			c.Size, c.ResizeMode = [2]int{8, 8}, "squash"
			c.Mean, c.Std = preprocess.Channels{.5, .5, .5}, preprocess.Channels{.25, .25, .25}
		}},
		{[]string{"8", "mean0.1,0.2,0.3std1,2,3"}, func(c *preprocess.Config) {
			c.Size = [2]int{8, 8}
			c.Mean, c.Std = preprocess.Channels{.1, .2, .3}, preprocess.Channels{1, 2, 3}
		}},
	} {
		got, want := preprocess.DefaultConfig(), preprocess.DefaultConfig()
		for i, s := range c.settings {
			require.NoError(t, set(&got, i == 0, s))
		}
		c.want(&want)
		assert.Equal(t, want, got)
	}
	cfg := preprocess.DefaultConfig()
	for _, s := range []string{"sepia", "fillx", "mean1", "meanstd", ""} {
		assert.ErrorIs(t, set(&cfg, false, s), errKey, "%q", s)
	}
	for _, s := range []string{"big", "3x", "x3"} {
		assert.ErrorIs(t, set(&cfg, true, s), errKey, "%q", s)
	}
}

func TestDigest(t *testing.T) {
	d := digestOf([]float32{3, -4})
	assert.InDelta(t, 5, d[0], 1e-12)
	assert.InDelta(t, 4, d[1], 1e-12)
	assert.InDelta(t, 3*math.Cos(1)-4*math.Cos(1.37), d[2], 1e-12)
	assert.True(t, math.IsNaN(d.distance(digest{0, math.NaN(), 0})))
}

func TestSoftmax(t *testing.T) {
	p := softmax(clip.Array{Shape: []int{2, 2}, Data: []float32{1000, 1000, 0, float32(math.Log(3))}})
	assert.InDeltaSlice(t, []float32{.5, .5, .25, .75}, p.Data, 1e-6)
}

func TestSplitKeyBias(t *testing.T) {
	split := splitKeyBias(map[string]clip.Array{
		"a.attn.in_proj_bias": {Shape: []int{6}, Data: []float32{1, 2, 3, 4, 5, 6}},
		"a.attn.out_proj":     {Shape: []int{1}, Data: []float32{7}},
	})
	assert.Equal(t, []float32{3, 4}, split["a.attn.in_proj_bias (keys)"].Data)
	assert.Equal(t, []float32{1, 2, 5, 6}, split["a.attn.in_proj_bias (queries, values)"].Data)
	assert.Len(t, slices.Collect(maps.Keys(split)), 3)
}
