package clip

import (
	"image"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/cliptest"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/gpu"
)

func TestForwardReturnsWhatIsGiven(t *testing.T) {
	for _, class := range classes {
		t.Run(class.name, func(t *testing.T) {
			m := newModel(t, class.members)
			images, texts := randomImages(m, 2), randomTexts(m, 3)
			bias, hasBias := m.LogitBias()

			both, err := m.Forward(t.Context(), ImageInputs(images), texts)
			require.NoError(t, err)
			assert.Equal(t, []int{2, 20}, both.ImageFeatures.Shape)
			assert.Equal(t, []int{3, 20}, both.TextFeatures.Shape)
			assert.Equal(t, m.LogitScale(), both.LogitScale)
			assertUnit(t, *both.ImageFeatures)
			assertUnit(t, *both.TextFeatures)

			image, err := m.Forward(t.Context(), ImageInputs(images), nil)
			require.NoError(t, err)
			assert.Nil(t, image.TextFeatures)
			assert.Equal(t, both.ImageFeatures, image.ImageFeatures)
			text, err := m.Forward(t.Context(), nil, texts)
			require.NoError(t, err)
			assert.Nil(t, text.ImageFeatures)
			assert.Equal(t, both.TextFeatures, text.TextFeatures)
			none, err := m.Forward(t.Context(), nil, nil)
			require.NoError(t, err)
			assert.Nil(t, none.ImageFeatures)
			assert.Nil(t, none.TextFeatures)

			tuple := []any{both.ImageFeatures, both.TextFeatures, both.LogitScale}
			dict := map[string]any{"image_features": both.ImageFeatures, "text_features": both.TextFeatures, "logit_scale": both.LogitScale}
			if hasBias {
				tuple, dict["logit_bias"] = append(tuple, bias), bias
			}
			assert.Equal(t, tuple, both.Tuple())
			assert.Equal(t, dict, both.Dict())
		})
	}
}

func assertUnit(t *testing.T, x Array) {
	t.Helper()
	for i := range x.Shape[0] {
		var sum float64
		for _, v := range x.rows(i, i+1).Data {
			sum += float64(v) * float64(v)
		}
		assert.InDelta(t, 1, sum, 1e-5)
	}
}

func TestLogitScaleIsTheExponential(t *testing.T) {
	m := newModel(t, `{"init_logit_scale": 1.5, "init_logit_bias": -2.25}`)
	assert.InDelta(t, math.Exp(1.5), float64(m.LogitScale()), 1e-6)
	bias, ok := m.LogitBias()
	assert.True(t, ok)
	assert.Equal(t, float32(-2.25), bias)

	m = newModel(t, `{}`)
	assert.InDelta(t, 1/0.07, float64(m.LogitScale()), 1e-5)
	_, ok = m.LogitBias()
	assert.False(t, ok)
}

func TestGetLogitsAreScaledSimilarities(t *testing.T) {
	for _, class := range classes {
		t.Run(class.name, func(t *testing.T) {
			m := newModel(t, class.members)
			images, texts := randomImages(m, 3), randomTexts(m, 2)
			out, err := m.Forward(t.Context(), ImageInputs(images), texts)
			require.NoError(t, err)
			bias, _ := m.LogitBias()
			imageLogits, textLogits, err := m.GetLogits(t.Context(), ImageInputs(images), texts)
			require.NoError(t, err)
			assert.Equal(t, []int{3, 2}, imageLogits.Shape)
			assert.Equal(t, []int{2, 3}, textLogits.Shape)
			for i := range 3 {
				for j := range 2 {
					var dot float64
					for k, v := range out.ImageFeatures.rows(i, i+1).Data {
						dot += float64(v) * float64(out.TextFeatures.rows(j, j+1).Data[k])
					}
					want := dot*float64(m.LogitScale()) + float64(bias)
					assert.InDelta(t, want, float64(imageLogits.Data[i*2+j]), 1e-5)
					assert.Equal(t, imageLogits.Data[i*2+j], textLogits.Data[j*3+i])
				}
			}
		})
	}
}

func TestEncodeWithoutNormalizeKeepsTheLength(t *testing.T) {
	m := newModel(t, `{}`)
	images := randomImages(m, 1)
	raw, err := m.EncodeImage(t.Context(), images, false)
	require.NoError(t, err)
	unit, err := m.EncodeImage(t.Context(), images, true)
	require.NoError(t, err)
	var norm float64
	for _, v := range raw.Data {
		norm += float64(v) * float64(v)
	}
	for i, v := range raw.Data {
		assert.InDelta(t, float64(v)/math.Sqrt(norm), float64(unit.Data[i]), 1e-6)
	}
}

func TestImagesMustFitTheTower(t *testing.T) {
	m := newModel(t, `{}`)
	data := make([]float32, 3*16*16)
	for _, c := range []struct {
		x    Array
		want string
	}{
		{Array{}, "shape []"},
		{Array{Data: data}, "shape []"},
		{Array{[]int{3, 16, 16}, data}, "shape [3 16 16], want [n 3 16 16]"},
		{Array{[]int{1, 16, 16, 3}, data}, "shape [1 16 16 3]"},
		{Array{[]int{1, 3, 8, 8}, data[:192]}, "shape [1 3 8 8]"},
		{Array{[]int{1, 1, 3, 16, 16}, data}, "shape [1 1 3 16 16]"},
		{Array{[]int{2, 3, 16, 16}, data}, "768 elements"},
		{Array{[]int{1, 3, 16, 16}, data[:700]}, "700 elements"},
		{Array{[]int{1, 3, 16, 16}, nil}, "0 elements"},
		{Array{[]int{-1, 3, 16, 16}, data}, "shape [-1 3 16 16]"},
		{Array{[]int{1 << 56, 3, 16, 16}, nil}, "0 elements"}, // the product overflows to 0
	} {
		calls := map[string]error{}
		_, calls["EncodeImage"] = m.EncodeImage(t.Context(), c.x, true)
		_, calls["Forward"] = m.Forward(t.Context(), ImageInputs(c.x), nil)
		_, _, calls["GetLogits"] = m.GetLogits(t.Context(), ImageInputs(c.x), randomTexts(m, 1))
		_, calls["ForwardIntermediates"] = m.ForwardIntermediates(t.Context(), ImageInputs(c.x), nil, IntermediatesOptions{})
		_, calls["Trace"] = m.Trace(t.Context(), ImageInputs(c.x), nil, "visual.ln_post")
		_, _, calls["Feed"] = m.Feed(ImageInputs(c.x), randomTexts(m, 1))
		for name, err := range calls {
			if assert.ErrorIs(t, err, ErrInput, "%s %v", name, c.x.Shape) {
				assert.ErrorContains(t, err, c.want)
				assert.NotContains(t, err.Error(), "\n")
			}
		}
	}
	_, err := m.EncodeImages(t.Context(), []image.Image{image.NewGray(image.Rect(0, 0, 4, 4)), nil})
	assert.ErrorIs(t, err, ErrInput)
	assert.ErrorContains(t, err, "image 1")
	_, err = m.EncodeImages(t.Context(), []image.Image{(*image.Gray)(nil)})
	assert.ErrorIs(t, err, ErrInput, "an interface that holds nil")
	_, err = m.EncodeImages(t.Context(), []image.Image{image.NewGray(image.Rectangle{})})
	assert.ErrorIs(t, err, ErrInput)
}

func TestTextsMustFitTheTower(t *testing.T) {
	full := func(changes ...int32) []int32 { // position, id, …
		row := make([]int32, 8)
		for i := 0; i < len(changes); i += 2 {
			row[changes[i]] = changes[i+1]
		}
		return row
	}
	for _, class := range classes {
		m := newModel(t, class.members)
		for _, c := range []struct {
			texts [][]int32
			want  string
		}{
			{[][]int32{full(), full(3, 90)}, "text 1, position 3: token id 90 is outside the vocabulary of 90"},
			{[][]int32{full(7, -1)}, "text 0, position 7: token id -1"},
			{[][]int32{full(0, math.MaxInt32)}, "text 0, position 0"},
			{[][]int32{make([]int32, 9)}, "text 0 has 9 tokens"},
			{[][]int32{full(), nil}, "text 1 has 0 tokens"},
			{[][]int32{{}}, "text 0 has 0 tokens"},
			{[][]int32{full(), make([]int32, 5)}, "text 1 has 5 tokens"},
		} {
			calls := map[string]error{}
			_, calls["EncodeText"] = m.EncodeText(t.Context(), c.texts, true)
			_, calls["Forward"] = m.Forward(t.Context(), nil, c.texts)
			_, _, calls["GetLogits"] = m.GetLogits(t.Context(), ImageInputs(randomImages(m, 1)), c.texts)
			_, calls["ForwardIntermediates"] = m.ForwardIntermediates(t.Context(), nil, c.texts, IntermediatesOptions{})
			_, calls["Trace"] = m.Trace(t.Context(), nil, c.texts, "ln_final")
			_, _, calls["Feed"] = m.Feed(ImageInputs(randomImages(m, len(c.texts))), c.texts)
			for name, err := range calls {
				if assert.ErrorIs(t, err, ErrInput, "%s %s", class.name, name) {
					assert.ErrorContains(t, err, c.want)
				}
			}
		}
	}
}

func TestOnlyCustomTextTakesShorterTexts(t *testing.T) {
	short := [][]int32{{3, 1, 4, 1, 5}, {9, 2, 6, 5, 3}}
	_, err := newModel(t, `{}`).EncodeText(t.Context(), short, true)
	assert.ErrorIs(t, err, ErrInput)
	assert.ErrorContains(t, err, "text 0 has 5 tokens, want 8")

	m := newModel(t, `{"custom_text": true}`)
	got, err := m.EncodeText(t.Context(), short, true)
	require.NoError(t, err)
	// The mask is causal and argmax pools the first 9 or 5: what follows changes nothing.
	padded, err := m.EncodeText(t.Context(), [][]int32{{3, 1, 4, 1, 5, 0, 0, 0}, {9, 2, 6, 5, 3, 0, 0, 0}}, true)
	require.NoError(t, err)
	assert.InDeltaSlice(t, padded.Data, got.Data, 1e-5)
}

func TestEmptyBatches(t *testing.T) {
	for _, class := range classes {
		m := newModel(t, class.members)
		images := Array{Shape: []int{0, 3, 16, 16}}
		texts := [][]int32{}
		x, err := m.EncodeImage(t.Context(), images, true)
		require.NoError(t, err)
		assert.Equal(t, Array{Shape: []int{0, 20}}, x)
		x, err = m.EncodeText(t.Context(), texts, true)
		require.NoError(t, err)
		assert.Equal(t, []int{0, 20}, x.Shape)
		x, err = m.EncodeImages(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, []int{0, 20}, x.Shape)
		x, err = m.EncodeTexts(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, []int{0, 20}, x.Shape)
		imageLogits, textLogits, err := m.GetLogits(t.Context(), ImageInputs(images), randomTexts(m, 2))
		require.NoError(t, err)
		assert.Equal(t, []int{0, 2}, imageLogits.Shape)
		assert.Equal(t, []int{2, 0}, textLogits.Shape)
		out, err := m.Forward(t.Context(), ImageInputs(images), texts)
		require.NoError(t, err)
		assert.Equal(t, []int{0, 20}, out.ImageFeatures.Shape)
		x, err = ZeroShotClassifier(t.Context(), m, nil, nil)
		require.NoError(t, err)
		assert.Equal(t, []int{0, 20}, x.Shape)

		full := randomTexts(m, 1)
		for _, o := range []IntermediatesOptions{{}, {OutputLogits: true}} {
			_, err = m.ForwardIntermediates(t.Context(), ImageInputs(images), full, o)
			assert.ErrorIs(t, err, ErrInput)
			assert.ErrorContains(t, err, "no images")
			some := randomImages(m, 1)
			_, err = m.ForwardIntermediates(t.Context(), ImageInputs(some), texts, o)
			assert.ErrorIs(t, err, ErrInput)
			assert.ErrorContains(t, err, "no texts")
		}
		_, err = m.Trace(t.Context(), ImageInputs(images), nil, "visual.ln_post")
		assert.ErrorContains(t, err, "no images")
	}
}

func TestSimilarityWantsFeatures(t *testing.T) {
	m := newModel(t, `{}`)
	good := Array{[]int{1, 20}, make([]float32, 20)}
	_, err := m.Similarity(t.Context(), good, Array{[]int{1, 1, 20}, good.Data})
	assert.ErrorIs(t, err, ErrInput, "texts by token")
	for _, bad := range []Array{{}, {[]int{20}, good.Data}, {[]int{1, 2, 20}, good.Data}, {[]int{1, 0, 20}, nil}, {[]int{1, -1, 20}, good.Data},
		{[]int{1 << 62, 4, 20}, nil}, {[]int{0, 1 << 62, 20}, nil}, {[]int{1, 1, 1, 20}, good.Data}, {[]int{2, 20}, good.Data}, {[]int{1, 10}, good.Data[:10]}, {[]int{-1, 20}, nil}} {
		_, err := m.Similarity(t.Context(), bad, good)
		assert.ErrorIs(t, err, ErrInput, "%v", bad.Shape)
		_, err = m.Similarity(t.Context(), good, bad)
		assert.ErrorIs(t, err, ErrInput, "%v", bad.Shape)
	}
}

func TestUnpooledTowersReturnTokens(t *testing.T) {
	cfg := parse(t, cliptest.With(t, "vision_cfg", `{"pool_type": "none"}`))
	cfg.TextCfg.PoolType = "none"
	m, err := New(cfg, 1, WithDevice(device(t)))
	require.NoError(t, err)
	defer m.Close()
	x, err := m.EncodeImage(t.Context(), randomImages(m, 3), true)
	require.NoError(t, err)
	assert.Equal(t, []int{3, 5, 20}, x.Shape)
	y, err := m.EncodeText(t.Context(), randomTexts(m, 3), true)
	require.NoError(t, err)
	assert.Equal(t, []int{3, 8, 20}, y.Shape)
	_, _, err = m.GetLogits(t.Context(), ImageInputs(randomImages(m, 1)), randomTexts(m, 1))
	assert.ErrorIs(t, err, ErrInput)
	pooled := Array{Shape: []int{3, 20}, Data: make([]float32, 60)}
	for i := range 3 {
		copy(pooled.Data[i*20:], y.Data[i*8*20:][:20])
	}
	logits, err := m.Similarity(t.Context(), x, pooled)
	require.NoError(t, err)
	assert.Equal(t, []int{3, 5, 3}, logits.Shape)
	assert.Equal(t, []int{3, 5, 3}, transpose(logits).Shape)
	for item := range 3 {
		for token := range 5 {
			for text := range 3 {
				var dot float64
				for k := range 20 {
					dot += float64(x.Data[(item*5+token)*20+k]) * float64(pooled.Data[text*20+k])
				}
				at := logits.Data[(item*5+token)*3+text]
				assert.InDelta(t, dot*float64(m.LogitScale()), float64(at), 1e-5)
				assert.Equal(t, at, transpose(logits).Data[(text*5+token)*3+item])
			}
		}
	}
	_, err = ZeroShotClassifier(t.Context(), m, []string{"!"}, nil)
	assert.Error(t, err)
}

func TestTextsBeyondTheVocabularyAreRefused(t *testing.T) {
	m := newModel(t, `{}`) // 90 rows, and CLIP's own tokenizer
	_, err := m.EncodeTexts(t.Context(), []string{"a cat"})
	assert.ErrorIs(t, err, ErrInput)
	assert.ErrorContains(t, err, "outside the vocabulary of 90")
}

func TestTokenizerFollowsTheConfig(t *testing.T) {
	text := func(members string) config.Config {
		c := parse(t, cliptest.With(t, "text_cfg", members))
		c.TextCfg.VocabSize = 49408
		return c
	}
	m, err := New(text(`{"tokenizer_kwargs": {"clean": "canonicalize"}}`), 1, WithDevice(device(t)))
	require.NoError(t, err)
	defer m.Close()
	ids := m.Tokenizer().Encode("A cat, no dog!")
	assert.Equal(t, m.Tokenizer().Encode("a cat no dog"), ids)

	m, err = New(text(`{"hf_tokenizer_name": "bert-base-uncased", "tokenizer_kwargs": {"strip_sep_token": true}}`), 1, WithDevice(device(t)))
	require.NoError(t, err)
	defer m.Close()
	assert.Nil(t, m.Tokenizer())
	_, err = m.EncodeTexts(t.Context(), []string{"a cat"})
	assert.ErrorIs(t, err, config.ErrUnsupported)
	assert.ErrorContains(t, err, "bert-base-uncased")

	_, _, err = models.Parse(cliptest.With(t, "text_cfg", `{"tokenizer_kwargs": {"clean": "rinse"}}`))
	assert.ErrorIs(t, err, config.ErrConfig)
	assert.ErrorContains(t, err, "rinse")
}

func TestSizesCanBeReplaced(t *testing.T) {
	m := newModel(t, `{}`, WithImageSize(24, 16), WithContextLength(5))
	x, err := m.EncodeImage(t.Context(), randomImages(m, 1), true)
	require.NoError(t, err)
	assert.Equal(t, []int{1, 20}, x.Shape)
	assert.Equal(t, config.Size{24, 16}, m.Config().VisionCfg.ImageSize)
	assert.Equal(t, [2]int{24, 16}, m.Preprocess().Config().Size)
	_, err = m.EncodeText(t.Context(), [][]int32{{1, 2, 3, 4, 5}}, true)
	require.NoError(t, err)

	_, err = New(parse(t, []byte(cliptest.Tiny)), 1, WithImageSize(4, 16))
	assert.ErrorIs(t, err, config.ErrConfig)
	_, err = New(parse(t, []byte(cliptest.Tiny)), 1, WithContextLength(-3))
	assert.ErrorIs(t, err, config.ErrConfig)
	_, err = New(config.Config{}, 1)
	assert.ErrorIs(t, err, config.ErrConfig)
}

func TestUseAfterClose(t *testing.T) {
	for _, class := range classes {
		m := newModel(t, class.members)
		images, texts := randomImages(m, 1), randomTexts(m, 1)
		x, err := m.EncodeImage(t.Context(), images, true)
		require.NoError(t, err)
		require.NoError(t, m.Close())
		require.NoError(t, m.Close())

		calls := map[string]error{}
		_, calls["EncodeImage"] = m.EncodeImage(t.Context(), images, true)
		_, calls["EncodeText"] = m.EncodeText(t.Context(), texts, true)
		_, _, calls["GetLogits"] = m.GetLogits(t.Context(), ImageInputs(images), texts)
		_, calls["Forward"] = m.Forward(t.Context(), ImageInputs(images), texts)
		_, calls["ForwardIntermediates"] = m.ForwardIntermediates(t.Context(), ImageInputs(images), texts, IntermediatesOptions{})
		_, calls["Trace"] = m.Trace(t.Context(), ImageInputs(images), nil, "visual.ln_post")
		_, calls["Similarity"] = m.Similarity(t.Context(), x, x)
		calls["Refresh"] = m.Refresh(t.Context())
		for name, err := range calls {
			assert.ErrorIs(t, err, gpu.ErrClosed, name)
		}
		assert.NotZero(t, m.LogitScale())
		_, _, err = m.Programs(1)
		assert.NoError(t, err)
	}
	assert.NoError(t, (*Model)(nil).Close())

	closed, err := device(t).Retain()
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	_, err = New(parse(t, []byte(cliptest.Tiny)), 1, WithDevice(closed))
	assert.ErrorIs(t, err, gpu.ErrClosed)
}
