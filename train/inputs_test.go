package train

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// halves is a model whose images come in two inputs, their upper and lower halves.
type halves struct{ *clip.Model }

func (m halves) Record(g *graph.Graph, pairs int, l towers.Lengths) towers.Outputs {
	size := m.Config().VisionCfg.ImageSize
	half := graph.Shape{pairs, 3, size[0] / 2, size[1]}
	g.Supply(towers.Image, ops.Concat(g, 2, g.Input("upper", half, graph.F32), g.Input("lower", half, graph.F32)))
	outs := m.Model.Record(g, pairs, l)
	outs["mean"] = ops.MeanAxis(g, outs[towers.ImageFeatures], 1)
	return outs
}

func (m halves) Feed(images map[string]clip.Array, texts [][]int32) (map[string]any, towers.Lengths, error) {
	upper, lower := images["upper"], images["lower"]
	if len(images) != 2 || upper.Data == nil || lower.Data == nil {
		return nil, towers.Lengths{}, fmt.Errorf("%w: want upper and lower halves", clip.ErrInput)
	}
	whole := clip.Array{Shape: []int{len(texts), 3, 2 * upper.Shape[2], upper.Shape[3]}, Data: make([]float32, 2*len(upper.Data))}
	feed, l, err := m.Model.Feed(map[string]clip.Array{towers.Image: whole}, texts)
	if err != nil {
		return nil, l, err
	}
	feed["upper"], feed["lower"] = upper.Data, lower.Data
	return feed, l, nil
}

// cut cuts images [n, 3, height, width] into halves.
func cut(images clip.Array) map[string]clip.Array {
	shape := append([]int{}, images.Shape...)
	shape[2] /= 2
	half := shape[2] * shape[3]
	upper, lower := clip.Array{Shape: shape}, clip.Array{Shape: shape}
	for at := 0; at < len(images.Data); at += 2 * half {
		upper.Data = append(upper.Data, images.Data[at:at+half]...)
		lower.Data = append(lower.Data, images.Data[at+half:at+2*half]...)
	}
	return map[string]clip.Array{"upper": upper, "lower": lower}
}

// A model of other inputs trains as any does, whole and in micro-batches.
func TestTrainingTakesInputsByName(t *testing.T) {
	images, texts := pairs(4)
	cfg := Config{Loss: ClipLoss{}, Optimizer: SGD{LR: 0.1}}
	reference := newTrainerOf(t, open(t), cfg)
	want, err := reference.Step(t.Context(), Batch{Images: images, Texts: texts})
	require.NoError(t, err)
	for _, cfg.MicroBatch = range []int{0, 3} {
		trainer := newTrainerOf(t, halves{open(t)}, cfg)
		loss, err := trainer.Step(t.Context(), Batch{Inputs: cut(images), Texts: texts})
		require.NoError(t, err)
		assert.InDelta(t, want, loss, 2e-6)
		assert.InDelta(t, reference.GradNorm(), trainer.GradNorm(), 4e-6)
		_, err = trainer.Step(t.Context(), Batch{Images: images, Texts: texts})
		require.ErrorIs(t, err, clip.ErrInput)
	}
}

// A loss has what else the model computes, by name.
func TestLossesHaveOutputsByName(t *testing.T) {
	images, texts := pairs(4)
	grads, loss, err := Gradients(t.Context(), halves{open(t)}, meanLoss{}, Batch{Inputs: cut(images), Texts: texts})
	require.NoError(t, err)
	assert.NotZero(t, loss)
	assert.NotZero(t, grads["visual.proj"].Data[0])
	trainer := newTrainerOf(t, halves{open(t)}, Config{Loss: meanLoss{}, Optimizer: SGD{LR: 0.1}, MicroBatch: 2})
	_, err = trainer.Step(t.Context(), Batch{Inputs: cut(images), Texts: texts})
	require.ErrorContains(t, err, "no output mean")
}

type meanLoss struct{}

func (meanLoss) Record(g *graph.Graph, f Features) graph.Tensor {
	mean, ok := f.Outputs["mean"]
	if !ok {
		g.Fail("no output mean")
		return graph.Tensor{}
	}
	return ops.Sum(g, ops.Mul(g, mean, mean))
}

func (meanLoss) Inputs(context.Context, Batch) (map[string]any, error) { return nil, nil }

func newTrainerOf(t *testing.T, m Model, c Config) *Trainer {
	t.Helper()
	trainer, err := New(m, c)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, trainer.Close()) })
	return trainer
}
