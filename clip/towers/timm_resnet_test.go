package towers_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
)

func TestTimmResNetConfigs(t *testing.T) {
	for _, c := range []badConfig{
		{`{}`, `{}`, ""},
		{`{"image_size": [1, 33], "timm_model_name": "resnet50"}`, `{}`, ""},
		{`{"timm_proj": "none"}`, `{"channels": [8, 4, 8, 4]}`, ""},
		{`{"timm_proj": null}`, `{}`, ""},

		{`{"timm_model_name": "resnet50d"}`, `{}`, `timm_model_name "resnet50d" is not supported`},
		{`{"timm_proj": "none"}`, `{}`, "embed_dim (4)"},
		{`{"timm_pool": "catavgmax"}`, `{}`, `"catavgmax" is not supported`},
		{`{}`, `{"layers": [1, 1, 1]}`, "timm_model_kwargs.layers and channels"},
		{`{}`, `{"layers": [1, 1, 1, 0]}`, "timm_model_kwargs.layers is 0"},
		{`{}`, `{"channels": [4, 4, 4, -4]}`, "timm_model_kwargs.channels is -4"},
		{`{}`, `{"block": "Bottleneck"}`, "timm_model_kwargs.block of resnet18 is not supported"},
		{`{}`, `{"stem_type": "deep"}`, "timm_model_kwargs.stem_type of resnet18 is not supported"},
		{`{}`, `{"drop_path_rate": 1}`, "timm_model_kwargs.drop_path_rate"},
	} {
		c.check(t, `{"image_size": 32, "timm_model_name": "resnet18", "timm_pool": "avg", "timm_proj": "linear"}`, `{"layers": [1, 1, 1, 1], "channels": [4, 4, 8, 8]}`)
	}
}

// A bottleneck's names and shapes are those of timm's.
func TestTimmResNet50(t *testing.T) {
	c, _, err := models.Parse(timmConfig(t, `{"image_size": 32, "timm_model_name": "resnet50", "timm_pool": "avg", "timm_proj": ""}`, `{}`))
	require.NoError(t, err)
	m, err := towers.Build(c)
	require.NoError(t, err)
	shapes, elems := map[string][]int{}, 0
	for name, p := range m.NamedParameters() {
		shapes[name] = p.Shape
		if len(name) > 7 && name[:7] == "visual." {
			elems += p.Shape.Elems()
		}
	}
	assert.Equal(t, []int{128, 128, 3, 3}, shapes["visual.trunk.layer2.0.conv2.weight"])
	assert.Equal(t, []int{512, 256, 1, 1}, shapes["visual.trunk.layer2.0.downsample.0.weight"])
	assert.Equal(t, []int{4, 2048}, shapes["visual.trunk.fc.weight"])
	assert.Equal(t, 23_508_032+4*2048+4, elems, "timm's resnet50 without its classifier, and ours")
}
