package train

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// recordedRates is an optimizer whose rate at each step is a recording's.
type recordedRates struct {
	AdamW
	rates []float64
}

func (o recordedRates) Settings(step int) (map[string]float64, error) {
	o.LR = o.rates[step-1]
	return o.AdamW.Settings(step)
}

// Runs of open_clip_train that clip-wgpu verify does not make: a rate that follows a
// schedule, and logit scales that begin beyond what they are clamped to.
func TestRecordedCurves(t *testing.T) {
	dir := filepath.Join(recordings, "train_vit")
	data, err := os.ReadFile(filepath.Join(dir, "curves.json"))
	require.NoError(t, err)
	var curves map[string]struct {
		Loss       []float64 `json:"loss"`
		LogitScale []float64 `json:"logit_scale_after"`
		LR         []float64 `json:"lr"`
		Error      float64   `json:"loss_f32_vs_f64_max_abs"`
	}
	require.NoError(t, json.Unmarshal(data, &curves))
	images, texts := recordedBatches(t, filepath.Join(dir, "inputs.safetensors"))
	for name, start := range map[string]float32{
		"clip_cosine_warmup3_total10": 0, "clip_clamp_high_start_4.7": 4.7, "clip_clamp_low_start_0.002": 0.002,
	} {
		t.Run(name, func(t *testing.T) {
			want, m := curves[name], open(t)
			require.NotEmpty(t, want.Loss)
			for name, p := range m.Parameters() {
				if name == "logit_scale" && start != 0 {
					require.NoError(t, m.Store().Write(t.Context(), &p.State, []float32{start}))
				}
			}
			o := recordedRates{DefaultConfig().Optimizer.(AdamW), want.LR}
			trainer, err := New(m, Config{Loss: ClipLoss{}, Optimizer: o})
			require.NoError(t, err)
			defer trainer.Close()
			for i, loss := range want.Loss {
				got, err := trainer.Step(t.Context(), Batch{Images: images[i%len(images)], Texts: texts[i%len(texts)]})
				require.NoError(t, err)
				assert.InDelta(t, loss, got, max(1e-5, 8*want.Error), "step %d", i+1)
				assert.InDelta(t, want.LogitScale[i], math.Log(float64(m.LogitScale())), 1e-5, "step %d", i+1)
			}
		})
	}
}

// recordedBatches reads image [k, n, 3, 32, 32] and text [k, n, length].
func recordedBatches(t *testing.T, file string) (images []clip.Array, texts [][][]int32) {
	t.Helper()
	f, err := weights.Open(file)
	require.NoError(t, err)
	defer f.Close()
	image, _ := f.Tensor("image")
	text, _ := f.Tensor("text")
	require.Len(t, image.Shape, 5)
	n, size, length := image.Shape[1], image.Len()/image.Shape[0], text.Shape[2]
	for k := range image.Shape[0] {
		x := clip.Array{Shape: image.Shape[1:], Data: make([]float32, size)}
		require.NoError(t, image.ReadF32(x.Data, k*size))
		ids := make([]int64, n*length)
		require.NoError(t, text.ReadI64(ids, k*n*length))
		rows := make([][]int32, n)
		for i := range ids {
			rows[i/length] = append(rows[i/length], int32(ids[i]))
		}
		images, texts = append(images, x), append(texts, rows)
	}
	return images, texts
}
