package towers_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
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

// mobileCLIP is the config of make_mobileclip.py with members of vision_cfg and of
// timm_model_kwargs replaced.
func mobileCLIP(t *testing.T, vision, kwargs string) []byte {
	t.Helper()
	all := map[string]any{"img_size": 32, "embed_dim": 8, "depth": 1, "num_heads": 2, "mlp_ratio": 2}
	require.NoError(t, json.Unmarshal([]byte(kwargs), &all))
	v := map[string]any{"image_size": 32, "timm_model_name": "vit_base_mci_224", "timm_pool": "token", "timm_proj": nil, "timm_model_kwargs": all}
	require.NoError(t, json.Unmarshal([]byte(vision), &v))
	data, err := json.Marshal(map[string]any{
		"embed_dim": 4, "custom_text": true, "vision_cfg": v,
		"text_cfg": map[string]any{"context_length": 3, "vocab_size": 10, "width": 8, "heads": 2, "layers": 1},
	})
	require.NoError(t, err)
	return data
}

func parseMobileCLIP(t *testing.T, vision, kwargs string) config.Config {
	t.Helper()
	c, _, err := models.Parse(mobileCLIP(t, vision, kwargs))
	require.NoError(t, err)
	return c
}

func TestMobileCLIPConfigs(t *testing.T) {
	for _, c := range []struct{ vision, kwargs, says string }{
		{`{}`, `{}`, ""},
		{`{"image_size": [47, 16]}`, `{"img_size": [47, 16], "patch_size": 1, "dynamic_img_size": true}`, ""},
		{`{"timm_pool": "map", "timm_proj": "mlp"}`, `{"global_pool": "map", "reg_tokens": 2, "pre_norm": true}`, ""},
		{`{"timm_pool": "avg", "timm_proj": ""}`, `{"class_token": false, "no_embed_class": false}`, ""},

		{`{"timm_model_name": "vit_base_mci_300"}`, `{}`, `timm_model_name "vit_base_mci_300" is not supported`},
		{`{}`, `{"patch_size": 2}`, "timm_model_kwargs.patch_size is [2 2], want 1"},
		{`{"image_size": [32, 15]}`, `{"img_size": [32, 15]}`, "timm_model_kwargs.img_size is 15"},
		{`{"image_size": 48}`, `{}`, "timm_model_kwargs.img_size changes that"},
		{`{}`, `{"embed_dim": 10}`, "timm_model_kwargs.embed_dim (10) is not divisible by 4"},
		{`{}`, `{"embed_layer": "PatchEmbed"}`, "timm_model_kwargs.embed_layer of vit_base_mci_224 is not supported"},
		{`{}`, `{"qk_norm": true}`, "timm_model_kwargs.qk_norm of vit_base_mci_224 is not supported"},
		{`{}`, `{"in_chans": 1}`, "in_chans"},
		{`{}`, `{"class_token": false}`, "class token"},
		{`{"timm_pool": "max"}`, `{}`, `"max" is not supported`},
		{`{"timm_pool": "map", "timm_proj": "linear"}`, `{}`, "attention pooling"},
		{`{"timm_pool": "rot_attn"}`, `{}`, "convolutional"},
	} {
		_, _, err := models.Parse(mobileCLIP(t, c.vision, c.kwargs))
		if c.says == "" {
			require.NoError(t, err, "%+v", c)
			continue
		}
		require.ErrorContains(t, err, c.says, "%+v", c)
		assert.NotContains(t, err.Error(), "\n")
	}
}

// What does not decay is marked.
func TestMobileCLIPNoDecay(t *testing.T) {
	m, err := towers.Build(parseMobileCLIP(t, `{}`, `{}`))
	require.NoError(t, err)
	var kept []string
	for name, p := range m.Parameters() {
		if p.NoDecay && strings.HasPrefix(name, "visual.") {
			kept = append(kept, name)
		}
	}
	assert.ElementsMatch(t, []string{"visual.trunk.cls_token", "visual.trunk.pos_embed"}, kept)
}

// Apple's checkpoint is saved in open_clip's layout and loads again with the same
// tensors, the counts of batches among them.
func TestMobileCLIPRoundTrip(t *testing.T) {
	const references = "../../tests/testdata/containers"
	c := parseMobileCLIP(t, `{}`, `{}`)
	apple, err := checkpoint.Open(t.Context(), filepath.Join(references, "mobileclip_b_apple.safetensors"), checkpoint.Options{Config: &c})
	require.NoError(t, err)
	defer apple.Close()
	folder := filepath.Join(t.TempDir(), "saved")
	_, err = apple.Save(t.Context(), folder, checkpoint.SaveOptions{DType: weights.F32})
	require.NoError(t, err)
	saved, err := checkpoint.Open(t.Context(), folder, checkpoint.Options{})
	require.NoError(t, err)
	defer saved.Close()
	assert.Equal(t, mobileCLIPValues(t, apple.Model), mobileCLIPValues(t, saved.Model))

	file, err := weights.Open(folder)
	require.NoError(t, err)
	defer file.Close()
	for i := range 2 {
		x, ok := file.Tensor(fmt.Sprintf("visual.trunk.patch_embed.backbone.%d.bn.num_batches_tracked", i))
		require.True(t, ok)
		count := make([]int64, 1)
		require.NoError(t, x.ReadI64(count, 0))
		assert.Equal(t, []int64{int64(100 + i)}, count)
		assert.Equal(t, weights.I64, x.DType)
	}
}

func mobileCLIPValues(t *testing.T, m *towers.Model) map[string][]float32 {
	t.Helper()
	all := map[string][]float32{}
	for name, p := range m.Parameters() {
		all[name] = make([]float32, p.Shape.Elems())
		require.NoError(t, p.Source.ReadF32(all[name], 0), name)
	}
	return all
}

// force_image_size resizes the grid of positions, which is an image's 16th part.
func TestMobileCLIPResizesPositions(t *testing.T) {
	c := parseMobileCLIP(t, `{}`, `{}`)
	o := checkpoint.Options{Config: &c}
	path := "../../tests/testdata/containers/mobileclip_b.safetensors"
	stored, err := checkpoint.Open(t.Context(), path, o)
	require.NoError(t, err)
	defer stored.Close()
	o.ImageSize = config.Size{50, 79}
	forced, err := checkpoint.Open(t.Context(), path, o)
	require.NoError(t, err)
	defer forced.Close()
	was, is := mobileCLIPValues(t, stored.Model), mobileCLIPValues(t, forced.Model)
	const name = "visual.trunk.pos_embed"
	assert.Equal(t, posembed.ResizeGrid(was[name], 8, [2]int{2, 2}, [2]int{3, 4}), is[name])
	delete(was, name)
	delete(is, name)
	assert.Equal(t, was, is)
	image, _, err := forced.Model.Programs(2, nil)
	require.NoError(t, err)
	assert.Equal(t, graph.Shape{2, 4}, image.Outputs[0].Shape)
}

// Frozen batch norms have no count of batches and are not trained. As in open_clip, they
// have lost their GELUs, and nothing else of the tower has changed.
func TestMobileCLIPFrozen(t *testing.T) {
	m, err := towers.Build(parseMobileCLIP(t, `{}`, `{}`))
	require.NoError(t, err)
	before, _, err := m.Programs(1, nil)
	require.NoError(t, err)
	m.FreezeBatchNorm()
	after, _, err := m.Programs(1, nil)
	require.NoError(t, err)
	require.Len(t, after.Steps, len(before.Steps))
	var changed []string
	for i, s := range after.Steps {
		if s.Kernel.Name != before.Steps[i].Kernel.Name {
			changed = append(changed, s.Scope)
		}
	}
	assert.Equal(t, []string{"visual.trunk.patch_embed.backbone.0.bn", "visual.trunk.patch_embed.backbone.1.bn"}, changed)
	var norms []string
	for name, p := range m.Parameters() {
		if strings.Contains(name, ".bn.") {
			norms = append(norms, name)
			assert.True(t, p.Buffer, name)
		}
	}
	assert.Len(t, norms, 2*4)
	assert.NotContains(t, norms, "visual.trunk.patch_embed.backbone.0.bn.num_batches_tracked")
}

// The stem starts with torch's distributions, the rest with timm's.
func TestMobileCLIPInitialisation(t *testing.T) {
	c, err := checkpoint.New(parseMobileCLIP(t, `{}`, `{"embed_dim": 128}`), 3, checkpoint.Options{})
	require.NoError(t, err)
	defer c.Close()
	all := mobileCLIPValues(t, c.Model)
	const stem = "visual.trunk.patch_embed.backbone."
	for name, fanIn := range map[string]int{"0.conv.weight": 3 * 16, "1.conv.weight": 32 * 4, "2.conv.weight": 32 * 4, "2.conv.bias": 32 * 4} {
		bound := 1 / math.Sqrt(float64(fanIn))
		largest := max(slices.Max(all[stem+name]), -slices.Min(all[stem+name]))
		assert.InDelta(t, 0.97*bound, largest, 0.03*bound, name)
	}
	for name, want := range map[string]float32{"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1} {
		for i := range 2 {
			assert.Equal(t, slices.Repeat([]float32{want}, 32), all[fmt.Sprintf("%s%d.bn.%s", stem, i, name)], name)
		}
	}
	assert.NotContains(t, slices.Collect(maps.Keys(all)), stem+"0.conv.bias")
	assert.Less(t, slices.Max(all["visual.trunk.cls_token"]), float32(1e-5))
}
