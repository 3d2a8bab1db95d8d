package train

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// A model that encodes, is trained and encodes again gives to the bit what a new model of
// its checkpoint gives: nothing that was computed from the old parameters is left. So does
// a trainer that resumes.
func TestEncodingAfterTraining(t *testing.T) {
	for _, name := range []string{"modified_resnet", "mobileclip_b_mci", "siglip2_timm_map", "pe_core", "fastvit_mci0"} {
		for _, micro := range []int{0, 2} {
			m := openRecording(t, name)
			b := batchFor(m, 3)
			encode := func(m *clip.Model) []float32 {
				t.Helper()
				x, err := m.EncodeImage(t.Context(), b.Images, true)
				require.NoError(t, err)
				y, err := m.EncodeText(t.Context(), b.Texts, true)
				require.NoError(t, err)
				return append(x.Data, y.Data...)
			}
			image, _, err := m.Programs(2)
			require.NoError(t, err)
			require.Positive(t, image.Once, name)
			config := DefaultConfig()
			config.MicroBatch = micro
			trainer, err := New(m, config)
			require.NoError(t, err)
			last := encode(m)
			saved := filepath.Join(t.TempDir(), "state")
			for step := range 2 {
				_, err = trainer.Step(t.Context(), b)
				require.NoError(t, err)
				now := encode(m)
				require.NotEqual(t, last, now, "%s, step %d", name, step)
				assert.Equal(t, encode(fromSaved(t, m)), now, "%s, step %d, micro-batches of %d", name, step, micro)
				last = now
				if step == 0 {
					require.NoError(t, trainer.Save(t.Context(), saved))
				}
			}
			require.NoError(t, trainer.Resume(t.Context(), saved))
			assert.Equal(t, encode(fromSaved(t, m)), encode(m), "%s, resumed", name)
			require.NoError(t, trainer.Close())
		}
	}
}

// fromSaved is a new model of what m saves.
func fromSaved(t *testing.T, m *clip.Model) *clip.Model {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "model")
	_, err := m.Save(t.Context(), folder, clip.SaveOptions{DType: weights.F32})
	require.NoError(t, err)
	other, err := clip.Load(t.Context(), folder, clip.WithGPU(gpu.Options{DefaultLimits: true}))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, other.Close()) })
	return other
}
