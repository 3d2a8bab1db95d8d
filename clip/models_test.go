package clip

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestModelConfig(t *testing.T) {
	c, err := ModelConfig("ViT-L-14")
	require.NoError(t, err)
	assert.Equal(t, []any{768, 1024, 24, 12, DefaultVisionConfig().HeadWidth},
		[]any{c.EmbedDim, c.VisionCfg.Width, c.VisionCfg.Layers[0], c.TextCfg.Heads, c.VisionCfg.HeadWidth})
	for _, spelling := range []string{"vit-l-14", "ViT-L/14"} {
		same, err := ModelConfig(spelling)
		require.NoError(t, err)
		assert.Equal(t, c, same)
	}
}

func TestEveryNamedModelCanBeBuilt(t *testing.T) {
	names := ModelNames()
	require.Contains(t, names, "ViT-B-32")
	for _, name := range names {
		c, err := ModelConfig(name)
		require.NoError(t, err, name)
		_, _, err = build(c)
		require.NoError(t, err, name)
	}
}

func TestUnknownModelSuggestsItsNeighbours(t *testing.T) {
	_, err := ModelConfig("ViT-B-33")
	require.ErrorIs(t, err, ErrUnknownModel)
	assert.ErrorContains(t, err, `"ViT-B-33"`)
	assert.ErrorContains(t, err, "ViT-B-32,")
}

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"ab", "ba", 2}, {"flaw", "lawn", 2}} {
		assert.Equal(t, c.want, editDistance(c.a, c.b), "%q, %q", c.a, c.b)
		assert.Equal(t, c.want, editDistance(c.b, c.a), "%q, %q", c.b, c.a)
	}
}

// Figures of open_clip's docs/model_profile.csv (ViT-B-32: 8.82 and 5.96, ViT-L-14
// image: 162.03), to more digits: 2·(n·3·p²·d + L·((n+1)·12·d² + 2·(n+1)²·d) + d·e)
// and 2·(L·(77·12·d² + 2·77²·d) + d·e). Ours are up to 0.1 % more, for the class
// token's row goes through the patch embedding, too.
func TestFLOPs(t *testing.T) {
	for _, c := range []struct {
		model       string
		image, text float64 // GFLOP an item
	}{
		{"ViT-B-32", 8.817623, 5.959541},
		{"ViT-B-16", 35.126907, 5.959541},
		{"ViT-L-14", 162.0258, 13.299683},
	} {
		config, err := ModelConfig(c.model)
		require.NoError(t, err)
		_, e, err := build(config)
		require.NoError(t, err)
		for _, batch := range []int{1, 3} {
			image, text, err := e.Programs(batch)
			require.NoError(t, err)
			assert.InEpsilon(t, c.image*float64(batch), float64(image.FLOPs())/1e9, 1e-3, c.model)
			assert.InEpsilon(t, c.text*float64(batch), float64(text.FLOPs())/1e9, 1e-4, c.model)
		}
	}
}
