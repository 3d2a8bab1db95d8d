package clip

import (
	"context"
	"image"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/generation"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
)

// captioner opens a recorded model and returns it with n images.
func captioner(t *testing.T, name string, n int) (*Model, map[string]Array) {
	t.Helper()
	m, err := Load(t.Context(), filepath.Join(oracle, name), WithDevice(device(t)))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, m.Close()) })
	return m, noiseFor(m, n)
}

func noiseFor(m *Model, n int) map[string]Array {
	size := m.Config().VisionCfg.ImageSize
	x := Array{Shape: []int{n, 3, size[0], size[1]}, Data: make([]float32, n*3*size[0]*size[1])}
	random := rand.New(rand.NewPCG(3, 4))
	for i := range x.Data {
		x.Data[i] = float32(random.NormFloat64())
	}
	return ImageInputs(x)
}

// ids are special tokens of the recorded models.
func ids(o generation.Options, pad, eos, sot int32) generation.Options {
	o.PadID, o.EosID, o.SotID = &pad, &eos, &sot
	return o
}

// A cache of keys and values changes no token of what reading whole texts gives, not where
// padding is among them, nor how many images there are.
func TestCachedCaptionsAreThoseWithoutACache(t *testing.T) {
	recorded, images := captioner(t, "coca_base_nopool", 3)
	c := recorded.Config()
	c.TextCfg.EmbedCls, c.TextCfg.QKNorm, c.TextCfg.ScaleHeads = false, true, true
	other, err := New(c, 1, WithDevice(device(t)), WithCastDType(Q8))
	require.NoError(t, err)
	defer other.Close()
	prompts := slices.Repeat([][]int32{{60, 0, 5, 0, 0}}, 3)
	for m, changes := range map[*Model][]func(o *generation.Options){
		recorded: {
			func(o *generation.Options) { o.NumReturnSequences, o.RepetitionPenalty = 3, 1.3 },
			func(o *generation.Options) {
				o.Type, o.TopK, o.NumReturnSequences, o.Seed = generation.TopK, 8, 2, 5
			},
		},
		other: {func(o *generation.Options) { o.Type = generation.Greedy }},
	} {
		for _, change := range changes {
			o := ids(generation.Default(), 0, 8, 60)
			o.SeqLen, o.NumBeams = 14, 4
			change(&o)
			m.plain = false
			cached, warnings, err := m.Generate(t.Context(), images, prompts, o)
			require.NoError(t, err)
			assert.Equal(t, o.Type == generation.BeamSearch, len(warnings) == 1)
			require.Len(t, cached, 3*o.NumReturnSequences)
			m.plain = true
			plain, _, err := m.Generate(t.Context(), images, prompts, o)
			require.NoError(t, err)
			assert.Equal(t, plain, cached, "%+v", o)
		}
	}
}

// What a text tower of Hugging Face reads in both directions is read again for each token.
func TestGenerateWithAHuggingFaceTower(t *testing.T) {
	m, images := captioner(t, "coca_roberta_tokens", 2)
	o := ids(generation.Default(), 1, 2, 0)
	o.Type, o.SeqLen, o.MinSeqLen = generation.Greedy, 8, 7
	got, _, err := m.Generate(t.Context(), images, nil, o)
	require.NoError(t, err)
	want := [][]int32{{0}, {0}}
	for len(want[0]) < o.SeqLen {
		out, err := m.Forward(t.Context(), images, want)
		require.NoError(t, err)
		tokens, vocabulary := out.Logits.Shape[1], out.Logits.Shape[2]
		require.Equal(t, 61, vocabulary)
		for i, row := range want {
			logits := slices.Clone(out.Logits.Data[((i+1)*tokens-1)*vocabulary:][:58]) // ids that the tower reads
			if len(row) < o.MinSeqLen {
				logits[2] = float32(math.Inf(-1))
			}
			want[i] = append(row, int32(slices.Index(logits, slices.Max(logits))))
		}
	}
	assert.Equal(t, want, got)
	o.SeqLen = 18 // of which the tower would read 17 of its 16 positions
	_, _, err = m.Generate(t.Context(), images, nil, o)
	require.ErrorIs(t, err, ErrInput)
	require.ErrorContains(t, err, "seq_len is 18, and the model writes texts of up to 17 tokens")
	c := m.Config()
	pooler := "cls_pooler"
	c.TextCfg.HFPoolerType = &pooler
	other, err := New(c, 0, WithDevice(device(t)))
	require.NoError(t, err)
	defer other.Close()
	_, _, err = other.Generate(t.Context(), images, nil, o)
	require.ErrorIs(t, err, ErrInput)
	require.ErrorContains(t, err, "cls_pooler takes the token")
}

// NaN in one call's image is an error, and nothing of it is left for the next call; calls
// at once give what calls one by one give.
func TestGenerateKeepsNothing(t *testing.T) {
	m, images := captioner(t, "coca_tiny", 1)
	o := ids(generation.Default(), 0, 8, 60)
	o.SeqLen = 10
	want, _, err := m.Generate(t.Context(), images, nil, o)
	require.NoError(t, err)
	bad := Array{images["image"].Shape, slices.Repeat([]float32{float32(math.NaN())}, len(images["image"].Data))}
	_, _, err = m.Generate(t.Context(), ImageInputs(bad), nil, o)
	var odd *NotFiniteError
	require.ErrorAs(t, err, &odd)
	var calls sync.WaitGroup
	for beams := 3; beams < 7; beams++ { // more caches than are kept
		calls.Go(func() {
			o := o
			o.NumBeams, o.NumBeamGroups = beams, 1
			got, _, err := m.Generate(t.Context(), images, nil, o)
			if assert.NoError(t, err) && beams == 6 {
				assert.Equal(t, want, got)
			}
		})
	}
	calls.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = m.Generate(ctx, images, nil, o)
	require.ErrorIs(t, err, context.Canceled)
	none, _, err := m.Generate(t.Context(), ImageInputs(Array{Shape: []int{0, 3, 24, 24}}), nil, o)
	require.NoError(t, err)
	assert.Empty(t, none)
}

// Captions are the texts of what Generate gives, of pictures that come in any batches.
func TestCaptions(t *testing.T) {
	m, _ := captioner(t, "coca_tiny", 1)
	o := ids(generation.Default(), 0, 29, 60)
	o.SeqLen, o.NumReturnSequences = 12, 2
	var images []image.Image
	pixels := Array{Shape: []int{3, 3, 24, 24}}
	for i := range 3 {
		img := image.NewGray(image.Rect(0, 0, 24, 24))
		for j := range img.Pix {
			img.Pix[j] = uint8(j * (i + 3))
		}
		images = append(images, img)
		x, err := m.Preprocess().Apply(preprocess.FromImage(img))
		require.NoError(t, err)
		pixels.Data = append(pixels.Data, x...)
	}
	rows, _, err := m.Generate(t.Context(), ImageInputs(pixels), nil, o)
	require.NoError(t, err)
	var want []string
	for _, row := range rows {
		if i := slices.Index(row, 29); i >= 0 {
			row = row[:i]
		}
		text, err := m.Tokenizer().Decode(row[1:])
		require.NoError(t, err)
		want = append(want, strings.TrimSpace(text))
	}
	got, err := m.Caption(t.Context(), images, CaptionOptions{Options: o})
	require.NoError(t, err)
	assert.Equal(t, want, got)
	pictures := func(yield func(preprocess.Picture) bool) {
		for i, img := range images {
			if !yield(preprocess.GoImage(img)) || i == 0 && !yield(nil) {
				return
			}
		}
	}
	var again []string
	var bad int
	for p, err := range m.CaptionPictures(t.Context(), pictures, 2, CaptionOptions{Options: o}) {
		require.NoError(t, err)
		again = append(again, p.Captions...)
		if p.Err != nil {
			bad++
		}
	}
	assert.Equal(t, want, again)
	assert.Equal(t, 1, bad)
}

func TestGenerateRefusals(t *testing.T) {
	m, images := captioner(t, "coca_tiny", 1)
	_, _, err := m.Generate(t.Context(), images, nil, ids(generation.Default(), 0, 8, 60))
	require.ErrorIs(t, err, ErrInput)
	require.ErrorContains(t, err, "seq_len is 30, and the model writes texts of up to 15 tokens")
	for says, change := range map[string]func(o *generation.Options){
		`generation_type is "dance"`: func(o *generation.Options) { o.Type = "dance" },
		"min_seq_len is 14":          func(o *generation.Options) { o.MinSeqLen = 14 },
		"num_beams is 0":             func(o *generation.Options) { o.NumBeams = 0 },
		"num_beam_groups is 7":       func(o *generation.Options) { o.NumBeamGroups = 7 },
		"num_return_sequences is 7":  func(o *generation.Options) { o.NumReturnSequences = 7 },
		"repetition_penalty is NaN":  func(o *generation.Options) { o.RepetitionPenalty = math.NaN() },
		"length_penalty is +Inf":     func(o *generation.Options) { o.LengthPenalty = math.Inf(1) },
		`early_stopping is "soon"`:   func(o *generation.Options) { o.EarlyStopping = "soon" },
		"top_k is 71":                func(o *generation.Options) { o.Type, o.TopK = generation.TopK, 71 },
		"top_p is 1.5":               func(o *generation.Options) { o.Type, o.TopP = generation.TopP, 1.5 },
		"temperature is 0":           func(o *generation.Options) { o.Type, o.Temperature = generation.TopK, 0 },
		"greedy makes one text":      func(o *generation.Options) { o.Type, o.NumReturnSequences = generation.Greedy, 2 },
		"eos_token_id is 49407":      func(o *generation.Options) { o.EosID = nil },
		"no_repeat_ngram_size is -1": func(o *generation.Options) { o.NoRepeatNGram = -1 },
		"seq_len is 1":               func(o *generation.Options) { o.SeqLen = 1 },
	} {
		o := ids(generation.Default(), 0, 8, 60)
		o.SeqLen = 14
		change(&o)
		_, _, err := m.Generate(t.Context(), images, nil, o)
		require.ErrorIs(t, err, ErrInput, says)
		assert.ErrorContains(t, err, says)
	}
	o := ids(generation.Default(), 0, 8, 60)
	o.SeqLen = 14
	for says, prompts := range map[string][][]int32{
		"2 prompts for 1 images": {{60}, {60}},
		"prompt 0 has 14 tokens": {make([]int32, 14)},
		"prompt 0 has 0 tokens":  {{}},
		"token id 70 is outside": {{60, 70}},
	} {
		_, _, err := m.Generate(t.Context(), images, prompts, o)
		require.ErrorIs(t, err, ErrInput, says)
		assert.ErrorContains(t, err, says)
	}
	_, err = m.Caption(t.Context(), nil, CaptionOptions{o, "a photo of"})
	require.ErrorIs(t, err, ErrInput)
	require.ErrorContains(t, err, "is outside the vocabulary of 70")
	_, err = m.Caption(t.Context(), nil, CaptionOptions{o, strings.Repeat("a ", 14)})
	require.ErrorIs(t, err, ErrInput)
	require.ErrorContains(t, err, "the prompt has 15 tokens with the start of text, and captions of seq_len 14 have room for 13 of them")
	none, err := Load(t.Context(), filepath.Join(oracle, "vit_openai_tiny"), WithDevice(device(t)))
	require.NoError(t, err)
	defer none.Close()
	_, err = none.Caption(t.Context(), []image.Image{image.NewGray(image.Rect(0, 0, 9, 9))}, CaptionOptions{Options: o})
	require.ErrorIs(t, err, ErrInput)
	require.ErrorContains(t, err, "has no decoder")
}
