package clip

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unitRows are n random unit vectors.
func unitRows(n, width int) Array {
	r := rand.New(rand.NewPCG(3, uint64(n)))
	x := Array{[]int{n, width}, make([]float32, n*width)}
	for i := range n {
		row := make([]float32, width)
		for j := range row {
			row[j] = float32(r.NormFloat64())
		}
		meanUnit(x.Data[i*width:(i+1)*width], row)
	}
	return x
}

// Any number of texts has logits, and a program serves all numbers up to the
// next power of two.
func TestSimilarityOfAnyNumberOfTexts(t *testing.T) {
	m := newModel(t, `{"init_logit_bias": -10, "custom_text": true}`)
	width := m.Config().EmbedDim
	images := unitRows(3, width)
	bias, _ := m.LogitBias()
	programs := m.engine
	loaded := map[int]int{}
	for _, n := range []int{1, 2, 3, 4, 5, 8, maxTexts + 3} {
		texts := unitRows(n, width)
		logits, err := m.Similarity(t.Context(), images, texts)
		require.NoError(t, err)
		require.Equal(t, []int{3, n}, logits.Shape)
		loaded[n] = len(programs.Loaded())
		for i, got := range logits.Data {
			dot := 0.0
			for j := range width {
				dot += float64(images.Data[i/n*width+j]) * float64(texts.Data[i%n*width+j])
			}
			want := float64(m.LogitScale())*dot + float64(bias)
			require.InDelta(t, want, got, 1e-5*(1+math.Abs(want)), "%d texts, logit %d", n, i)
		}
	}
	assert.Equal(t, loaded[3], loaded[4])
	assert.Equal(t, loaded[5], loaded[8])

	for _, shape := range [][2]int{{0, 3}, {3, 0}, {0, 0}} {
		logits, err := m.Similarity(t.Context(), unitRows(shape[0], width), unitRows(shape[1], width))
		require.NoError(t, err)
		assert.Equal(t, []int{shape[0], shape[1]}, logits.Shape)
		assert.Empty(t, logits.Data)
	}
}
