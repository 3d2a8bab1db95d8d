package train_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
	"github.com/clip-wgpu/clip-wgpu/train"
)

// distance is a user's loss: the mean over pairs of their cosine distances, weighted.
type distance struct{}

func (distance) Record(g *graph.Graph, f train.Features) graph.Tensor {
	n := f.Image.Dim(0)
	weights := g.Input("weights", graph.Shape{n}, graph.F32)
	similar := ops.SumAxis(g, ops.Mul(g, f.Image, f.Text), 1)
	distant := g.Add(g.Fill(1, n), ops.Scale(g, similar, -1))
	return ops.Scale(g, ops.Sum(g, ops.Mul(g, weights, distant)), 1/float64(n))
}

func (distance) Inputs(_ context.Context, b train.Batch) (map[string]any, error) {
	w := make([]float32, len(b.Texts))
	for i := range w {
		w[i] = float32(i + 1)
	}
	return map[string]any{"weights": w}, nil
}

func tiny(t testing.TB) *clip.Model {
	m, err := clip.New(tinyConfig(), 1)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, m.Close()) })
	return m
}

func TestLossOfAUser(t *testing.T) {
	m := tiny(t)
	images, texts := tinyPairs(3)
	x, err := m.EncodeImage(t.Context(), images, true)
	require.NoError(t, err)
	y, err := m.EncodeText(t.Context(), texts, true)
	require.NoError(t, err)
	want, width := 0.0, x.Shape[1]
	for i := range 3 {
		similar := 0.0
		for j := range width {
			similar += float64(x.Data[i*width+j]) * float64(y.Data[i*width+j])
		}
		want += float64(i+1) * (1 - similar) / 3
	}
	m.Eval()
	_, got, err := train.Gradients(t.Context(), m, distance{}, train.Batch{Images: images, Texts: texts})
	require.NoError(t, err)
	assert.InDelta(t, want, got, 1e-5)

	cfg := train.DefaultConfig()
	cfg.Loss = distance{}
	trainer, err := train.New(m, cfg)
	require.NoError(t, err)
	defer trainer.Close()
	for range 10 {
		got, err = trainer.Step(t.Context(), train.Batch{Images: images, Texts: texts})
		require.NoError(t, err)
	}
	assert.Less(t, got, want/2)
}

// wrong is a loss that records or feeds something else.
type wrong struct {
	record func(g *graph.Graph, f train.Features) graph.Tensor
	inputs map[string]any
}

func (w wrong) Record(g *graph.Graph, f train.Features) graph.Tensor { return w.record(g, f) }
func (w wrong) Inputs(context.Context, train.Batch) (map[string]any, error) {
	return w.inputs, nil
}

func TestLossesThatAreNone(t *testing.T) {
	m := tiny(t)
	images, texts := tinyPairs(2)
	for want, l := range map[string]wrong{
		"the loss is f32[2×16], want one f32": {record: func(g *graph.Graph, f train.Features) graph.Tensor { return f.Image }},
		"the loss is absent":                  {record: func(g *graph.Graph, f train.Features) graph.Tensor { return graph.Tensor{} }},
		"loss: two is too few": {record: func(g *graph.Graph, f train.Features) graph.Tensor {
			g.Fail("two is too few")
			return ops.Sum(g, f.Image)
		}},
		`input "text" is declared twice`: {record: func(g *graph.Graph, f train.Features) graph.Tensor {
			return ops.Sum(g, g.Input("text", graph.Shape{2}, graph.F32))
		}},
		"input weights f32[2] is missing": {record: func(g *graph.Graph, f train.Features) graph.Tensor {
			return ops.Sum(g, ops.Mul(g, ops.SumAxis(g, f.Image, 1), g.Input("weights", graph.Shape{2}, graph.F32)))
		}},
	} {
		_, _, err := train.Gradients(t.Context(), m, l, train.Batch{Images: images, Texts: texts})
		require.ErrorContains(t, err, want)
		trainer, err := train.New(m, train.Config{Loss: l, Optimizer: train.SGD{LR: 1}})
		require.NoError(t, err)
		_, err = trainer.Step(t.Context(), train.Batch{Images: images, Texts: texts})
		require.ErrorContains(t, err, want)
		require.NoError(t, trainer.Close())
	}
}

// A loss need not see both towers.
func TestLossOfImagesAlone(t *testing.T) {
	images, texts := tinyPairs(2)
	grads, _, err := train.Gradients(t.Context(), tiny(t), wrong{record: func(g *graph.Graph, f train.Features) graph.Tensor {
		return ops.Sum(g, f.Image)
	}}, train.Batch{Images: images, Texts: texts})
	require.NoError(t, err)
	assert.NotZero(t, grads["visual.proj"].Data[0])
	for name, x := range grads {
		if len(name) < 7 || name[:7] != "visual." {
			require.Equal(t, make([]float32, len(x.Data)), x.Data, fmt.Sprint(name))
		}
	}
}
