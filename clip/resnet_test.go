package clip

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// resNetRecords are the weights of the recorded ModifiedResNet.
func resNetRecords(t *testing.T) (config.Config, []weights.Record) {
	t.Helper()
	config, err := os.ReadFile(filepath.Join(oracle, "modified_resnet", "config.json"))
	require.NoError(t, err)
	f, err := weights.Open(filepath.Join(oracle, "modified_resnet", "model.safetensors"))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, f.Close()) })
	var records []weights.Record
	for _, x := range f.Tensors() {
		records = append(records, x.As(x.DType))
	}
	return parse(t, config), records
}

func isCounter(r weights.Record) bool { return strings.HasSuffix(r.Name, ".num_batches_tracked") }

// A counter beyond what float32 holds, one stored as a float and missing ones are
// loaded as torch does and written as open_clip does, by Convert to any dtype.
func TestBatchNormCounters(t *testing.T) {
	const big, float = "visual.bn1.num_batches_tracked", "visual.bn2.num_batches_tracked"
	cfg, all := resNetRecords(t)
	var records []weights.Record
	for _, r := range all {
		switch {
		case r.Name == big:
			x, err := weights.FromI64(r.Name, nil, []int64{1<<40 + 1})
			require.NoError(t, err)
			records = append(records, x.As(weights.I64))
		case r.Name == float:
			x, err := weights.FromF32(r.Name, nil, []float32{7})
			require.NoError(t, err)
			records = append(records, x.As(weights.F32))
		case !isCounter(r):
			records = append(records, r)
		}
	}
	path := filepath.Join(t.TempDir(), "model.safetensors")
	require.NoError(t, weights.Save(path, records, weights.SaveOptions{}))
	m, err := Load(t.Context(), path, WithConfig(cfg), WithDevice(device(t)))
	require.NoError(t, err)
	require.NoError(t, m.Close())

	for _, dtype := range []weights.DType{weights.F32, weights.F16} {
		folder := filepath.Join(t.TempDir(), "folder")
		_, err := checkpoint.Convert(t.Context(), path, folder, checkpoint.SaveOptions{DType: dtype}, checkpoint.Options{Config: &cfg})
		require.NoError(t, err)
		f, err := weights.Open(folder)
		require.NoError(t, err)
		require.Len(t, f.Names(), len(all))
		for _, r := range all {
			x, ok := f.Tensor(r.Name)
			require.True(t, ok, r.Name)
			if !isCounter(r) {
				want := dtype
				if len(x.Shape) == 0 { // logit_scale
					want = weights.F32
				}
				assert.Equal(t, want, x.DType, r.Name)
				continue
			}
			assert.Equal(t, weights.I64, x.DType, r.Name)
			assert.Empty(t, x.Shape, r.Name)
			var count [1]int64
			require.NoError(t, x.ReadI64(count[:], 0))
			assert.Equal(t, map[string]int64{big: 1<<40 + 1, float: 7}[r.Name], count[0], r.Name)
		}
		require.NoError(t, f.Close())

		again, err := Load(t.Context(), folder, WithDevice(device(t)))
		require.NoError(t, err)
		want := cfg
		assert.Equal(t, want, again.Config())
		require.NoError(t, again.Close())
	}
}

// Running statistics are not optional, and neither are they integers.
func TestBatchNormStatisticsMustBeThere(t *testing.T) {
	const name = "visual.layer1.0.bn2.running_var"
	cfg, all := resNetRecords(t)
	for want, replace := range map[string]func(weights.Record) []weights.Record{
		"is missing": func(weights.Record) []weights.Record { return nil },
		"I64, the model's is floating point": func(r weights.Record) []weights.Record {
			x, err := weights.FromI64(r.Name, r.Shape, make([]int64, graph.Shape(r.Shape).Elems()))
			require.NoError(t, err)
			return []weights.Record{x.As(weights.I64)}
		},
	} {
		var records []weights.Record
		for _, r := range all {
			if r.Name == name {
				records = append(records, replace(r)...)
			} else {
				records = append(records, r)
			}
		}
		path := filepath.Join(t.TempDir(), "model.safetensors")
		require.NoError(t, weights.Save(path, records, weights.SaveOptions{}))
		_, err := Load(t.Context(), path, WithConfig(cfg), WithDevice(device(t)))
		require.ErrorIs(t, err, weights.ErrMismatch)
		assert.ErrorContains(t, err, name)
		assert.ErrorContains(t, err, want)
	}
}

// open_clip does not resize the positions of attention pooling.
func TestModifiedResNetHasOneImageSize(t *testing.T) {
	cfg, _ := resNetRecords(t)
	_, err := Load(t.Context(), filepath.Join(oracle, "modified_resnet", "model.safetensors"), WithConfig(cfg), WithImageSize(96, 96), WithDevice(device(t)))
	require.ErrorIs(t, err, weights.ErrMismatch)
	assert.ErrorContains(t, err, "visual.attnpool.positional_embedding: shape [5 256], the model's is [10 256]")
}

// Sides that are no multiple of 32 lose what does not fill a pixel of the last map.
func TestModifiedResNetOddSizes(t *testing.T) {
	cfg, _ := resNetRecords(t)
	for _, side := range []int{64, 65, 94} {
		cfg.VisionCfg.ImageSize = config.Size{side, side}
		m, err := New(cfg, 1, WithDevice(device(t)))
		require.NoError(t, err)
		x, err := m.EncodeImage(t.Context(), randomImages(m, 2), true)
		require.NoError(t, err)
		assert.Equal(t, []int{2, cfg.EmbedDim}, x.Shape)
		assert.InDelta(t, 1, cosine(x, x, 0), 1e-6)
		require.NoError(t, m.Close())
	}
}

// quick_gelu is the text tower's alone.
func TestModifiedResNetHasNoGELU(t *testing.T) {
	cfg, _ := resNetRecords(t)
	var features [2]Array
	for i := range features {
		cfg.QuickGELU = i == 1
		m, err := Load(t.Context(), filepath.Join(oracle, "modified_resnet", "model.safetensors"), WithConfig(cfg), WithDevice(device(t)))
		require.NoError(t, err)
		features[i], err = m.EncodeImage(t.Context(), randomImages(m, 1), false)
		require.NoError(t, err)
		require.NoError(t, m.Close())
	}
	assert.Equal(t, features[0], features[1])
}
