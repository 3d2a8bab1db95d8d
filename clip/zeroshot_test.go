package clip

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestZeroShotClassifierAveragesTemplates(t *testing.T) {
	m, err := Load(t.Context(), checkpoint.Embedded, WithDevice(device(t)))
	require.NoError(t, err)
	defer m.Close()
	templates := []string{"a {}", "the picture of a {}"}
	got, err := ZeroShotClassifier(t.Context(), m, []string{"rose", "pizza"}, templates)
	require.NoError(t, err)
	assert.Equal(t, []int{2, 128}, got.Shape)
	assertUnit(t, got)
	each, err := m.EncodeTexts(t.Context(), []string{"a pizza", "the picture of a pizza"})
	require.NoError(t, err)
	var sum, norm [128]float64
	for i := range sum {
		sum[i] = float64(each.Data[i]) + float64(each.Data[128+i])
		norm[0] += sum[i] * sum[i]
	}
	for i, v := range got.rows(1, 2).Data {
		assert.InDelta(t, sum[i]/math.Sqrt(norm[0]), float64(v), 1e-6)
	}
	names, err := ZeroShotClassifier(t.Context(), m, []string{"rose"}, nil)
	require.NoError(t, err)
	plain, err := m.EncodeTexts(t.Context(), []string{"rose"})
	require.NoError(t, err)
	assert.InDeltaSlice(t, plain.Data, names.Data, 1e-6)
	_, err = ZeroShotClassifier(t.Context(), m, []string{"rose"}, []string{"a flower"})
	assert.ErrorIs(t, err, ErrInput)
	assert.ErrorContains(t, err, `"a flower"`)
}

func TestProbabilities(t *testing.T) {
	softmax := newModel(t, `{}`)
	p := Array{[]int{2, 3}, []float32{1000, 999, -1000, 0, 0, 0}}
	Probabilities(softmax, p)
	assert.InDeltaSlice(t, []float32{0.7310586, 0.26894143, 0, 1. / 3, 1. / 3, 1. / 3}, p.Data, 1e-6)

	sigmoid := newModel(t, `{"init_logit_bias": -10}`)
	p = Array{[]int{1, 3}, []float32{0, 2, -1000}}
	Probabilities(sigmoid, p)
	assert.InDeltaSlice(t, []float32{0.5, 0.880797, 0}, p.Data, 1e-6)

	p = Array{[]int{2, 0}, nil}
	Probabilities(softmax, p)
	assert.Empty(t, p.Data)
}

// oddText is a model whose tokenizer fails on the last of four texts.
type oddText struct{ *Model }

func (oddText) EncodeTexts(_ context.Context, texts []string) (Array, error) {
	return Array{}, &tokenizer.TextError{Index: 3, Err: errors.New("planted")}
}

func TestZeroShotClassifierNamesTheText(t *testing.T) {
	_, err := ZeroShotClassifier(t.Context(), oddText{}, []string{"cat", "dog"}, []string{"a {}", "two {}s"})
	assert.EqualError(t, err, `text "two dogs": planted`)
}
