package tests

import (
	"errors"
	"maps"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/train"
)

// smallTowers are a vision and a text transformer whose token table, of 384 kB, is
// by far their longest tensor.
func smallTowers() config.Config {
	c := config.Config{EmbedDim: 24, VisionCfg: config.DefaultVisionConfig(), TextCfg: config.DefaultTextConfig()}
	c.VisionCfg.Layers, c.VisionCfg.Width, c.VisionCfg.HeadWidth, c.VisionCfg.ImageSize, c.VisionCfg.PatchSize =
		config.Layers{1}, 48, 16, config.Size{16, 16}, config.Size{8, 8}
	c.TextCfg.ContextLength, c.TextCfg.VocabSize, c.TextCfg.Width, c.TextCfg.Heads, c.TextCfg.Layers = 8, 3000, 32, 2, 1
	return c
}

// towerAnswers are what a model on one device gives, all of it comparable.
type towerAnswers struct {
	image, text clip.Array
	loss        float64
	trained     map[string]clip.Array // the state dict after a step
}

// answer encodes three pairs and, with training, makes a step.
func answer(t *testing.T, m *clip.Model, training bool) (a towerAnswers) {
	t.Helper()
	c := m.Config()
	x := images(c, 3)
	var texts [][]int32
	for i := range 3 {
		row := make([]int32, c.TextCfg.ContextLength)
		for j := range row {
			row[j] = int32((i*997 + j*j*431) % c.TextCfg.VocabSize)
		}
		texts = append(texts, row)
	}
	var err error
	a.image, err = m.EncodeImage(t.Context(), x, true)
	require.NoError(t, err)
	a.text, err = m.EncodeText(t.Context(), texts, true)
	require.NoError(t, err)
	if !training {
		return a
	}
	trainer, err := train.New(m, train.DefaultConfig())
	require.NoError(t, err)
	defer trainer.Close()
	a.loss, err = trainer.Step(t.Context(), train.Batch{Images: x, Texts: texts})
	require.NoError(t, err)
	a.trained, err = trainer.Parameters(t.Context())
	require.NoError(t, err)
	return a
}

// A device that binds more has fewer chunks, and gives the same answers.
func TestTheDevicesLimitSizesChunks(t *testing.T) {
	var want towerAnswers
	chunks, dispatches := 0, 0
	for i, limit := range []int64{64 << 10, 128 << 10, 0} {
		dev, err := gpu.Open(gpu.Options{DefaultLimits: true, Check: true, MaxBinding: limit})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, dev.Close()) })
		if limit > 0 {
			require.Equal(t, limit, dev.Info().MaxBindingBytes)
		}
		m, err := clip.New(smallTowers(), 1, clip.WithDevice(dev))
		require.NoError(t, err)
		defer m.Close()
		got := answer(t, m, true)
		_, text, err := m.Programs(2)
		require.NoError(t, err)
		table := maps.Collect(m.Parameters())["token_embedding.weight"]
		n := len(dev.Target().Buffers(&table.State))
		if i == 0 {
			want, chunks, dispatches = got, n, len(text.Steps)
			continue
		}
		assert.Less(t, n, chunks)
		assert.Less(t, len(text.Steps), dispatches)
		assert.Equal(t, want, got, "a limit of %d bytes", limit)
		chunks, dispatches = n, len(text.Steps)
	}
	assert.Equal(t, 1, chunks)
}

// Batches are split where the device's own limit asks for it, and only there.
func TestTheDevicesLimitSizesBatches(t *testing.T) {
	var want clip.Array
	for _, c := range []struct {
		limit int64
		fits  int // pairs at once, of 4 kB each in the widest layer
	}{{0, 32}, {64 << 10, 16}, {40 << 10, 8}} {
		dev, err := gpu.Open(gpu.Options{DefaultLimits: true, MaxBinding: c.limit})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, dev.Close()) })
		m, err := clip.New(smallTowers(), 1, clip.WithDevice(dev))
		require.NoError(t, err)
		defer m.Close()
		for batch := 1; batch <= 32; batch *= 2 {
			_, _, err := m.Programs(batch)
			var size *graph.SizeError
			require.Equal(t, batch > c.fits, errors.As(err, &size), "%d pairs, a limit of %d bytes: %v", batch, c.limit, err)
		}
		got, err := m.EncodeImage(t.Context(), images(m.Config(), 32), true)
		require.NoError(t, err)
		if want.Data == nil {
			want = got
		}
		assert.InDeltaSlice(t, want.Data, got.Data, 1e-5)
	}
}

// A program for a device that binds more is refused with both numbers.
func TestProgramsForLargerLimitsAreRefused(t *testing.T) {
	small, err := gpu.Open(gpu.Options{DefaultLimits: true, MaxBinding: 128 << 10})
	require.NoError(t, err)
	defer small.Close()
	store := small.NewStore()
	defer store.Close()
	const n = 64 << 10
	for what, x := range map[string]func(g *graph.Graph) graph.Tensor{
		"bytes of input x": func(g *graph.Graph) graph.Tensor { return g.Input("x", graph.Shape{n}, graph.F32) },
		"bytes of a binding": func(g *graph.Graph) graph.Tensor {
			return g.State(&graph.State{Spec: graph.Spec{Shape: graph.Shape{n}}})
		},
	} {
		g := graph.New()
		g.MaxBinding = 1 << 20
		long := x(g)
		prog, err := g.Build(g.Add(long, long))
		require.NoError(t, err)
		_, err = small.Load(prog, store)
		var limit *gpu.LimitError
		require.ErrorAs(t, err, &limit)
		assert.Equal(t, gpu.LimitError{What: what, Value: 4 * n, Limit: 128 << 10}, *limit)
	}
}
