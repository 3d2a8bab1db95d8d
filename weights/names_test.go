package weights

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// allLayouts are those that there are.
var allLayouts = []*Layout{OpenAI, HuggingFaceCLIP, HuggingFaceSigLIP, BigVision, MobileCLIPB, MobileCLIPS}

// The files are one model: as big_vision and transformers name it, and as
// open_clip's own conversion does (make_siglip.py).
func TestCanonicalSigLIP(t *testing.T) {
	want := open(t, references+"/siglip.safetensors")
	for file, layout := range map[string]*Layout{
		"siglip.npz": BigVision, "siglip_stacked.npz": BigVision, "siglip_hf.safetensors": HuggingFaceSigLIP, "siglip.safetensors": OpenCLIP,
	} {
		got, l, err := Canonical(open(t, references+"/"+file), allLayouts...)
		require.NoError(t, err, file)
		assert.Equal(t, layout, l, file)
		require.Equal(t, want.Names(), got.Names(), file)
		for _, x := range want.Tensors() {
			y, _ := got.Tensor(x.Name)
			assert.Equal(t, x.Name, y.Name)
			if strings.HasPrefix(x.Name, "logit_") {
				y.Shape = nil // clip takes a scalar for a vector of one
			}
			requireSameTensor(t, x, y)
		}
	}
}

// Apple's names of MobileCLIP, and what open_clip makes of them (make_mobileclip.py and
// make_mobileclip_s.py).
func TestCanonicalMobileCLIP(t *testing.T) {
	for name, wanted := range map[string]*Layout{"mobileclip_b": MobileCLIPB, "mobileclip_s": MobileCLIPS} {
		want := open(t, references+"/"+name+".safetensors")
		got, layout, err := Canonical(open(t, references+"/"+name+"_apple.safetensors"), allLayouts...)
		require.NoError(t, err)
		assert.Equal(t, wanted, layout)
		require.Equal(t, want.Names(), got.Names())
		for _, x := range want.Tensors() {
			y, _ := got.Tensor(x.Name)
			assert.Equal(t, x.Name, y.Name)
			requireSameTensor(t, x, y)
		}
	}
}

// Apple's names of what is fused for inference (replknet.py and mci.py of mobileclip).
func TestCanonicalFusedMobileCLIP(t *testing.T) {
	names := map[string]string{
		"patch_embed.0.reparam_conv.weight":         "stem.0.reparam_conv.weight",
		"network.0.0.token_mixer.reparam_conv.bias": "stages.0.blocks.0.token_mixer.reparam_conv.bias",
		"network.1.proj.0.lkb_reparam.weight":       "stages.1.downsample.proj.0.reparam_conv.weight",
		"network.1.proj.1.reparam_conv.bias":        "stages.1.downsample.proj.1.reparam_conv.bias",
		"network.2.reparam_conv.weight":             "stages.1.pos_emb.reparam_conv.weight",
		"network.3.0.layer_scale_1":                 "stages.1.blocks.0.layer_scale_1.gamma",
		"conv_exp.reparam_conv.weight":              "final_conv.reparam_conv.weight",
	}
	src := Map{}
	for apple := range names {
		src[mobileCLIPImage+apple] = f32(t, mobileCLIPImage+apple, 1)
	}
	got, layout, err := Canonical(src, allLayouts...)
	require.NoError(t, err)
	assert.Equal(t, MobileCLIPS, layout)
	for apple, want := range names {
		assert.True(t, has(got, "visual.trunk."+want), apple)
	}
}

func TestCanonicalDropsPrefixesAndConstants(t *testing.T) {
	names := func(s ...string) Map {
		m := Map{}
		for _, name := range s {
			m[name] = f32(t, name, 1)
		}
		return m
	}
	for _, c := range []struct {
		in, want Map
		layout   *Layout
	}{
		{names("module.a", "module.b"), names("a", "b"), OpenCLIP},
		{names("module.a", "b"), names("module.a", "b"), OpenCLIP},
		{names("input_resolution", "a"), names("input_resolution", "a"), OpenCLIP},
		{names("visual.conv1.weight", "token_embedding.weight", "text_projection", "input_resolution", "context_length", "vocab_size"),
			names("visual.conv1.weight", "token_embedding.weight", "text_projection"), OpenAI},
	} {
		got, layout, err := Canonical(c.in, allLayouts...)
		require.NoError(t, err)
		assert.Equal(t, c.layout, layout)
		assert.Equal(t, c.want.Names(), got.Names())
		for _, name := range got.Names() {
			x, _ := got.Tensor(name)
			assert.Equal(t, name, x.Name)
		}
	}
}

// What a layout's rule needs and does not find is named.
func TestCanonicalNamesWhatIsMissing(t *testing.T) {
	for file, missing := range map[string]string{
		"siglip.npz":            "params/img/Transformer/encoderblock_1/MultiHeadDotProductAttention_0/key/kernel",
		"siglip_stacked.npz":    "params/txt/Encoder_0/encoderblock/MlpBlock_0/Dense_1/bias",
		"siglip_hf.safetensors": "text_model.encoder.layers.1.self_attn.v_proj.bias",
	} {
		m := NewMap(open(t, references+"/"+file).Tensors()...)
		require.Contains(t, m, missing)
		delete(m, missing)
		_, _, err := Canonical(m, allLayouts...)
		require.ErrorIs(t, err, ErrMalformed)
		assert.ErrorContains(t, err, missing)
	}
	m := NewMap(open(t, references+"/siglip_hf.safetensors").Tensors()...)
	m["extra"] = f32(t, "extra", 1)
	got, _, err := Canonical(m, allLayouts...)
	require.NoError(t, err)
	assert.Contains(t, got.Names(), "extra", "for Bind to report")
}

// Tensors of shapes that a rule does not expect give an error, never a panic.
func TestCanonicalOfOddShapes(t *testing.T) {
	for _, file := range []string{"siglip.npz", "siglip_stacked.npz", "siglip_hf.safetensors", "mobileclip_b_apple.safetensors", "mobileclip_s_apple.safetensors"} {
		all := open(t, references+"/"+file).Tensors()
		for i := range all {
			for _, shape := range [][]int{{}, {1}, {1, 1, 1, 1, 1}} {
				m := NewMap(all...)
				x, err := FromF32(all[i].Name, shape, []float32{1})
				require.NoError(t, err)
				m[x.Name] = x
				if got, _, err := Canonical(m, allLayouts...); err == nil {
					for _, name := range got.Names() {
						y, _ := got.Tensor(name)
						if y.DType.IsFloat() {
							require.NoError(t, y.ReadF32(make([]float32, y.Len()), 0), name)
						}
					}
				}
			}
		}
	}
}
