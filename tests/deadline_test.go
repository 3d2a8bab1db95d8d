package tests

import (
	"context"
	"image"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/train"
)

// busyConfig makes a batch of 32 images take seconds on a software driver.
const busyConfig = `{"embed_dim": 32, "custom_text": true, "vision_cfg": {"layers": 3, "width": 768, "patch_size": 32, "image_size": 224},
	"text_cfg": {"width": 32, "heads": 2, "layers": 1}}`

const deadline, late = 50 * time.Millisecond, 2 * time.Second

// busyModel is a model of that config on a device of its own.
func busyModel(t *testing.T) *clip.Model {
	cfg, _, err := models.Parse([]byte(busyConfig))
	require.NoError(t, err)
	dev, err := gpu.Open(gpu.Options{DefaultLimits: true})
	require.NoError(t, err)
	t.Cleanup(func() { dev.Close() })
	m, err := clip.New(cfg, 1, clip.WithDevice(dev))
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

// Whatever a model and its device are doing, a call returns soon after its
// context has ended. Here it is late by some tenths of a second on two cores, which
// the callers themselves keep busy. A caller that waits for the work of others is
// late by the time of a batch: four seconds and more.
func TestDeadlinesOnABusyModel(t *testing.T) {
	const lasting = 8 * time.Second
	m := busyModel(t)
	trainer, err := train.New(m, train.DefaultConfig())
	require.NoError(t, err)
	defer trainer.Close()

	calls := deadlineCalls(m, trainer)
	require.NoError(t, calls["Store.Write"](t.Context(), 0)) // for Store.Read
	busy, stop := context.WithCancel(t.Context())
	var work, callers sync.WaitGroup
	work.Go(func() { // holds the device
		for busy.Err() == nil {
			_ = calls["EncodeImage"](busy, 32)
		}
	})
	work.Go(func() { // displaces programs
		for i := 0; busy.Err() == nil; i++ {
			ctx, cancel := context.WithTimeout(busy, 20*time.Millisecond)
			_ = calls["EncodeText"](ctx, i)
			cancel()
		}
	})
	worst := make(map[string]time.Duration, len(calls))
	var mu sync.Mutex
	start := time.Now()
	for name, call := range calls {
		callers.Go(func() {
			for i := 1; time.Since(start) < lasting; i++ {
				ctx, cancel := context.WithTimeout(t.Context(), deadline)
				began := time.Now()
				err := call(ctx, i)
				took := time.Since(began)
				cancel()
				if err != nil { // and no other error, which might come early
					assert.ErrorIs(t, err, context.DeadlineExceeded, name)
				}
				mu.Lock()
				worst[name] = max(worst[name], took)
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	stop()
	work.Wait()
	for name, took := range worst {
		t.Log(name, took)
		assert.Less(t, took, deadline+late, name)
	}
}

// A call whose program takes the place of another leaves when its context ends,
// though the device, which has to let go of the other, is busy.
func TestDisplacingProgramsOnABusyDevice(t *testing.T) {
	const kept = 24 // programs
	m := busyModel(t)
	images := clip.Array{Shape: []int{32, 3, 224, 224}, Data: make([]float32, 32*3*224*224)}
	_, err := m.EncodeImage(t.Context(), images, true)
	require.NoError(t, err)
	for i := range kept {
		_, err := m.EncodeText(t.Context(), [][]int32{make([]int32, 1+i)}, true)
		require.NoError(t, err)
	}
	busy, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() {
		for busy.Err() == nil {
			_, _ = m.EncodeImage(busy, images, true)
		}
	})
	time.Sleep(time.Second) // until the device is busy
	for i := range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		began := time.Now()
		_, err := m.EncodeText(ctx, [][]int32{make([]int32, 1+kept+i)}, true)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Less(t, time.Since(began), deadline+late)
		cancel()
	}
	stop()
	work.Wait()
}

// deadlineCall calls something, for another program with each i.
type deadlineCall = func(ctx context.Context, i int) error

// deadlineCalls are calls by name.
func deadlineCalls(m *clip.Model, trainer *train.Trainer) map[string]deadlineCall {
	calls := encodeCalls(m)
	maps.Copy(calls, pairCalls(m))
	maps.Copy(calls, deviceCalls(m))
	maps.Copy(calls, trainCalls(m, trainer))
	return calls
}

func batchOf(i int) int { return 1 + i%32 }

func someImages(n int) clip.Array {
	return clip.Array{Shape: []int{n, 3, 224, 224}, Data: make([]float32, n*3*224*224)}
}

func someTexts(i, length int) [][]int32 {
	return slices.Repeat([][]int32{make([]int32, 1+length%77)}, batchOf(i))
}

// encodeCalls run one tower.
func encodeCalls(m *clip.Model) map[string]deadlineCall {
	return map[string]deadlineCall{
		"EncodeImage": func(ctx context.Context, i int) error {
			_, err := m.EncodeImage(ctx, someImages(min(i, 32)), true)
			return err
		},
		"EncodeText": func(ctx context.Context, i int) error {
			_, err := m.EncodeText(ctx, someTexts(i, i), true)
			return err
		},
		"EncodeImages": func(ctx context.Context, i int) error {
			_, err := m.EncodeImages(ctx, []image.Image{image.NewGray(image.Rect(0, 0, 300, 200))})
			return err
		},
		"EncodeTexts": func(ctx context.Context, i int) error {
			_, err := m.EncodeTexts(ctx, slices.Repeat([]string{"a text"}, batchOf(i)))
			return err
		},
		"Trace": func(ctx context.Context, i int) error {
			_, err := m.Trace(ctx, nil, someTexts(i, i), "text.ln_final")
			return err
		},
	}
}

// pairCalls run both towers, or compare their features.
func pairCalls(m *clip.Model) map[string]deadlineCall {
	features := func(n int) clip.Array { return clip.Array{Shape: []int{n, 32}, Data: make([]float32, n*32)} }
	pair := someImages(1)
	return map[string]deadlineCall{
		"GetLogits": func(ctx context.Context, i int) error {
			_, _, err := m.GetLogits(ctx, clip.ImageInputs(pair), someTexts(i, 7))
			return err
		},
		"Forward": func(ctx context.Context, i int) error {
			_, err := m.Forward(ctx, clip.ImageInputs(pair), someTexts(i, 8))
			return err
		},
		"ForwardIntermediates": func(ctx context.Context, i int) error {
			_, err := m.ForwardIntermediates(ctx, clip.ImageInputs(pair), nil, clip.IntermediatesOptions{ImageIndices: clip.LastN(1 + i%3)})
			return err
		},
		"Similarity": func(ctx context.Context, i int) error {
			_, err := m.Similarity(ctx, features(batchOf(i)), features(i))
			return err
		},
	}
}

// deviceCalls use what a model holds on its device.
func deviceCalls(m *clip.Model) map[string]deadlineCall {
	own := &graph.State{Name: "own", Spec: graph.Spec{Shape: graph.Shape{1000}}}
	return map[string]deadlineCall{
		"Tune": func(ctx context.Context, i int) error {
			_, err := m.Tune(ctx, []int{batchOf(i)}, nil)
			return err
		},
		"Refresh": func(ctx context.Context, _ int) error { return m.Refresh(ctx) },
		"Identity": func(ctx context.Context, _ int) error {
			_, err := m.Identity(ctx)
			return err
		},
		"Store.Read": func(ctx context.Context, _ int) error { return m.Store().Read(ctx, own, make([]float32, 1000)) },
		"Store.Write": func(ctx context.Context, _ int) error {
			return m.Store().Write(ctx, own, make([]float32, 1000))
		},
		"LoadContext": func(ctx context.Context, i int) error {
			_, text, err := m.Programs(batchOf(i))
			if err != nil {
				return err
			}
			s, err := m.Device().LoadContext(ctx, text, m.Store())
			go s.Close()
			return err
		},
	}
}

// trainCalls train.
func trainCalls(m *clip.Model, trainer *train.Trainer) map[string]deadlineCall {
	return map[string]deadlineCall{
		"Step": func(ctx context.Context, i int) error {
			_, err := trainer.Step(ctx, train.Batch{Images: someImages(2), Texts: someTexts(1, i)})
			return err
		},
		"Parameters": func(ctx context.Context, _ int) error { _, err := trainer.Parameters(ctx); return err },
		"Gradients": func(ctx context.Context, i int) error {
			_, _, err := train.Gradients(ctx, m, train.ClipLoss{}, train.Batch{Images: someImages(2), Texts: someTexts(1, i)})
			return err
		},
	}
}
