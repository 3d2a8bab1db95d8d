package clip

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLoadWarnsOfNaN(t *testing.T) {
	m := newModel(t, `{}`)
	x := tensors(t, m)
	set(t, x, "visual.ln_post.weight", []int{24}, 1, 1, float32(math.NaN()))
	got := load(t, folder(t, x, configOf(t, m)))
	require.Len(t, got.Warnings(), 1)
	assert.Equal(t, "NaN in tensor visual.ln_post.weight (element 2)", got.Warnings()[0])
	_, err := got.EncodeImage(t.Context(), randomImages(got, 1), true)
	assert.NoError(t, err)

	for name := range x {
		set(t, x, name, x[name].Shape, float32(math.NaN()))
	}
	got = load(t, folder(t, x, configOf(t, m)))
	require.Len(t, got.Warnings(), 1)
	assert.Regexp(t, fmt.Sprintf(`^NaN in tensor( \S+ \(element 0\),?){3} and %d more$`, len(x)-3), got.Warnings()[0])
}
