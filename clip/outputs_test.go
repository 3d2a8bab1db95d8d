package clip

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/cliptest"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// The tokens of towers that give them can be had beside the features or alone.
func TestTokensOfATower(t *testing.T) {
	c := parse(t, []byte(cliptest.Tiny))
	c.VisionCfg.OutputTokens = true
	m, err := New(c, 1, WithDevice(device(t)))
	require.NoError(t, err)
	defer m.Close()
	images := randomImages(m, 3)
	features, err := m.EncodeImage(t.Context(), images, true)
	require.NoError(t, err)
	all, err := m.EncodeImageOutputs(t.Context(), map[string]Array{"image": images}, true)
	require.NoError(t, err)
	require.Len(t, all, 2)
	assert.Equal(t, features, all["features"])
	tokens, err := m.EncodeImageOutputs(t.Context(), map[string]Array{"image": images}, false, "tokens")
	require.NoError(t, err)
	assert.Equal(t, map[string]Array{"tokens": all["tokens"]}, tokens)
	none, err := m.EncodeImageOutputs(t.Context(), map[string]Array{"image": images.rows(0, 0)}, true)
	require.NoError(t, err)
	for name, x := range all {
		assert.Equal(t, append([]int{0}, x.Shape[1:]...), none[name].Shape, name)
	}

	for want, call := range map[string]func() error{
		`the image tower has no output "features tokens", but`: func() error {
			_, err := m.EncodeImageOutputs(t.Context(), map[string]Array{"image": images}, true, "features", "tokens")
			require.NoError(t, err) // a program that is not to be mistaken for that of the next call
			_, err = m.EncodeImageOutputs(t.Context(), map[string]Array{"image": images}, true, "features tokens")
			return err
		},
		`the image tower has no output "token", but ["features" "tokens"]`: func() error {
			_, err := m.EncodeImageOutputs(t.Context(), map[string]Array{"image": images}, true, "token")
			return err
		},
		`the text tower has no output "tokens", but ["features"]`: func() error {
			_, err := m.EncodeTextOutputs(t.Context(), nil, true, "tokens")
			return err
		},
		`the image tower is given ["image" "patches"], want ["image"]`: func() error {
			_, err := m.EncodeImageOutputs(t.Context(), map[string]Array{"image": images, "patches": images}, true)
			return err
		},
		`the image tower is given [], want ["image"]`: func() error {
			_, err := m.EncodeImageOutputs(t.Context(), nil, true)
			return err
		},
	} {
		err := call()
		require.ErrorIs(t, err, ErrInput)
		require.ErrorContains(t, err, want)
	}
}

// A text tower's tokens are those of its last block: normalized, or with embed_cls as they
// are and without the class token.
func TestTokensOfATextTower(t *testing.T) {
	for _, cls := range []bool{false, true} {
		c := parse(t, []byte(cliptest.Tiny))
		c.CustomText, c.TextCfg.OutputTokens, c.TextCfg.EmbedCls = true, true, cls
		m, err := New(c, 1, WithDevice(device(t)))
		require.NoError(t, err)
		defer m.Close()
		texts := randomTexts(m, 3)
		outs, err := m.EncodeTextOutputs(t.Context(), texts, false, "tokens")
		require.NoError(t, err)
		last, err := m.ForwardIntermediates(t.Context(), nil, texts, IntermediatesOptions{TextIndices: LastN(1), NormalizeIntermediates: !cls})
		require.NoError(t, err)
		assert.Equal(t, last.TextIntermediates[0], outs["tokens"])
	}
}

// patches is a tower of three inputs, as of pictures of any size: patches, their places
// and which of them count. Its outputs are three, too.
type patches struct{ towers.ImageTower }

const (
	patchesEach = 4
	patchWidth  = 6
)

func (patches) Depth() int { return 0 }

func (patches) Record(g *graph.Graph, batch, length, _ int) towers.Recorded {
	x := g.Input("patches", graph.Shape{batch, length, patchWidth}, graph.F32)
	places := g.Input("places", graph.Shape{batch, length}, graph.I32)
	valid := g.Input("valid", graph.Shape{batch, length}, graph.F32)
	tokens := ops.Gather(g, g.Reshape(x, batch*length, patchWidth), places)
	return towers.Recorded{Outputs: func() towers.Outputs {
		return towers.Outputs{
			towers.Features: g.Module("pool", func() graph.Tensor { return ops.SumAxis(g, tokens, 1) }),
			"tokens":        tokens,
			"counts":        ops.SumAxis(g, valid, 1),
		}
	}}
}

func (patches) Images(inputs map[string]towers.Array) (towers.Batch, error) {
	x := inputs["patches"]
	n := x.Shape[0]
	return towers.Batch{Items: n, Length: patchesEach, Feed: func(lo, hi int) map[string]any {
		places := make([]int32, 0, (hi-lo)*patchesEach)
		for i, at := range inputs["places"].Data[lo*patchesEach : hi*patchesEach] {
			places = append(places, int32(at)+int32(i/patchesEach*patchesEach))
		}
		return map[string]any{
			"patches": x.Data[lo*patchesEach*patchWidth : hi*patchesEach*patchWidth],
			"places":  places,
			"valid":   inputs["valid"].Data[lo*patchesEach : hi*patchesEach],
		}
	}}, check.Rows("patches", x.Shape, len(x.Data), patchesEach*patchWidth)
}

// A model runs a tower of other inputs and outputs as any: in batches, by name.
func TestATowerOfThreeInputsAndThreeOutputs(t *testing.T) {
	m := newModel(t, `{}`, WithMaxBatch(4))
	m.towers.Visual = patches{m.towers.Visual}
	const items = 7
	x := Array{Shape: []int{items, patchesEach, patchWidth}, Data: make([]float32, items*patchesEach*patchWidth)}
	places := Array{Shape: []int{items, patchesEach}, Data: make([]float32, items*patchesEach)}
	valid := Array{Shape: []int{items, patchesEach}, Data: make([]float32, items*patchesEach)}
	for i := range x.Data {
		x.Data[i] = float32(i)
	}
	for i := range places.Data {
		places.Data[i], valid.Data[i] = float32((i+i/patchesEach)%patchesEach), float32(i%3%2)
	}
	images := map[string]Array{"patches": x, "places": places, "valid": valid}
	outs, err := m.EncodeImageOutputs(t.Context(), images, false)
	require.NoError(t, err)
	require.Len(t, outs, 3)
	assert.Equal(t, []int{items, patchWidth}, outs["features"].Shape)
	assert.Equal(t, []int{items, patchesEach, patchWidth}, outs["tokens"].Shape)
	assert.Equal(t, []int{items}, outs["counts"].Shape)
	for i := range items {
		sum, count := float32(0), float32(0)
		for p := range patchesEach {
			row := i*patchesEach + p
			token := x.Data[(i*patchesEach+int(places.Data[row]))*patchWidth]
			assert.Equal(t, token, outs["tokens"].Data[row*patchWidth])
			sum, count = sum+token, count+valid.Data[row]
		}
		assert.Equal(t, sum, outs["features"].Data[i*patchWidth])
		assert.Equal(t, count, outs["counts"].Data[i])
	}
	units, err := m.EncodeImageOutputs(t.Context(), images, true, "features")
	require.NoError(t, err)
	out, err := m.Forward(t.Context(), images, nil)
	require.NoError(t, err)
	assert.Equal(t, units["features"], *out.ImageFeatures)
	traced, err := m.Trace(t.Context(), images, nil, "visual.pool")
	require.NoError(t, err)
	assert.Equal(t, outs["features"], traced["visual.pool"])
}
