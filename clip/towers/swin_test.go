package towers_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/clip/posembed"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

const swinConfig, swinKwargs = `{"image_size": 32, "timm_model_name": "swin_base_patch4_window7_224", "timm_pool": "", "timm_proj": "linear"}`,
	`{"img_size": 32, "patch_size": 2, "window_size": 4, "embed_dim": 8, "depths": [2, 1], "num_heads": [1, 2]}`

func TestSwinConfigs(t *testing.T) {
	for _, c := range []badConfig{
		{`{}`, `{}`, ""},
		{`{"image_size": [30, 46], "timm_pool": "avg", "timm_proj": ""}`, `{"img_size": [30, 46], "window_size": [3, 5], "qkv_bias": false}`, ""},
		{`{"timm_proj": "none", "timm_pool": "avg"}`, `{"embed_dim": 2, "window_size": [[3, 5], 7], "num_heads": [1, 1]}`, ""},

		{`{"timm_model_name": "swin_huge_patch4_window7_224"}`, `{}`, `timm_model_name "swin_huge_patch4_window7_224" is not supported`},
		{`{"timm_model_name": "swinv2_base_window8_256"}`, `{}`, `timm_model_name "swinv2_base_window8_256" is not supported`},
		{`{"timm_pool": "", "timm_proj": ""}`, `{}`, `global_pool "" is not supported`},
		{`{"timm_pool": "rot_attn"}`, `{}`, `"rot_attn" is not supported`},
		{`{"timm_proj": "none", "timm_pool": "avg"}`, `{}`, "embed_dim (4)"},
		{`{"patch_dropout": 0.5}`, `{}`, "patch_drop_rate of swin_base_patch4_window7_224 is not supported"},
		{`{"image_size": 64}`, `{}`, "timm_model_kwargs.img_size changes that"},
		{`{}`, `{"depths": [2, 0]}`, "timm_model_kwargs.depths is 0"},
		{`{}`, `{"depths": []}`, "depths, num_heads and window_size"},
		{`{}`, `{"num_heads": [1]}`, "depths, num_heads and window_size"},
		{`{}`, `{"num_heads": [1, 3]}`, "num_heads"},
		{`{}`, `{"window_size": 0}`, "timm_model_kwargs.window_size is 0"},
		{`{}`, `{"window_size": [1, 2, 3]}`, "depths, num_heads and window_size"},
		{`{}`, `{"window_size": "7"}`, "a whole number, a pair [height, width], or a list of these"},
		{`{}`, `{"patch_size": 33}`, "timm_model_kwargs.patch_size is 33"},
		{`{}`, `{"embed_dim": 65536}`, "timm_model_kwargs.embed_dim is 65536"},
		{`{}`, `{"mlp_ratio": 0}`, "mlp_ratio"},
		{`{}`, `{"drop_path_rate": 1}`, "timm_model_kwargs.drop_path_rate"},
		{`{}`, `{"in_chans": 1}`, "in_chans"},
		{`{}`, `{"always_partition": true}`, "timm_model_kwargs.always_partition"},
		{`{"image_size": 8192}`, `{"img_size": 8192, "window_size": 4096}`, "the biases within the windows"},
	} {
		c.check(t, swinConfig, swinKwargs)
	}
}

func swinModel(t *testing.T, kwargs string) config.Config {
	t.Helper()
	c, _, err := models.Parse(timmConfig(t, swinConfig, kwargs))
	require.NoError(t, err)
	return c
}

// Images that windows do not fit, narrower ones than a window, and one of a single token.
func TestSwinOfOddSizes(t *testing.T) {
	for _, size := range []config.Size{{30, 46}, {8, 64}, {3, 2}} {
		c := swinModel(t, swinKwargs)
		towers.Resize(&c, size)
		require.NoError(t, towers.Check(&c))
		m, err := towers.Build(c)
		require.NoError(t, err)
		image, _, err := m.Programs(2, nil)
		require.NoError(t, err)
		assert.Equal(t, graph.Shape{2, 4}, image.Outputs[0].Shape)
	}
}

// force_image_size makes the windows cover as large a part of the image as before, and
// resizes their biases, nothing else.
func TestSwinResizesWindows(t *testing.T) {
	c := swinModel(t, swinKwargs)
	folder := t.TempDir() + "/swin"
	fresh, err := checkpoint.New(c, 1, checkpoint.Options{})
	require.NoError(t, err)
	defer fresh.Close()
	_, err = fresh.Save(t.Context(), folder, checkpoint.SaveOptions{DType: weights.F32})
	require.NoError(t, err)
	stored, err := checkpoint.Open(t.Context(), folder, checkpoint.Options{})
	require.NoError(t, err)
	defer stored.Close()
	forced, err := checkpoint.Open(t.Context(), folder, checkpoint.Options{ImageSize: config.Size{48, 16}})
	require.NoError(t, err)
	defer forced.Close()
	was, is := mobileCLIPValues(t, stored.Model), mobileCLIPValues(t, forced.Model)
	for name, heads := range map[string]int{"layers.0.blocks.0": 1, "layers.0.blocks.1": 1, "layers.1.blocks.0": 2} {
		name = "visual.trunk." + name + ".attn.relative_position_bias_table"
		assert.Equal(t, posembed.ResizeOffsets(was[name], heads, [2]int{4, 4}, [2]int{6, 2}), is[name], name)
		delete(was, name)
		delete(is, name)
	}
	assert.Equal(t, was, is)
}

func TestSwinInitialisation(t *testing.T) {
	m, err := checkpoint.New(swinModel(t, `{"img_size": 32, "patch_size": 4, "window_size": 8, "embed_dim": 64, "depths": [1, 1], "num_heads": [16, 2]}`), 3, checkpoint.Options{})
	require.NoError(t, err)
	defer m.Close()
	all := mobileCLIPValues(t, m.Model)
	for _, name := range []string{"layers.0.blocks.0.attn.relative_position_bias_table", "layers.0.blocks.0.attn.qkv.weight", "layers.1.downsample.reduction.weight", "layers.1.blocks.0.mlp.fc2.weight"} {
		sum := 0.0
		for _, v := range all["visual.trunk."+name] {
			sum += float64(v) * float64(v)
		}
		assert.InDelta(t, 0.02, math.Sqrt(sum/float64(len(all["visual.trunk."+name]))), 0.001, name)
	}
	for name, p := range m.Model.Parameters() {
		if p.NoDecay {
			assert.Contains(t, []string{"visual.trunk.layers.0.blocks.0.attn.relative_position_bias_table", "visual.trunk.layers.1.blocks.0.attn.relative_position_bias_table", "positional_embedding"}, name)
		}
	}
}
