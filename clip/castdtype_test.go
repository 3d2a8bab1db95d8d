package clip

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCastDType: the features of stored weights of fewer bits point where those of float32 do.
func TestCastDType(t *testing.T) {
	recording := func(name string) (path string, opt Option) {
		config, err := os.ReadFile(filepath.Join(oracle, name, "config.json"))
		require.NoError(t, err)
		return filepath.Join(oracle, name, "model.safetensors"), WithConfig(parse(t, config))
	}
	viT, viTConfig := recording("vit_openai_tiny")
	resNet, resNetConfig := recording("modified_resnet")
	for name, source := range map[string]struct {
		path string
		opts []Option
	}{
		"embedded":   {path: checkpoint.Embedded},
		"OpenAI ViT": {path: viT, opts: []Option{viTConfig}},
		"OpenAI RN":  {path: resNet, opts: []Option{resNetConfig}},
	} {
		t.Run(name, func(t *testing.T) {
			features := func(c CastDType) (image, text Array, bytes int64) {
				m, err := Load(context.Background(), source.path, append(source.opts, WithDevice(device(t)), WithCastDType(c))...)
				require.NoError(t, err)
				defer m.Close()
				for _, p := range m.Parameters() {
					bytes += p.Bytes()
				}
				image, err = m.EncodeImage(context.Background(), randomImages(m, 4), false)
				require.NoError(t, err)
				text, err = m.EncodeText(context.Background(), randomTexts(m, 4), false)
				require.NoError(t, err)
				return image, text, bytes
			}
			wantImage, wantText, all := features(F32)
			for c, least := range map[CastDType]float64{F16: 0.9999, BF16: 0.9999, Q8: 0.999} {
				image, text, bytes := features(c)
				assert.Less(t, bytes, all, "%s", c)
				for i := range 4 {
					assert.GreaterOrEqual(t, cosine(wantImage, image, i), least, "%s, image %d", c, i)
					assert.GreaterOrEqual(t, cosine(wantText, text, i), least, "%s, text %d", c, i)
				}
				t.Logf("%s: %d of %d bytes, cosine %.6f %.6f", c, bytes, all, cosine(wantImage, image, 0), cosine(wantText, text, 0))
			}
		})
	}
}

// cosine compares row i of two tensors.
func cosine(a, b Array, i int) float64 {
	width := a.Shape[len(a.Shape)-1]
	var ab, aa, bb float64
	for j := i * width; j < (i+1)*width; j++ {
		ab += float64(a.Data[j]) * float64(b.Data[j])
		aa += float64(a.Data[j]) * float64(a.Data[j])
		bb += float64(b.Data[j]) * float64(b.Data[j])
	}
	return ab / math.Sqrt(aa*bb)
}

func TestParseCastDType(t *testing.T) {
	for _, name := range []string{"f32", "f16", "bf16", "q8"} {
		c, err := ParseCastDType(name)
		require.NoError(t, err)
		assert.EqualValues(t, name, c)
	}
	for _, name := range []string{"", "fp16", "row-major"} {
		_, err := ParseCastDType(name)
		assert.ErrorIs(t, err, ErrInput, "%q", name)
		_, err = Load(context.Background(), checkpoint.Embedded, WithCastDType(CastDType(name)))
		assert.ErrorIs(t, err, ErrInput, "%q", name)
	}
}
