package preprocess

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/fuzztest"
)

func TestConfigFromJSON(t *testing.T) {
	var c Config
	require.NoError(t, json.Unmarshal([]byte(`{}`), &c))
	assert.Equal(t, DefaultConfig(), c)

	require.NoError(t, json.Unmarshal([]byte(`{"size": [42, 56], "std": 0.5, "mean": null, "resize_mode": "squash"}`), &c))
	want := DefaultConfig()
	want.Size, want.Std, want.ResizeMode = [2]int{42, 56}, Channels{0.5, 0.5, 0.5}, "squash"
	assert.Equal(t, want, c)

	// Decoding again overlays.
	require.NoError(t, json.Unmarshal([]byte(`{"size": 7, "mean": [0, 0.25, 1], "interpolation": "bilinear", "fill_color": 3, "mode": "RGB"}`), &c))
	want.Size, want.Mean, want.Interpolation, want.FillColor = [2]int{7, 7}, Channels{0, 0.25, 1}, "bilinear", 3
	assert.Equal(t, want, c)

	data, err := json.Marshal(c)
	require.NoError(t, err)
	var again Config
	require.NoError(t, json.Unmarshal(data, &again))
	assert.Equal(t, c, again)
}

// Unknown keys are ignored, as by open_clip's merge_preprocess_dict, which tells
// upper case from lower.
func TestUnknownKeysAreIgnored(t *testing.T) {
	text := []byte(`{"size": 7, "crop_pct": 0.9, "Mean": 0.1, "antialias": null, "fill_color": null}`)
	var c Config
	require.NoError(t, json.Unmarshal(text, &c))
	want := DefaultConfig()
	want.Size = [2]int{7, 7}
	assert.Equal(t, want, c)
	assert.Equal(t, []string{"Mean", "antialias", "crop_pct"}, UnknownKeys(text))
	assert.Empty(t, UnknownKeys([]byte(`{"size": 7}`)))
	assert.Empty(t, UnknownKeys(nil))
}

func TestConfigErrorsNameTheField(t *testing.T) {
	for text, names := range map[string]string{
		`{"size": 12.5}`:               "size",
		`{"size": [1, 2, 3]}`:          "size",
		`{"size": 0}`:                  "size",
		`{"size": [224, -1]}`:          "width -1",
		`{"size": 1000000000000}`:      "size",
		`{"mode": "L"}`:                "mode",
		`{"mean": [1, 2]}`:             "mean",
		`{"std": [1, 1, 0]}`:           "std[2]",
		`{"interpolation": "lanczos"}`: "lanczos",
		`{"resize_mode": "crop"}`:      "crop",
		`{"fill_color": "black"}`:      `preprocess_cfg.fill_color is "\"black\"", want a whole number`,
		`{"fill_color": [0, 0, 0]}`:    `preprocess_cfg.fill_color is "[0,0,0]", want a whole number`,
		`{"fill_color": 1.5}`:          `preprocess_cfg.fill_color is "1.5", want a whole number`,
		`{"interpolation": 5}`:         `preprocess_cfg.interpolation is "5", want a string`,
		`{"resize_mode": []}`:          `preprocess_cfg.resize_mode is "[]", want a string`,
		`{"mode": {}}`:                 `preprocess_cfg.mode is "{}", want a string`,
		`{"size": "224"}`:              `preprocess_cfg.size is "\"224\"", want a whole number or [height, width]`,
		`{"std": true}`:                `preprocess_cfg.std is "true", want three numbers`,
		`[]`:                           `preprocess_cfg is "[]", want a JSON object`,
		`0`:                            `preprocess_cfg is "0", want a JSON object`,
	} {
		var c Config
		err := json.Unmarshal([]byte(text), &c)
		if err == nil {
			_, err = New(c)
		}
		require.ErrorIs(t, err, ErrInvalidConfig, text)
		assert.Contains(t, err.Error(), names, text)
		assert.NotContains(t, err.Error(), "\n", text)
	}
	for _, bad := range []float64{math.NaN(), math.Inf(1)} {
		c := DefaultConfig()
		c.Mean[1] = bad
		assert.ErrorIs(t, c.Validate(), ErrInvalidConfig)
		c = DefaultConfig()
		c.Std[1] = bad
		assert.ErrorIs(t, c.Validate(), ErrInvalidConfig)
	}
}

// FuzzConfig reads a preprocess_cfg and a preprocessor_config.json.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		`{"size": [42, 56], "mode": "RGB", "mean": [0.48, 0.45, 0.4], "std": 0.5, "interpolation": "bicubic", "resize_mode": "shortest", "fill_color": 0, "crop_pct": 0.9}`,
		`{"crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true, "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_processor_type": "CLIPImageProcessor", "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 224}}`,
		`{"do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "processor_class": "SiglipProcessor", "resample": 2, "size": {"height": 384, "width": 384}}`,
		`{"crop_size": 224, "size": 224}`, `null`, `[]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, parse := range []func() (c Config, err error){
			func() (c Config, err error) { err = json.Unmarshal(data, &c); return c, err },
			func() (c Config, err error) { return FromHuggingFace(data) },
		} {
			err := fuzztest.Within(t, func() error {
				c, err := parse()
				if err == nil {
					_, err = New(c)
				}
				return err
			})
			if err != nil && json.Valid(data) {
				assert.ErrorIs(t, err, ErrInvalidConfig)
			}
		}
		UnknownKeys(data)
	})
}
