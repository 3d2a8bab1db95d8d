package clip

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	emojiclip "github.com/clip-wgpu/clip-wgpu/clip/emoji-clip"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/cliptest"
	"github.com/clip-wgpu/clip-wgpu/clip/posembed"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

func load(t *testing.T, source string, opts ...Option) *Model {
	t.Helper()
	m, err := Load(t.Context(), source, append(opts, WithDevice(device(t)))...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

func configOf(t *testing.T, m *Model) string {
	t.Helper()
	data, err := json.Marshal(m.Config())
	require.NoError(t, err)
	return string(data)
}

// assertSameModel compares what two models compute.
func assertSameModel(t *testing.T, want, got *Model) {
	t.Helper()
	images, texts := randomImages(want, 2), randomTexts(want, 2)
	a, err := want.Forward(t.Context(), ImageInputs(images), texts)
	require.NoError(t, err)
	b, err := got.Forward(t.Context(), ImageInputs(images), texts)
	require.NoError(t, err)
	assert.Equal(t, a, b)
}

func TestLoadTakesAFolderOrAFile(t *testing.T) {
	for _, class := range classes {
		m := newModel(t, class.members)
		dir := cliptest.Folder(t, cliptest.Tensors(t, m.Parameters()), configOf(t, m))
		for _, source := range []string{dir, dir + "/", filepath.Join(dir, "open_clip_model.safetensors")} {
			got := load(t, source)
			assert.Equal(t, source, got.Name())
			assert.Equal(t, m.Config(), got.Config())
			assert.Empty(t, got.Warnings())
			assertSameModel(t, m, got)
		}
	}
}

func TestLoadReadsThePreprocessing(t *testing.T) {
	m := newModel(t, `{}`)
	dir := cliptest.Folder(t, cliptest.Tensors(t, m.Parameters()), `{"model_cfg": `+cliptest.Tiny+`, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "resize_mode": "squash"}}`)
	c := load(t, dir).Preprocess().Config()
	assert.Equal(t, preprocess.Channels{0.1, 0.2, 0.3}, c.Mean)
	assert.Equal(t, "squash", c.ResizeMode)
	assert.Equal(t, preprocess.OpenAIDatasetStd, c.Std)
	assert.Equal(t, [2]int{16, 16}, c.Size)
}

func TestLoadEmbedded(t *testing.T) {
	m := load(t, "")
	assert.Equal(t, "emoji-clip", m.Name())
	assert.Equal(t, 3014, m.Tokenizer().VocabSize())
	assert.Equal(t, "bilinear", m.Preprocess().Config().Interpolation)
	assertSameModel(t, m, load(t, checkpoint.Embedded))
	assertSameModel(t, m, load(t, "./emoji-clip"))
}

func TestLoadNamesTensorsThatDoNotFit(t *testing.T) {
	m := newModel(t, `{}`)
	config := configOf(t, m)
	for _, c := range []struct {
		name string
		edit func(x weights.Map)
		want []string
	}{
		{"one missing", func(x weights.Map) { delete(x, "visual.proj") }, []string{"tensor visual.proj is missing"}},
		{"several missing", func(x weights.Map) {
			maps.DeleteFunc(x, func(name string, _ weights.Stored) bool {
				return strings.HasPrefix(name, "ln_final") || name == "visual.proj"
			})
		}, []string{"is missing (and 2 more)"}},
		{"extra", func(x weights.Map) { cliptest.Set(t, x, "visual.extra", []int{2}) }, []string{"tensor visual.extra is not part of the model"}},
		{"extra with an odd name", func(x weights.Map) { cliptest.Set(t, x, "a\nb", []int{2}) }, []string{`"a\nb" is not part`}},
		{"another patch size", func(x weights.Map) { cliptest.Set(t, x, "visual.conv1.weight", []int{24, 3, 4, 4}) },
			[]string{"tensor visual.conv1.weight: shape [24 3 4 4], the model's is [24 3 8 8]"}},
		{"another width of positions", func(x weights.Map) { cliptest.Set(t, x, "positional_embedding", []int{8, 12}) },
			[]string{"positional_embedding: shape [8 12], the model's is [8 24]"}},
		{"positions of no square", func(x weights.Map) { cliptest.Set(t, x, "visual.positional_embedding", []int{4, 24}) },
			[]string{"visual.positional_embedding: shape [4 24], the model's is [5 24]"}},
		{"a logit scale of two", func(x weights.Map) { cliptest.Set(t, x, "logit_scale", []int{2}) }, []string{"logit_scale: shape [2], the model's is []"}},
		{"integers", func(x weights.Map) {
			x["ln_final.bias"], _ = weights.FromI64("ln_final.bias", []int{24}, make([]int64, 24))
		}, []string{"ln_final.bias", "I64", "floating point"}},
		{"both kinds", func(x weights.Map) { delete(x, "ln_final.bias"); cliptest.Set(t, x, "ln_final.beta", []int{24}) },
			[]string{"ln_final.bias is missing", "ln_final.beta is not part"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := cliptest.Tensors(t, m.Parameters())
			c.edit(x)
			dir := cliptest.Folder(t, x, config)
			_, err := Load(t.Context(), dir, WithDevice(device(t)))
			require.ErrorIs(t, err, weights.ErrMismatch)
			for _, want := range append(c.want, dir) {
				assert.ErrorContains(t, err, want)
			}
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestLoadIgnoresIntegerBuffers(t *testing.T) {
	m := newModel(t, `{}`)
	x := cliptest.Tensors(t, m.Parameters())
	ids, err := weights.FromI64("text.embeddings.position_ids", []int{1, 3}, []int64{0, 1, 2})
	require.NoError(t, err)
	x[ids.Name] = ids
	got := load(t, cliptest.Folder(t, x, configOf(t, m)))
	assert.Empty(t, got.Warnings())
	assertSameModel(t, m, got)
}

func TestLoadReadsDoubles(t *testing.T) {
	m := newModel(t, `{}`)
	type entry struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	header := map[string]entry{}
	var data []byte
	for name, p := range m.Parameters() {
		values := make([]float32, p.Shape.Elems())
		require.NoError(t, p.Source.ReadF32(values, 0))
		begin := len(data)
		for _, v := range values {
			data = binary.LittleEndian.AppendUint64(data, math.Float64bits(float64(v)))
		}
		header[name] = entry{"F64", append([]int{}, p.Shape...), [2]int{begin, len(data)}}
	}
	text, err := json.Marshal(header)
	require.NoError(t, err)
	file := bytes.Join([][]byte{binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text, data}, nil)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model.safetensors"), file, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(cliptest.Tiny), 0o644))
	assertSameModel(t, m, load(t, dir))
}

func TestLoadWantsAConfig(t *testing.T) {
	m := newModel(t, `{}`)
	bare := cliptest.Folder(t, cliptest.Tensors(t, m.Parameters()), "")
	_, err := Load(t.Context(), bare)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	assert.ErrorContains(t, err, "open_clip_config.json")
	assert.ErrorContains(t, err, bare)
	assertSameModel(t, m, load(t, bare, WithConfig(m.Config())))

	for _, c := range []struct {
		name, file, text string
		kind             error
		want             string
	}{
		{"Hugging Face's other models", "config.json", `{"architectures": ["BlipModel"], "model_type": "blip", "vision_config": {}}`, config.ErrUnsupported, "Hugging Face"},
		{"Hugging Face's CLIP with ReLU", "config.json", `{"model_type": "clip", "text_config": {"hidden_act": "relu"}}`, config.ErrUnsupported, "relu"},
		{"no JSON", "open_clip_config.json", `{"model_cfg": `, config.ErrConfig, "unexpected end"},
		{"empty", "open_clip_config.json", ``, config.ErrConfig, "unexpected end"},
		{"a list", "open_clip_config.json", `[]`, config.ErrConfig, "want a JSON object"},
		{"of nothing", "open_clip_config.json", `{"model_cfg": {}}`, config.ErrConfig, `"embed_dim" is missing`},
		{"CoCa without tokens", "open_clip_config.json", string(cliptest.With(t, "", `{"multimodal_cfg": {}, "custom_text": true}`)), config.ErrConfig, "output_tokens"},
		{"odd preprocessing", "open_clip_config.json", `{"model_cfg": ` + cliptest.Tiny + `, "preprocess_cfg": {"resize_mode": "stretch"}}`, preprocess.ErrInvalidConfig, "stretch"},
	} {
		dir := cliptest.Folder(t, cliptest.Tensors(t, m.Parameters()), "", c.file, c.text)
		_, err := Load(t.Context(), dir)
		if assert.ErrorIs(t, err, c.kind, c.name) {
			assert.ErrorContains(t, err, c.want)
			assert.ErrorContains(t, err, c.file)
			assert.NotContains(t, err.Error(), "\n")
		}
	}
}

func TestLoadWantsWeights(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "open_clip_config.json"), []byte(cliptest.Tiny), 0o644))
	pointer := filepath.Join(dir, "weights")
	require.NoError(t, os.WriteFile(pointer, []byte("version https://git-lfs.github.com/spec/v1\n"), 0o644))
	for _, c := range []struct {
		source string
		kind   error
	}{
		{dir, fs.ErrNotExist},
		{filepath.Join(dir, "nothing"), fs.ErrNotExist},
		{pointer, weights.ErrNotWeights},
		{filepath.Join(dir, "open_clip_config.json"), nil},
	} {
		_, err := Load(t.Context(), c.source)
		if c.kind != nil {
			assert.ErrorIs(t, err, c.kind)
		}
		assert.ErrorContains(t, err, c.source)
	}
}

func TestLoadReadsTheVocabularyBesideTheWeights(t *testing.T) {
	vocab, err := emojiclip.Files.ReadFile("vocab.json")
	require.NoError(t, err)
	merges, err := emojiclip.Files.ReadFile("merges.txt")
	require.NoError(t, err)
	m := newModel(t, `{}`)
	x := cliptest.Tensors(t, m.Parameters())

	_, err = Load(t.Context(), cliptest.Folder(t, x, cliptest.Tiny, "vocab.json", string(vocab), "merges.txt", string(merges)), WithDevice(device(t)))
	assert.ErrorIs(t, err, tokenizer.ErrVocabulary)
	assert.ErrorContains(t, err, "3014 tokens, but the model's vocab_size is 90")
	for _, files := range [][]string{
		{"vocab.json", string(vocab)},
		{"merges.txt", string(merges)},
		{"vocab.json", string(vocab[:1000]), "merges.txt", string(merges)},
		{"bpe_simple_vocab_16e6.txt.gz", "not gzip"},
	} {
		dir := cliptest.Folder(t, x, cliptest.Tiny, files...)
		_, err = Load(t.Context(), dir, WithDevice(device(t)))
		assert.ErrorIs(t, err, tokenizer.ErrVocabulary)
		assert.ErrorContains(t, err, files[0])
		assert.ErrorContains(t, err, dir)
	}

	cliptest.Set(t, x, "token_embedding.weight", []int{3014, 24})
	named := string(cliptest.With(t, "text_cfg", `{"vocab_size": 3014, "hf_tokenizer_name": "someone/emoji"}`))
	got := load(t, cliptest.Folder(t, x, named, "vocab.json", string(vocab), "merges.txt", string(merges)))
	assert.Equal(t, 3014, got.Tokenizer().VocabSize())
	assert.Nil(t, load(t, cliptest.Folder(t, x, named)).Tokenizer())
}

func TestLoadMovesTextNamesForCustomText(t *testing.T) {
	m := newModel(t, `{}`)
	custom := m.Config()
	custom.CustomText = true
	got := load(t, cliptest.Folder(t, cliptest.Tensors(t, m.Parameters()), configOf(t, m)), WithConfig(custom))
	assert.Equal(t, "text", got.towers.TextScope())
	assertSameModel(t, m, got)
}

func TestLoadReshapesLogitConstants(t *testing.T) {
	for _, c := range []struct{ from, to string }{
		{`{"init_logit_bias": -3}`, `{"init_logit_bias": 0, "nonscalar_logit_scale": true}`},
		{`{"init_logit_bias": -3, "nonscalar_logit_scale": true}`, `{"init_logit_bias": 0}`},
	} {
		m, other := newModel(t, c.from), newModel(t, c.to)
		assertSameModel(t, m, load(t, cliptest.Folder(t, cliptest.Tensors(t, m.Parameters()), configOf(t, other))))
	}

	m, other := newModel(t, `{}`), newModel(t, `{"init_logit_bias": -10}`)
	got := load(t, cliptest.Folder(t, cliptest.Tensors(t, m.Parameters()), configOf(t, other)))
	bias, ok := got.LogitBias()
	assert.True(t, ok)
	assert.Zero(t, bias)
}

func TestLoadResizesPositions(t *testing.T) {
	for _, class := range classes {
		m := newModel(t, class.members)
		x := cliptest.Tensors(t, m.Parameters())
		dir := cliptest.Folder(t, x, configOf(t, m))
		got := load(t, dir, WithImageSize(40, 24), WithContextLength(5))
		assert.Equal(t, [2]int{40, 24}, got.Preprocess().Config().Size)
		images, texts := randomImages(got, 2), randomTexts(got, 2)
		out, err := got.Forward(t.Context(), ImageInputs(images), texts)
		require.NoError(t, err)
		assertUnit(t, *out.ImageFeatures)
		for name, p := range got.Parameters() {
			data := make([]float32, p.Shape.Elems())
			require.NoError(t, p.Source.ReadF32(data, 0))
			old := make([]float32, x[name].Len())
			require.NoError(t, x[name].ReadF32(old, 0))
			switch {
			case name == "visual.positional_embedding":
				old = posembed.Resize(old, 24, config.Size{5, 3})
			case strings.HasSuffix(name, "positional_embedding"):
				old = posembed.ResizeText(old, 24, 5)
			}
			assert.Equal(t, old, data, name)
		}
	}
}

const oracle = "../tests/testdata/oracle"

// Every resizing that open_clip was asked for.
func TestResizeAgreesWithOpenCLIP(t *testing.T) {
	f, err := weights.Open(filepath.Join(oracle, "pos_embed_resize", "outputs.safetensors"))
	require.NoError(t, err)
	defer f.Close()
	const tolerance = 1e-5
	read := func(name string) ([]float32, []int) {
		x, _ := f.Tensor(name)
		data := make([]float32, x.Len())
		require.NoError(t, x.ReadF32(data, 0))
		return data, x.Shape
	}
	compared := 0
	for _, name := range f.Names() {
		part := strings.Split(name, ".") // image.0.out.3x6, text.0.out.16
		if part[2] != "out" {
			continue
		}
		i := slices.IndexFunc(f.Names(), func(s string) bool { return strings.HasPrefix(s, part[0]+"."+part[1]+".in.") })
		in, _ := read(f.Names()[i])
		want, shape := read(name)
		var got []float32
		if part[0] == "image" {
			h, w, _ := strings.Cut(part[3], "x")
			var grid config.Size
			require.NoError(t, json.Unmarshal([]byte("["+h+","+w+"]"), &grid))
			got = posembed.Resize(in, shape[1], grid)
		} else {
			got = posembed.ResizeText(in, shape[1], shape[0])
		}
		assert.InDeltaSlice(t, want, got, tolerance, name)
		compared++
	}
	assert.Equal(t, 10, compared)
}

// Save writes what the device holds now, not what the model was loaded from.
func TestSaveWritesTheDevicesValues(t *testing.T) {
	for _, c := range []CastDType{F32, Q8} {
		m := newModel(t, `{"custom_text": true, "init_logit_bias": -10}`, WithCastDType(c))
		images, texts := randomImages(m, 2), randomTexts(m, 2)
		_, err := m.Forward(t.Context(), ImageInputs(images), texts) // parameters reach the device
		require.NoError(t, err)
		for name, p := range m.Parameters() {
			if strings.HasSuffix(name, "ln_final.weight") {
				changed := make([]float32, p.Shape.Elems())
				for i := range changed {
					changed[i] = float32(i%3) + 0.5
				}
				require.NoError(t, m.Store().Write(t.Context(), &p.State, changed))
			}
		}
		want, err := m.Forward(t.Context(), ImageInputs(images), texts)
		require.NoError(t, err)
		dir := filepath.Join(t.TempDir(), "saved")
		warnings, err := m.Save(t.Context(), dir, SaveOptions{DType: weights.F32})
		require.NoError(t, err)
		assert.Empty(t, warnings)
		got := load(t, dir)
		out, err := got.Forward(t.Context(), ImageInputs(images), texts)
		require.NoError(t, err)
		assert.Equal(t, m.Config(), got.Config())
		assert.InDeltaSlice(t, want.ImageFeatures.Data, out.ImageFeatures.Data, 1e-6, string(c))
		assert.InDeltaSlice(t, want.TextFeatures.Data, out.TextFeatures.Data, 1e-6, string(c))

		_, err = m.Save(t.Context(), dir, SaveOptions{DType: weights.F32})
		require.ErrorIs(t, err, fs.ErrExist)
		_, err = m.Save(t.Context(), dir, SaveOptions{DType: weights.F16, Replace: true})
		require.NoError(t, err)
	}
}
