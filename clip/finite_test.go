package clip

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/cliptest"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

var (
	nan = float32(math.NaN())
	inf = float32(math.Inf(1))
)

func TestLoadWarnsOfWhatIsNotFinite(t *testing.T) {
	m := newModel(t, `{}`)
	x := cliptest.Tensors(t, m.Parameters())
	cliptest.Set(t, x, "visual.ln_post.weight", []int{24}, 1, 1, nan)
	cliptest.Set(t, x, "visual.ln_post.bias", []int{24}, 0, -inf)
	got := load(t, cliptest.Folder(t, x, configOf(t, m)))
	assert.Equal(t, []string{"NaN in tensor visual.ln_post.weight (element 2)", "Inf in tensor visual.ln_post.bias (element 1)"}, got.Warnings())

	for name := range x {
		cliptest.Set(t, x, name, x[name].Shape, nan)
	}
	got = load(t, cliptest.Folder(t, x, configOf(t, m)))
	require.Len(t, got.Warnings(), 1)
	assert.Regexp(t, fmt.Sprintf(`^NaN in tensor( \S+ \(element 0\),?){3} and %d more$`, len(x)-3), got.Warnings()[0])
}

// NaN in any one tensor of a tower is an error of this tower that names it, and
// no other tower's; what the other tower computes stays right.
func TestNaNWeightsGiveNoAnswer(t *testing.T) {
	for _, recording := range []string{"vit_openai_tiny", "opt_custom_text", "modified_resnet", "siglip_timm_map"} {
		t.Run(recording, func(t *testing.T) {
			t.Parallel()
			config, err := os.ReadFile(filepath.Join(oracle, recording, "config.json"))
			require.NoError(t, err)
			file, err := weights.Open(filepath.Join(oracle, recording, "model.safetensors"))
			require.NoError(t, err)
			defer file.Close()
			for _, x := range file.Tensors() {
				if x.DType.IsFloat() {
					t.Run(x.Name, func(t *testing.T) { nanIn(t, file, x, string(config)) })
				}
			}
		})
	}
}

func nanIn(t *testing.T, file *weights.File, x weights.Stored, config string) {
	all := weights.NewMap(file.Tensors()...)
	cliptest.Set(t, all, x.Name, x.Shape, slices.Repeat([]float32{nan}, x.Len())...)
	m := load(t, cliptest.Folder(t, all, config))
	defer m.Close()
	images, texts := randomImages(m, 2), randomTexts(m, 2)
	features, imageErr := m.EncodeImage(t.Context(), images, true)
	textFeatures, textErr := m.EncodeText(t.Context(), texts, true)
	wrong := []error{imageErr}
	switch of := "image features"; {
	case strings.HasPrefix(x.Name, "logit_"):
		require.NoError(t, imageErr)
		require.NoError(t, textErr)
		_, logitErr := m.Similarity(t.Context(), features, textFeatures)
		wrong = []error{logitErr}
		of = "logits"
		fallthrough
	case strings.HasPrefix(x.Name, "visual."):
		require.NoError(t, textErr)
		assert.EqualError(t, wrong[0], fmt.Sprintf("NaN or Inf in the %s of item 0 and 1 more: NaN in tensor %s (element 0)", of, x.Name))
	default:
		require.NoError(t, imageErr)
		assert.EqualError(t, textErr, fmt.Sprintf("NaN or Inf in the text features of item 0 and 1 more: NaN in tensor %s (element 0)", x.Name))
	}
}

// A batch with one bad item says which, and gives the others.
func TestNotFiniteItems(t *testing.T) {
	for _, class := range classes {
		t.Run(class.name, func(t *testing.T) {
			m := newModel(t, class.members)
			images := randomImages(m, 3)
			want, err := m.EncodeImage(t.Context(), images, true)
			require.NoError(t, err)
			item := len(images.Data) / 3
			images.Data[item+5] = inf
			got, err := m.EncodeImage(t.Context(), images, true)
			var notFinite *NotFiniteError
			require.ErrorAs(t, err, &notFinite)
			assert.Equal(t, NotFiniteError{"image features", []int{1}, "the input holds NaN or Inf"}, *notFinite)
			assert.EqualError(t, err, "NaN or Inf in the image features of item 1: the input holds NaN or Inf")
			assert.Equal(t, want.rows(0, 1).Data, got.rows(0, 1).Data)
			assert.Equal(t, want.rows(2, 3).Data, got.rows(2, 3).Data)

			_, err = m.ForwardIntermediates(t.Context(), ImageInputs(images), nil, IntermediatesOptions{})
			assert.ErrorAs(t, err, &notFinite)
			_, _, err = m.GetLogits(t.Context(), ImageInputs(images), randomTexts(m, 2))
			assert.ErrorAs(t, err, &notFinite)
			_, err = m.Forward(t.Context(), ImageInputs(images), nil)
			assert.ErrorAs(t, err, &notFinite)
			_, err = m.Similarity(t.Context(), want, Array{[]int{1, want.Shape[1]}, slices.Repeat([]float32{nan}, want.Shape[1])})
			assert.EqualError(t, err, "NaN or Inf in the logits of item 0 and 2 more: the input holds NaN or Inf")
			_, err = m.Trace(t.Context(), ImageInputs(images), nil, "visual.ln_post")
			assert.NoError(t, err, "how NaN spreads can be looked at")
		})
	}
}

// Who leaves does not wait until the cause is found in weights that nobody has read yet.
func TestNotFiniteOfALeaver(t *testing.T) {
	m := newModel(t, `{}`)
	m.inspecting.Lock() // by somebody who reads weights
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := m.finite(ctx, "image features", Array{[]int{1, 1}, []float32{nan}}, m.isImage)
	assert.ErrorIs(t, err, context.Canceled)
	m.inspecting.Unlock()
}

func TestLogitScaleOverflows(t *testing.T) {
	m := newModel(t, `{}`)
	x := cliptest.Tensors(t, m.Parameters())
	cliptest.Set(t, x, "logit_scale", nil, 100)
	got := load(t, cliptest.Folder(t, x, configOf(t, m)))
	_, _, err := got.GetLogits(t.Context(), ImageInputs(randomImages(m, 1)), randomTexts(m, 1))
	assert.EqualError(t, err, "NaN or Inf in the logits of item 0: the exponential of tensor logit_scale is +Inf")
}

// A weight that 16 bits cannot hold stays in float32, which a warning says, and
// the features are those of the model.
func TestWeightsBeyondTheirStorage(t *testing.T) {
	m := newModel(t, `{}`)
	large := []string{
		"visual.conv1.weight", "visual.proj", "visual.transformer.resblocks.0.attn.in_proj_weight",
		"visual.transformer.resblocks.0.attn.out_proj.weight", "visual.transformer.resblocks.0.mlp.c_fc.weight",
		"visual.transformer.resblocks.0.mlp.c_proj.weight", "text_projection", "transformer.resblocks.0.mlp.c_fc.weight",
	}
	for _, c := range []struct {
		as    CastDType
		value float32
	}{{F16, -70000}, {BF16, 0x1.fffp127}} {
		for _, name := range large {
			x := cliptest.Tensors(t, m.Parameters())
			data := make([]float32, x[name].Len())
			require.NoError(t, x[name].ReadF32(data, 0))
			data[3] = c.value
			cliptest.Set(t, x, name, x[name].Shape, data...)
			source := cliptest.Folder(t, x, configOf(t, m))
			got := load(t, source, WithCastDType(c.as))
			assert.Equal(t, []string{fmt.Sprintf("stored in f32, as fewer bits cannot hold it: tensor %s (element 3 is %v)", name, c.value)}, got.Warnings())
			if c.as == BF16 {
				continue // the towers' float32 overflows, too
			}
			plain := load(t, source)
			assert.Empty(t, plain.Warnings())
			a, b := encodeBoth(t, plain), encodeBoth(t, got)
			for i := range 2 {
				assert.GreaterOrEqual(t, cosine(a[0], b[0], i), 0.9999, "%s, image", name)
				assert.GreaterOrEqual(t, cosine(a[1], b[1], i), 0.9999, "%s, text", name)
			}
		}
	}
}

// So does one whose elements are all below float16's full precision.
func TestWeightsTooSmallForTheirStorage(t *testing.T) {
	m := newModel(t, `{}`)
	want := encodeBoth(t, m)
	for tower, name := range []string{"visual.proj", "text_projection"} {
		x := cliptest.Tensors(t, m.Parameters())
		data := make([]float32, x[name].Len())
		require.NoError(t, x[name].ReadF32(data, 0))
		data[0] = 0
		unchanged := slices.Clone(data)
		for i := range data {
			data[i] *= 0x1p-27
		}
		cliptest.Set(t, x, name, x[name].Shape, unchanged...)
		want[tower] = encodeBoth(t, load(t, cliptest.Folder(t, x, configOf(t, m))))[tower]
		cliptest.Set(t, x, name, x[name].Shape, data...)
		got := load(t, cliptest.Folder(t, x, configOf(t, m)), WithCastDType(F16))
		require.Len(t, got.Warnings(), 1)
		assert.Contains(t, got.Warnings()[0], fmt.Sprintf("tensor %s (element 1 is %v)", name, data[1]))
		features := encodeBoth(t, got)[tower]
		for i := range 2 {
			assert.GreaterOrEqual(t, cosine(want[tower], features, i), 0.9999, "%s", name)
		}
	}
}

func encodeBoth(t *testing.T, m *Model) [2]Array {
	t.Helper()
	image, err := m.EncodeImage(t.Context(), randomImages(m, 2), true)
	require.NoError(t, err)
	text, err := m.EncodeText(t.Context(), randomTexts(m, 2), true)
	require.NoError(t, err)
	return [2]Array{image, text}
}
