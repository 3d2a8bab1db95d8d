package clip

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/engine"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

func TestConcurrentEncodesEqualSequentialOnes(t *testing.T) {
	const goroutines, encodes = 8, 100
	m := newModel(t, `{"custom_text": true}`)
	images, texts := randomImages(m, goroutines), randomTexts(m, goroutines)
	encode := func(i int) (image, text Array) {
		image, err := m.EncodeImage(t.Context(), images.rows(i, i+1), true)
		assert.NoError(t, err)
		text, err = m.EncodeText(t.Context(), texts[i:i+1], true)
		assert.NoError(t, err)
		return image, text
	}
	var wantImage, wantText [goroutines]Array
	for i := range goroutines {
		wantImage[i], wantText[i] = encode(i)
	}
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			for range encodes / 2 {
				image, text := encode(i)
				if !assert.Equal(t, wantImage[i].Data, image.Data) || !assert.Equal(t, wantText[i].Data, text.Data) {
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestBadInputStaysWithItsCaller(t *testing.T) {
	m := newModel(t, `{}`)
	images, texts := randomImages(m, 1), randomTexts(m, 1)
	want, err := m.EncodeImage(t.Context(), images, true)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 50 {
				got, err := m.EncodeImage(t.Context(), images, true)
				assert.NoError(t, err)
				assert.Equal(t, want, got)
				_, err = m.EncodeText(t.Context(), texts, true)
				assert.NoError(t, err)
			}
		})
		wg.Go(func() {
			for range 50 {
				_, err := m.EncodeImage(t.Context(), Array{[]int{1, 3, 16, 16}, nil}, true)
				assert.ErrorIs(t, err, ErrInput)
				_, err = m.EncodeText(t.Context(), [][]int32{{-1}}, true)
				assert.ErrorIs(t, err, ErrInput)
			}
		})
	}
	wg.Wait()
}

// soon bounds how long a call may go on after its context has ended.
const soon = time.Second

func TestCancelling(t *testing.T) {
	m := newModel(t, `{}`, WithMaxBatch(4))
	images := randomImages(m, 4096)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, call := range []func(ctx context.Context) error{
		func(ctx context.Context) error { _, err := m.EncodeImage(ctx, images, true); return err },
		func(ctx context.Context) error { _, err := m.EncodeText(ctx, randomTexts(m, 1), true); return err },
		func(ctx context.Context) error {
			_, err := m.Trace(ctx, ImageInputs(images), nil, "visual.ln_post")
			return err
		},
		func(ctx context.Context) error {
			_, err := Load(ctx, checkpoint.Embedded, WithDevice(device(t)))
			return err
		},
	} {
		assert.ErrorIs(t, call(canceled), context.Canceled)
	}

	for _, after := range []time.Duration{time.Millisecond, 20 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		start := time.Now()
		_, err := m.EncodeImage(ctx, images, true)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Less(t, time.Since(start), after+soon)
		cancel()
	}
	got, err := m.EncodeImage(t.Context(), images.rows(0, 4), true)
	require.NoError(t, err)
	assertUnit(t, got)
}

// slowImage holds its pixels back until released.
type slowImage struct {
	image.Rectangle
	release chan struct{}
}

func (s slowImage) Bounds() image.Rectangle { return s.Rectangle }
func (s slowImage) ColorModel() color.Model { return color.GrayModel }
func (s slowImage) At(x, y int) color.Color { <-s.release; return color.Gray{} }

// Pictures that take long to read or to resize keep no caller.
func TestCancellingWhileImagesAreMadeReady(t *testing.T) {
	m := newModel(t, `{}`)
	slow := slowImage{image.Rect(0, 0, 4, 4), make(chan struct{})}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := m.EncodeImages(ctx, []image.Image{slow})
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(start), soon)
	close(slow.release)
}

// slowSource holds its values back until released.
type slowSource struct {
	graph.Source
	release chan struct{}
}

func (s slowSource) ReadF32(dst []float32, offset int) error {
	<-s.release
	return s.Source.ReadF32(dst, offset)
}

// Weights from a slow disk: once its context has ended nobody has to wait for
// them, neither the first caller nor those behind it.
func TestCancellingWhileWeightsAreUploaded(t *testing.T) {
	m := newModel(t, `{}`)
	texts := randomTexts(m, 1)
	slow := slowSource{release: make(chan struct{})}
	release := sync.OnceFunc(func() { close(slow.release) })
	defer time.AfterFunc(10*time.Second, release).Stop() // who waits all the same fails below
	for name, p := range m.Parameters() {
		if name == "token_embedding.weight" {
			slow.Source, p.Source = p.Source, &slow
		}
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := m.EncodeText(ctx, texts, true)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Less(t, time.Since(start), 50*time.Millisecond+soon)
		})
	}
	wg.Wait()
	release()
	got, err := m.EncodeText(t.Context(), texts, true)
	require.NoError(t, err)
	assertUnit(t, got)
}

// A program that could not be loaded is tried again.
func TestLoadingIsTriedAgain(t *testing.T) {
	m := newModel(t, `{}`)
	broken := errors.New("disk on fire")
	restore := func() {}
	for name, p := range m.Parameters() {
		if name == "token_embedding.weight" {
			source := p.Source
			p.Source, restore = failingSource{broken}, func() { p.Source = source }
		}
	}
	texts := randomTexts(m, 1)
	_, err := m.EncodeText(t.Context(), texts, true)
	assert.ErrorIs(t, err, broken)
	assert.ErrorContains(t, err, "token_embedding.weight")
	restore()
	got, err := m.EncodeText(t.Context(), texts, true)
	require.NoError(t, err)
	assertUnit(t, got)
}

type failingSource struct{ err error }

func (s failingSource) ReadF32([]float32, int) error { return s.err }

func TestCloseWhileEncoding(t *testing.T) {
	for range 5 {
		m := newModel(t, `{}`, WithMaxBatch(2))
		images := randomImages(m, 64)
		want, err := m.EncodeImage(t.Context(), images, true)
		require.NoError(t, err)
		var wg sync.WaitGroup
		begun := make(chan struct{}, 4)
		for range 4 {
			wg.Go(func() {
				begun <- struct{}{}
				got, err := m.EncodeImage(t.Context(), images, true)
				if !errors.Is(err, gpu.ErrClosed) && assert.NoError(t, err) {
					assert.Equal(t, want, got)
				}
			})
		}
		<-begun
		for range 3 {
			wg.Go(func() { assert.NoError(t, m.Close()) })
		}
		wg.Wait()
	}
}

func TestSeveralModelsOnADevice(t *testing.T) {
	a, b := newModel(t, `{}`), newModel(t, `{"custom_text": true}`)
	images := randomImages(a, 1)
	want, err := a.EncodeImage(t.Context(), images, true)
	require.NoError(t, err)
	same, err := b.EncodeImage(t.Context(), images, true)
	require.NoError(t, err)
	assert.Equal(t, want, same)
	require.NoError(t, b.Close())
	again, err := a.EncodeImage(t.Context(), images, true)
	require.NoError(t, err)
	assert.Equal(t, want, again)
}

func TestAnImageDoesNotDependOnItsBatch(t *testing.T) {
	m := newModel(t, `{}`)
	images, texts := randomImages(m, 33), randomTexts(m, 33)
	image, err := m.EncodeImage(t.Context(), images.rows(5, 6), true)
	require.NoError(t, err)
	text, err := m.EncodeText(t.Context(), texts[5:6], true)
	require.NoError(t, err)
	for _, n := range []int{7, 8, 33} {
		x, err := m.EncodeImage(t.Context(), images.rows(0, n), true)
		require.NoError(t, err)
		assert.InDeltaSlice(t, image.Data, x.rows(5, 6).Data, 1e-5, "%d images", n)
		y, err := m.EncodeText(t.Context(), texts[:n], true)
		require.NoError(t, err)
		assert.InDeltaSlice(t, text.Data, y.rows(5, 6).Data, 1e-5, "%d texts", n)
	}
}

func TestProgramsAreBounded(t *testing.T) {
	m := newModel(t, `{"custom_text": true}`)
	programs := m.engine
	encode := func(n, length int) (key string) {
		rows := make([][]int32, n)
		for i := range rows {
			rows[i] = make([]int32, length)
		}
		_, err := m.EncodeText(t.Context(), rows, true)
		require.NoError(t, err)
		return fmt.Sprintf(`text ["features"] length=%d normalize=true batch %d`, length, n)
	}
	often := encode(1, 1)
	var others []string
	for length := 2; length <= 8; length++ {
		for n := 1; n <= 8; n *= 2 {
			others = append(others, encode(n, length))
			encode(1, 1)
			assert.LessOrEqual(t, len(programs.Loaded()), engine.MaxPrograms)
		}
	}
	kept := append(others[len(others)-engine.MaxPrograms+1:], often)
	assert.ElementsMatch(t, kept, programs.Loaded(), "the most recently used")
}
