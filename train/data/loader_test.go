package data

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
)

// loader is one of a table of n pictures, of which those in broken cannot be read.
func loader(t *testing.T, n int, o LoaderOptions, broken ...int) (*Loader, string) {
	t.Helper()
	files, table := map[string]string{}, "filepath,title,caption\n"
	for i := range n {
		content := string(picture(t, i))
		if slices.Contains(broken, i) {
			content = content[:40]
		}
		files[fmt.Sprintf("%02d.png", i)] = content
		table += fmt.Sprintf("%02d.png,a %d,b %d\n", i, i, i)
	}
	files["table.csv"] = table
	folder := write(t, files)
	d, err := Open([]string{filepath.Join(folder, "table.csv")}, Options{})
	require.NoError(t, err)
	cfg := preprocess.DefaultConfig()
	cfg.Size = [2]int{4, 4}
	a := preprocess.DefaultAugmentation()
	a.ColorJitter, a.ColorJitterProb = [4]float64{0.4, 0.4, 0.4, 0.1}, 0.8
	o.Transform, err = preprocess.NewTrain(cfg, a)
	require.NoError(t, err)
	l, err := NewLoader(d, o)
	require.NoError(t, err)
	return l, folder
}

// take collects n batches.
func take(t *testing.T, l *Loader, from Position, n int) (batches []Batch) {
	t.Helper()
	for b, err := range l.Batches(t.Context(), from) {
		require.NoError(t, err)
		if batches = append(batches, b); len(batches) == n {
			return batches
		}
	}
	return batches
}

// The order, the captions and the pixels are those of the seed, however many workers there
// are, and from any position on.
func TestBatchesAreTheSameFromAnyPosition(t *testing.T) {
	l, _ := loader(t, 17, LoaderOptions{Batch: 5, Seed: 3, Workers: 1, MaxBad: 2}, 4)
	assert.Equal(t, 3, l.Steps())
	want := take(t, l, Position{}, 7)
	var epoch []int
	for _, b := range want[:3] {
		epoch = append(epoch, b.Samples...)
		for i, index := range b.Samples {
			assert.Contains(t, []string{fmt.Sprintf("a %d", index), fmt.Sprintf("b %d", index)}, b.Captions[i])
		}
	}
	slices.Sort(epoch)
	assert.Len(t, slices.Compact(epoch), 15, "none comes twice in an epoch")
	assert.NotContains(t, epoch, 4)
	assert.NotEqual(t, want[0].Samples, want[3].Samples)
	assert.Equal(t, 1, want[3].After.Epoch)

	l.o.Workers = 4
	assert.Equal(t, want, take(t, l, Position{}, 7))
	for i := range 6 {
		rest := take(t, l, want[i].After, 1)[0]
		assert.Equal(t, want[i+1], rest, "after batch %d", i)
	}
	l.o.Seed = 4
	assert.NotEqual(t, want[0].Samples, take(t, l, Position{}, 1)[0].Samples)
}

// However many cannot be read, each image is that of its sample, and stays so.
func TestImagesBesideBadSamples(t *testing.T) {
	l, _ := loader(t, 31, LoaderOptions{Batch: 4, MaxBad: -1}, 0, 1, 2, 3, 4, 9, 12, 13, 20, 21, 22, 23, 24, 25, 30)
	for n, b := range take(t, l, Position{Epoch: 5, Next: 2}, 9) {
		for i, index := range b.Samples {
			want := l.sample(new(preprocess.Decoder), b.After.Epoch, loaded{index: index, images: make([]float32, l.item)})
			require.NoError(t, want.err)
			assert.Equal(t, want.images, b.Images[i*l.item:(i+1)*l.item], "image %d of batch %d", i, n)
			assert.Equal(t, want.caption, b.Captions[i])
		}
	}
}

// In order is the Dataset's order, in every epoch and from any position on. The rest depends
// on the seed as ever.
func TestBatchesInOrder(t *testing.T) {
	l, _ := loader(t, 7, LoaderOptions{Batch: 2, InOrder: true, Seed: 3, MaxBad: 1}, 2)
	batches := take(t, l, Position{}, 6)
	for i, want := range [][]int{{0, 1}, {3, 4}, {5, 6}, {0, 1}, {3, 4}, {5, 6}} {
		assert.Equal(t, want, batches[i].Samples)
		rest := take(t, l, batches[i].After, 1)[0]
		assert.Equal(t, batches[(i+1)%3].Samples, rest.Samples, "after batch %d", i)
		if i < 5 {
			assert.Equal(t, batches[i+1].Images, rest.Images)
		}
	}
	assert.NotEqual(t, batches[2].Images, batches[5].Images, "augmented otherwise")
	l.o.Seed = 4
	other := take(t, l, Position{}, 3)[2]
	assert.Equal(t, []int{5, 6}, other.Samples)
	assert.NotEqual(t, batches[2].Images, other.Images)
}

// Where the transform makes patches, batches have these in place of images.
func TestBatchesOfPatches(t *testing.T) {
	l, _ := loader(t, 7, LoaderOptions{Batch: 3}, 4)
	cfg := preprocess.DefaultConfig()
	plain, err := preprocess.New(cfg)
	require.NoError(t, err)
	with, err := plain.WithSequence(preprocess.Sequence{PatchSize: [2]int{2, 2}, MaxLength: 6})
	require.NoError(t, err)
	a := preprocess.DefaultAugmentation()
	a.Scale = [2]float64{1, 1}
	transform, err := with.Train(a)
	require.NoError(t, err)
	l, err = NewLoader(l.data, LoaderOptions{Batch: 3, Seed: 2, MaxBad: 1, Transform: transform})
	require.NoError(t, err)
	for _, b := range take(t, l, Position{}, 3) {
		assert.Empty(t, b.Images)
		require.Len(t, b.Patches, 3)
		for i, sample := range b.Samples {
			img, err := l.data.Picture(sample)(new(preprocess.Decoder))
			require.NoError(t, err)
			want, err := with.Patches(img)
			require.NoError(t, err)
			assert.Equal(t, want, b.Patches[i])
		}
	}
}

// What cannot be read is told once, and is an error where there is too much of it.
func TestBadSamples(t *testing.T) {
	l, folder := loader(t, 12, LoaderOptions{Batch: 3, MaxBad: 2}, 1, 7)
	var bad []Bad
	for _, b := range take(t, l, Position{}, 9) {
		bad = append(bad, b.Bad...)
	}
	require.Len(t, bad, 2)
	for _, b := range bad {
		assert.ErrorIs(t, b, preprocess.ErrCorrupt)
		assert.True(t, strings.HasPrefix(b.Where, folder))
	}
	last := func(l *Loader) (n int, err error) {
		for _, err = range l.Batches(t.Context(), Position{}) {
			n++
		}
		return n, err
	}
	for _, b := range take(t, l, Position{}, 9) { // whoever goes on counts and tells no sample twice
		met := len(b.After.Bad)
		for _, rest := range take(t, l, b.After, 9) {
			met += len(rest.Bad)
		}
		assert.Equal(t, 2, met)
	}
	l.o.MaxBad = 1
	for b, err := range l.Batches(t.Context(), Position{Bad: []int{1, 7}}) {
		assert.Empty(t, b.Samples)
		require.ErrorIs(t, err, ErrData)
		assert.ErrorContains(t, err, "2 samples cannot be used, at most 1")
	}
	_, err := last(l)
	require.ErrorIs(t, err, ErrData)
	require.ErrorIs(t, err, preprocess.ErrCorrupt)
	assert.ErrorContains(t, err, "2 samples cannot be used, at most 1")

	l, _ = loader(t, 4, LoaderOptions{Batch: 3, MaxBad: -1}, 0, 2)
	n, err := last(l)
	require.ErrorIs(t, err, ErrData)
	assert.ErrorContains(t, err, "of 4 samples 2 cannot be read")
	assert.Equal(t, 1, n)
}

func TestLoaderOptions(t *testing.T) {
	l, _ := loader(t, 4, LoaderOptions{Batch: 2})
	l.data.Bad = []Bad{{"x:3", assert.AnError}}
	for want, o := range map[string]LoaderOptions{
		"batches of 0":     {MaxBad: 1},
		"and there are 4":  {Batch: 5, MaxBad: 1},
		"-1 workers":       {Batch: 1, Workers: -1, MaxBad: 1},
		"at most 0 may be": {Batch: 1},
	} {
		_, err := NewLoader(l.data, o)
		require.ErrorIs(t, err, ErrData)
		assert.ErrorContains(t, err, want)
	}
	for _, p := range []Position{{Epoch: -1}, {Next: -1}, {Next: 5}, {Bad: []int{4}}, {Bad: []int{1, 1}}} {
		for _, err := range l.Batches(t.Context(), p) {
			require.ErrorIs(t, err, ErrData)
		}
	}
}

// A loader whose context ends, or that is left, leaves no goroutine.
func TestLoaderEnds(t *testing.T) {
	before := runtime.NumGoroutine()
	l, _ := loader(t, 40, LoaderOptions{Batch: 2, Workers: 3})
	take(t, l, Position{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	var last error
	for _, err := range l.Batches(ctx, Position{}) {
		if n++; n == 3 {
			cancel()
		}
		last = err
	}
	require.ErrorIs(t, last, context.Canceled)
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(deadline))
	}
}
