package clip

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/cliptest"
	"github.com/clip-wgpu/clip-wgpu/clip/posembed"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// A model of SigLIP is the same one as open_clip's, transformers' and big_vision's
// files have it, and computes what open_clip does (make_siglip.py).
func TestSigLIPFromEveryContainer(t *testing.T) {
	const references = "../tests/testdata/containers"
	hf := `{"model_type": "siglip",
		"text_config": {"hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 30, "max_position_embeddings": 6},
		"vision_config": {"hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 16, "patch_size": 8}}`
	cfg, _, err := config.Parse([]byte(hf))
	require.NoError(t, err)
	openCLIP, err := json.Marshal(cfg)
	require.NoError(t, err)
	dir := func(weights, name, config, configName string) string {
		dir := t.TempDir()
		data, err := os.ReadFile(filepath.Join(references, weights))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o666))
		require.NoError(t, os.WriteFile(filepath.Join(dir, configName), []byte(config), 0o666))
		return dir
	}
	want, err := weights.Open(filepath.Join(references, "siglip_outputs.safetensors"))
	require.NoError(t, err)
	defer want.Close()
	read := func(name string) Array {
		x, ok := want.Tensor(name)
		require.True(t, ok)
		out := Array{x.Shape, make([]float32, x.Len())}
		require.NoError(t, x.ReadF32(out.Data, 0))
		return out
	}
	ids, _ := want.Tensor("text")
	flat := make([]int64, ids.Len())
	require.NoError(t, ids.ReadI64(flat, 0))
	texts := [][]int32{nil, nil}
	for i, id := range flat {
		texts[i/6] = append(texts[i/6], int32(id))
	}
	images := read("image")
	for _, source := range []string{
		dir("siglip.safetensors", "open_clip_model.safetensors", string(openCLIP), "open_clip_config.json"),
		dir("siglip_hf.safetensors", "model.safetensors", hf, "config.json"),
		filepath.Join(references, "siglip.npz"), filepath.Join(references, "siglip_stacked.npz"),
	} {
		var o checkpoint.Options
		if strings.HasSuffix(source, ".npz") {
			o.Config = &cfg
		}
		out, err := load(t, source, With(o)).Forward(t.Context(), ImageInputs(images), texts)
		require.NoError(t, err)
		assert.InDeltaSlice(t, read("image_features").Data, out.ImageFeatures.Data, 1e-5, source)
		assert.InDeltaSlice(t, read("text_features").Data, out.TextFeatures.Data, 1e-5, source)
		converted := filepath.Join(t.TempDir(), "converted")
		_, err = checkpoint.Convert(t.Context(), source, converted, checkpoint.SaveOptions{DType: weights.F16}, o)
		require.NoError(t, err)
		same, err := load(t, converted).Forward(t.Context(), ImageInputs(images), texts)
		require.NoError(t, err)
		assert.Equal(t, out, same, source)
	}
}

// force_image_size: the positions of the patches are resized, those of the tokens
// before them stay; without it a checkpoint of another size is refused.
func TestTimmResizesPositions(t *testing.T) {
	for name, prefix := range map[string]int{"vit_tiny_patch16_224": 1, "vit_small_patch14_reg4_dinov2": 0, "vit_base_patch16_siglip_224": 0, "vit_pe_core_base_patch16_224": 1} {
		vision := `{"timm_pool": "avg"}`
		c := parse(t, cliptest.TimmTiny(t, name, vision, `{}`))
		m, err := New(c, 1, WithDevice(device(t)))
		require.NoError(t, err)
		x := cliptest.Tensors(t, m.Parameters())
		dir := cliptest.Folder(t, x, configOf(t, m))
		require.NoError(t, m.Close())
		got := load(t, dir, WithImageSize(24, 48))
		images, texts := randomImages(got, 2), randomTexts(got, 2)
		out, err := got.Forward(t.Context(), ImageInputs(images), texts)
		require.NoError(t, err)
		assertUnit(t, *out.ImageFeatures)
		old := make([]float32, x["visual.trunk.pos_embed"].Len())
		require.NoError(t, x["visual.trunk.pos_embed"].ReadF32(old, 0))
		withToken := append(make([]float32, 24*(1-prefix)), old...)
		want := posembed.Resize(withToken, 24, config.Size{3, 6})[24*(1-prefix):]
		for n, p := range got.Parameters() {
			if n == "visual.trunk.pos_embed" {
				data := make([]float32, p.Shape.Elems())
				require.NoError(t, p.Source.ReadF32(data, 0))
				assert.Equal(t, want, data, name)
			}
		}
		// What it has become is saved as such and loads without being forced.
		again := load(t, cliptest.Folder(t, cliptest.Tensors(t, got.Parameters()), configOf(t, got)))
		assertSameModel(t, got, again)

		other := parse(t, cliptest.TimmTiny(t, name, `{"timm_pool": "avg", "image_size": 40}`, `{"img_size": 40}`))
		_, err = Load(t.Context(), dir, WithDevice(device(t)), WithConfig(other))
		require.ErrorContains(t, err, "visual.trunk.pos_embed")
	}
}

// Weights of another kind of model than the config's are told by whose names they have.
func TestWeightsOfAnotherFamily(t *testing.T) {
	source := "../tests/testdata/containers/siglip.npz"
	_, err := Load(t.Context(), source, WithConfig(parse(t, []byte(cliptest.Tiny))), WithDevice(device(t)))
	require.ErrorIs(t, err, weights.ErrMismatch)
	assert.ErrorContains(t, err, "the weights have the names of big_vision, the config describes a model of the family ViT")
}
