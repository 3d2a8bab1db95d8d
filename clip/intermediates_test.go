package clip

import (
	"testing"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/cliptest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestIndices(t *testing.T) {
	for _, c := range []struct {
		in   Indices
		want []int
	}{
		{LastN(1), []int{2}},
		{LastN(3), []int{0, 1, 2}},
		{Blocks{-1}, []int{2}},
		{Blocks{-3}, []int{0}},
		{Blocks{2, 0, 2, -1}, []int{0, 2}},
	} {
		got, err := c.in.indices(3)
		require.NoError(t, err)
		assert.Equal(t, c.want, got, "%v", c.in)
	}
	for _, c := range []struct {
		in   Indices
		want string
	}{
		{LastN(0), "last-n (0) is out of range (1 to 3)"},
		{LastN(-1), "last-n (-1)"},
		{LastN(4), "last-n (4)"},
		{Blocks{0, 3}, "feature index 3 is out of range (-3 to 2)"},
		{Blocks{-4}, "feature index -4"},
		{Blocks{}, "empty"},
	} {
		_, err := c.in.indices(3)
		assert.ErrorIs(t, err, ErrInput)
		assert.ErrorContains(t, err, c.want)
	}
}

// deep is a change of the cliptest.Tiny config to three blocks in each tower.
const deep = `"vision_cfg": {"image_size": [16, 24], "layers": 3, "width": 24, "head_width": 12, "patch_size": 8},
	"text_cfg": {"context_length": 8, "vocab_size": 90, "width": 24, "heads": 2, "layers": 3`

func TestIntermediatesAreTheTracedBlocks(t *testing.T) {
	m := newModel(t, `{`+deep+`}}`)
	images, texts := randomImages(m, 2), randomTexts(m, 3)
	out, err := m.ForwardIntermediates(t.Context(), ImageInputs(images), texts, IntermediatesOptions{
		ImageIndices: Blocks{-1, 0}, TextIndices: LastN(2), ImageOutputFmt: "NLC", ImageOutputExtraTokens: true,
	})
	require.NoError(t, err)
	trace, err := m.Trace(t.Context(), ImageInputs(images), texts, "visual.transformer.resblocks.0", "visual.transformer.resblocks.2", "transformer.resblocks.1", "transformer.resblocks.2")
	require.NoError(t, err)
	require.Len(t, out.ImageIntermediates, 2)
	require.Len(t, out.ImageIntermediatesPrefix, 2)
	for i, name := range []string{"visual.transformer.resblocks.0", "visual.transformer.resblocks.2"} {
		whole := trace[name]
		require.Equal(t, []int{2, 7, 24}, whole.Shape)
		assert.Equal(t, []int{2, 6, 24}, out.ImageIntermediates[i].Shape)
		assert.Equal(t, []int{2, 1, 24}, out.ImageIntermediatesPrefix[i].Shape)
		for n := range 2 {
			assert.InDeltaSlice(t, whole.rows(n, n+1).Data, append(out.ImageIntermediatesPrefix[i].rows(n, n+1).Data[:24:24], out.ImageIntermediates[i].rows(n, n+1).Data...), 1e-5)
		}
	}
	require.Len(t, out.TextIntermediates, 2)
	assert.InDeltaSlice(t, trace["transformer.resblocks.1"].Data, out.TextIntermediates[0].Data, 1e-5)
	assert.InDeltaSlice(t, trace["transformer.resblocks.2"].Data, out.TextIntermediates[1].Data, 1e-5)

	channels, err := m.ForwardIntermediates(t.Context(), ImageInputs(images), nil, IntermediatesOptions{ImageIndices: LastN(1)})
	require.NoError(t, err)
	got, want := channels.ImageIntermediates[0], out.ImageIntermediates[1]
	require.Equal(t, []int{2, 24, 2, 3}, got.Shape)
	assert.Equal(t, want.Data[24*4+5], got.Data[5*6+4]) // channel 5 of patch 4 of image 0
	assert.Nil(t, channels.ImageIntermediatesPrefix)
	assert.Nil(t, channels.TextIntermediates)
	assert.Nil(t, channels.LogitScale)

	forward, err := m.Forward(t.Context(), ImageInputs(images), texts)
	require.NoError(t, err)
	assert.InDeltaSlice(t, forward.ImageFeatures.Data, out.ImageFeatures.Data, 1e-6)
	assert.InDeltaSlice(t, forward.TextFeatures.Data, out.TextFeatures.Data, 1e-6)
}

func TestIntermediatesOptions(t *testing.T) {
	for _, class := range []struct {
		name, members string
		custom        bool
	}{
		{"CLIP", `{` + deep + `}}`, false},
		{"CustomTextCLIP", `{"custom_text": true, "init_logit_bias": -10, ` + deep + `, "embed_cls": true}}`, true},
	} {
		t.Run(class.name, func(t *testing.T) {
			m := newModel(t, class.members)
			images, texts := randomImages(m, 2), randomTexts(m, 2)
			run := func(o IntermediatesOptions) *Intermediates {
				t.Helper()
				out, err := m.ForwardIntermediates(t.Context(), ImageInputs(images), texts, o)
				require.NoError(t, err)
				return out
			}
			plain := run(IntermediatesOptions{})
			assert.Len(t, plain.ImageIntermediates, 3)
			assert.Len(t, plain.TextIntermediates, 3)
			assert.Equal(t, []int{2, 8, 24}, plain.TextIntermediates[0].Shape)

			early := run(IntermediatesOptions{ImageIndices: Blocks{0}, TextIndices: Blocks{0}, StopEarly: true})
			assert.NotEqual(t, plain.ImageFeatures.Data, early.ImageFeatures.Data)
			if class.custom {
				assert.NotEqual(t, plain.TextFeatures.Data, early.TextFeatures.Data)
			} else {
				assert.InDeltaSlice(t, plain.TextFeatures.Data, early.TextFeatures.Data, 1e-6)
			}

			only := run(IntermediatesOptions{IntermediatesOnly: true, OutputLogits: true, OutputLogitScaleBias: true})
			assert.Nil(t, only.ImageFeatures)
			assert.Nil(t, only.TextFeatures)
			assert.Nil(t, only.ImageLogits)
			assert.Equal(t, m.LogitScale(), *only.LogitScale)
			assert.Equal(t, class.custom, only.LogitBias != nil)

			logits := run(IntermediatesOptions{OutputLogits: true})
			image, text, err := m.GetLogits(t.Context(), ImageInputs(images), texts)
			require.NoError(t, err)
			assert.InDeltaSlice(t, image.Data, logits.ImageLogits.Data, 1e-5)
			assert.InDeltaSlice(t, text.Data, logits.TextLogits.Data, 1e-5)

			raw := run(IntermediatesOptions{NoNormalize: true})
			features, err := m.EncodeText(t.Context(), texts, false)
			require.NoError(t, err)
			assert.InDeltaSlice(t, features.Data, raw.TextFeatures.Data, 1e-6)

			normalized := run(IntermediatesOptions{NormalizeIntermediates: true, TextOutputExtraTokens: true})
			assert.NotEqual(t, plain.ImageIntermediates[2].Data, normalized.ImageIntermediates[2].Data)
			if class.custom {
				require.Len(t, normalized.TextIntermediatesSuffix, 3)
				assert.Equal(t, []int{2, 1, 24}, normalized.TextIntermediatesSuffix[0].Shape)
			} else {
				assert.Nil(t, normalized.TextIntermediatesSuffix)
			}
		})
	}
}

func TestIntermediatesRefuse(t *testing.T) {
	custom := newModel(t, `{"custom_text": true}`)
	pooled := parse(t, cliptest.With(t, "vision_cfg", `{"attentional_pool": true, "attn_pooler_heads": 4}`))
	wide, err := New(pooled, 1, WithDevice(device(t)))
	require.NoError(t, err)
	defer wide.Close()
	for _, c := range []struct {
		m    *Model
		o    IntermediatesOptions
		want string
	}{
		{custom, IntermediatesOptions{ImageIndices: Blocks{1}}, "feature index 1"},
		{custom, IntermediatesOptions{TextIndices: LastN(2)}, "last-n (2)"},
		{custom, IntermediatesOptions{ImageOutputFmt: "NHWC"}, `"NHWC"`},
		{custom, IntermediatesOptions{TextOutputFmt: "NCL"}, `"NCL"`},
		{wide, IntermediatesOptions{NormalizeIntermediates: true}, "ln_post is 20 wide"},
	} {
		images, texts := randomImages(c.m, 1), randomTexts(c.m, 1)
		_, err := c.m.ForwardIntermediates(t.Context(), ImageInputs(images), texts, c.o)
		assert.ErrorIs(t, err, ErrInput)
		assert.ErrorContains(t, err, c.want)
	}
	_, err = custom.ForwardIntermediates(t.Context(), nil, randomTexts(custom, 1), IntermediatesOptions{OutputLogits: true})
	assert.ErrorIs(t, err, ErrInput)
}

func TestTraceNamesWhatIsMissing(t *testing.T) {
	m := newModel(t, `{}`)
	images, texts := randomImages(m, 3), randomTexts(m, 2)
	got, err := m.Trace(t.Context(), ImageInputs(images), texts, "visual.conv1", "visual.transformer.input", "visual.ln_post", "ln_final", "transformer.resblocks.0.attn")
	require.NoError(t, err)
	for name, shape := range map[string][]int{
		"visual.conv1":                 {3, 24, 2, 2},
		"visual.transformer.input":     {3, 5, 24},
		"visual.ln_post":               {3, 5, 24},
		"ln_final":                     {2, 8, 24},
		"transformer.resblocks.0.attn": {2, 8, 24},
	} {
		assert.Equal(t, shape, got[name].Shape, name)
	}
	for _, name := range []string{"visual.transformer.resblocks.1", "ln_final", ""} {
		_, err = m.Trace(t.Context(), ImageInputs(images), nil, name)
		assert.ErrorIs(t, err, ErrInput)
		assert.ErrorContains(t, err, `"`+name+`"`)
	}
	none, err := m.Trace(t.Context(), ImageInputs(images), texts)
	require.NoError(t, err)
	assert.Empty(t, none)
}
