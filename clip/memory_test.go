package clip

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/engine"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// openOwn makes a model of the tiny config on a device of its own.
func openOwn(t *testing.T, o gpu.Options, members string, opts ...Option) (*Model, *engine.Engine) {
	t.Helper()
	o.DefaultLimits = true
	dev, err := gpu.Open(o)
	require.NoError(t, err)
	m := newModel(t, members, append(opts, WithDevice(dev))...)
	require.NoError(t, dev.Close())
	return m, m.engine
}

// All batch sizes together need little more than the largest: an activation has
// a buffer of the largest size, those of the sizes half, a quarter … before, and
// each program its parameters.
func TestBatchSizesShareMemory(t *testing.T) {
	m, _ := openOwn(t, gpu.Options{}, `{}`)
	images := randomImages(m, 33)
	use := func(n int) int64 {
		_, err := m.EncodeImage(t.Context(), images.rows(0, n), true)
		require.NoError(t, err)
		return m.Device().MemoryInUse()
	}
	first := use(1)
	var all int64
	for n := 1; n <= 33; n++ {
		all = use(n)
	}
	for n := 33; n > 0; n-- {
		require.Equal(t, all, use(n), "batch %d", n)
	}
	image, _, err := m.Programs(32)
	require.NoError(t, err)
	largest := image.ArenaBytes() + image.Inputs[0].Bytes()
	assert.Less(t, all-first, 2*largest+6*256*int64(len(image.Steps)))
}

func TestBatchesAreSplitToFitTheBudget(t *testing.T) {
	free, _ := openOwn(t, gpu.Options{}, `{}`)
	images := randomImages(free, 32)
	encode := func(m *Model, n int) (Array, error) { return m.EncodeImage(t.Context(), images.rows(0, n), true) }
	_, err := encode(free, 4)
	require.NoError(t, err)
	budget := free.Device().MemoryInUse()
	want, err := encode(free, 32)
	require.NoError(t, err)
	require.Greater(t, free.Device().MemoryInUse(), budget+1000)

	tight, programs := openOwn(t, gpu.Options{MaxMemory: budget + 1000}, `{}`)
	for range 2 {
		got, err := encode(tight, 32)
		require.NoError(t, err)
		require.Equal(t, want.Shape, got.Shape)
		assert.InDeltaSlice(t, want.Data, got.Data, 1e-5)
	}
	assert.LessOrEqual(t, tight.Device().MemoryInUse(), budget+1000)
	assert.Equal(t, []string{`image ["features"] length=0 normalize=true batch 4`}, programs.Loaded())
	poor, _ := openOwn(t, gpu.Options{MaxMemory: 4<<20 + 20_000}, `{}`)
	_, err = encode(poor, 32)
	var refused *gpu.MemoryError
	require.ErrorAs(t, err, &refused)
	assert.Greater(t, refused.Used+refused.Needed, refused.Allowed)
}

// A program that does not fit takes the place of those that nobody uses, before
// batches are split.
func TestIdleProgramsMakeRoom(t *testing.T) {
	free, _ := openOwn(t, gpu.Options{}, `{}`)
	images := randomImages(free, 32)
	encode := func(m *Model, n int) {
		_, err := m.EncodeImage(t.Context(), images.rows(0, n), true)
		require.NoError(t, err)
	}
	encode(free, 32)
	tight, programs := openOwn(t, gpu.Options{MaxMemory: free.Device().MemoryInUse()}, `{}`)
	for range 2 {
		encode(tight, 32)
		encode(tight, 1)
		assert.Len(t, programs.Loaded(), 1)
	}
	assert.Empty(t, programs.BatchLimits())
}

// While others hold the device's memory, batches are smaller and nothing is
// loaded again for each; when they have given it back, batches are as large as before.
func TestBatchesGrowWithTheMemory(t *testing.T) {
	free, _ := openOwn(t, gpu.Options{}, `{}`)
	images, texts := randomImages(free, 32), randomTexts(free, 1)
	encode := func(m *Model) {
		_, err := m.EncodeText(t.Context(), texts, true)
		require.NoError(t, err)
		_, err = m.EncodeImage(t.Context(), images, true)
		require.NoError(t, err)
	}
	encode(free)
	budget := free.Device().MemoryInUse()
	const whole = `image ["features"] length=0 normalize=true batch 32`

	m, programs := openOwn(t, gpu.Options{MaxMemory: budget}, `{}`)
	others := m.Device().NewStore()
	hog := &graph.State{Name: "hog", Spec: graph.Spec{Shape: graph.Shape{20_000}}}
	require.NoError(t, others.Write(t.Context(), hog, make([]float32, 20_000)))
	encode(m)
	small := programs.Loaded()
	require.NotContains(t, small, whole)
	assert.Contains(t, small, `text ["features"] length=8 normalize=true batch 1`)
	encode(m)
	assert.Equal(t, small, programs.Loaded())

	require.NoError(t, others.Close())
	encode(m)
	assert.Contains(t, programs.Loaded(), whole)
	assert.LessOrEqual(t, m.Device().MemoryInUse(), budget)
}

// 64 images of 2.1 MiB are more than one binding.
func TestBatchesAreSplitToFitABinding(t *testing.T) {
	m, programs := openOwn(t, gpu.Options{}, `{"vision_cfg": {"image_size": 432, "layers": 1, "width": 24, "head_width": 12, "patch_size": 216}}`, WithMaxBatch(64))
	images := randomImages(m, 64)
	got, err := m.EncodeImage(t.Context(), images, true)
	require.NoError(t, err)
	for _, limit := range programs.BatchLimits() {
		assert.Equal(t, 32, limit)
	}
	assert.Len(t, programs.BatchLimits(), 1)
	one, err := m.EncodeImage(t.Context(), images.rows(40, 41), true)
	require.NoError(t, err)
	assert.InDeltaSlice(t, one.Data, got.rows(40, 41).Data, 1e-5)
}
