package clip

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/internal/guard"
)

// formats are pictures of many kinds: bilevel, palettes, 16 bits, CMYK, turned ones.
func formats(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("../tests/testdata/formats/*.*")
	require.NoError(t, err)
	paths = slices.DeleteFunc(paths, func(path string) bool {
		_, err := preprocess.DecodeFile(path)
		return err != nil
	})
	require.Greater(t, len(paths), 20)
	return paths
}

// What goes to the device as bytes gives the features of what is normalised before, to
// the bit, whatever kind of picture it is and whether it comes as a file or a reader.
func TestPicturesGiveTheFeaturesOfTheirPixels(t *testing.T) {
	for _, members := range []string{`{}`, `{"vision_cfg": {"image_size": 33, "layers": [1, 1, 1, 1], "width": 8, "patch_size": null}}`} {
		m := newModel(t, members, WithMaxBatch(4))
		paths := formats(t)
		size := m.Config().VisionCfg.ImageSize
		x := Array{Shape: []int{len(paths), 3, size[0], size[1]}}
		var readers []preprocess.Picture
		for _, path := range paths {
			img, err := preprocess.DecodeFile(path)
			require.NoError(t, err)
			values, err := m.Preprocess().Apply(img)
			require.NoError(t, err)
			x.Data = append(x.Data, values...)
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			readers = append(readers, preprocess.Reader(strings.NewReader(string(data))))
		}
		want, err := m.EncodeImage(t.Context(), x, true)
		require.NoError(t, err)
		got, err := m.EncodeImageFiles(t.Context(), paths)
		require.NoError(t, err)
		assert.Equal(t, want, got)
		row := 0
		for e, err := range m.EncodePictures(t.Context(), slices.Values(readers), 4, nil) {
			require.NoError(t, err)
			require.NoError(t, e.Err)
			width := len(e.Features.Data)
			assert.Equal(t, want.Data[row*width:(row+1)*width], e.Features.Data, paths[row])
			row++
		}
		assert.Equal(t, len(paths), row)
	}
}

// Pictures keep their order, and one that fails fails alone.
func TestPicturesKeepTheirOrder(t *testing.T) {
	m := newModel(t, `{}`)
	good := formats(t)[0]
	for _, batch := range []int{1, 2, 100} {
		paths := slices.Repeat([]string{good, "missing.png", good, "pictures_test.go", "missing.png"}, 5)
		var times PictureTimes
		i := 0
		for e, err := range m.EncodePictures(t.Context(), preprocess.Files(paths), batch, &times) {
			require.NoError(t, err)
			if paths[i] == good {
				assert.NoError(t, e.Err)
				assert.Len(t, e.Features.Data, m.Config().EmbedDim)
			} else {
				assert.ErrorContains(t, e.Err, paths[i])
			}
			i++
		}
		assert.Len(t, paths, i)
		assert.Positive(t, times.Decode)
		assert.Positive(t, times.Resize)
		assert.Positive(t, times.Compute)
	}
	before := runtime.NumGoroutine()
	for range m.EncodePictures(t.Context(), preprocess.Files(slices.Repeat([]string{good}, 50)), 2, nil) {
		break
	}
	assert.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, 10*time.Second, time.Millisecond, "nobody is left waiting, but for who asks")
	_, err := m.EncodeImageFiles(t.Context(), []string{good, "missing.png"})
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorContains(t, err, "missing.png")
	for _, err := range m.EncodePictures(t.Context(), preprocess.Files(nil), 0, nil) {
		assert.ErrorIs(t, err, ErrInput)
	}

	nothing := []preprocess.Picture{nil, preprocess.Reader(nil), preprocess.GoImage(nil)}
	for e, err := range m.EncodePictures(t.Context(), slices.Values(nothing), 2, nil) {
		require.NoError(t, err)
		assert.Error(t, e.Err)
		assert.NotErrorAs(t, e.Err, new(*guard.PanicError))
	}

	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	for _, err := range m.EncodePictures(ctx, preprocess.Files(slices.Repeat([]string{good}, 50)), 2, nil) {
		if seen++; seen == 3 {
			cancel()
		}
		if err != nil {
			assert.ErrorIs(t, err, context.Canceled)
			break
		}
	}
	assert.Less(t, seen, 50)
	cancel()
}

// Who waits for pictures that do not come leaves when the context ends.
func TestCancellingWhilePicturesAreAwaited(t *testing.T) {
	m := newModel(t, `{}`)
	release := make(chan struct{})
	never := func(yield func(preprocess.Picture) bool) { <-release }
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	for _, err := range m.EncodePictures(ctx, never, 2, nil) {
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	}
	assert.Error(t, ctx.Err())
	assert.Less(t, time.Since(start), soon)
	close(release)
}
