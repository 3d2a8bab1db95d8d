package preprocess

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const testdata = "../../tests/testdata"

// readSafetensors returns the raw bytes of each tensor of a trusted file.
func readSafetensors(t testing.TB, path string) map[string][]byte {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	n := binary.LittleEndian.Uint64(data)
	header := map[string]struct {
		Offsets [2]int `json:"data_offsets"`
	}{}
	require.NoError(t, json.Unmarshal(data[8:8+n], &header))
	tensors := map[string][]byte{}
	for name, h := range header {
		if name != "__metadata__" {
			tensors[name] = data[8+n:][h.Offsets[0]:h.Offsets[1]]
		}
	}
	require.NotEmpty(t, tensors)
	return tensors
}

func floats(raw []byte) []float32 {
	out := make([]float32, len(raw)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return out
}

// planar turns [H, W, 3] into [3, H, W].
func planar(pix []uint8) []uint8 {
	out, n := make([]uint8, len(pix)), len(pix)/3
	for i, v := range pix {
		out[i%3*n+i/3] = v
	}
	return out
}

// caseTransform reads a key of the preprocess case:
// image|size (or HxW)|resize_mode|interpolation[|fillN][|meanMstdS].
func caseTransform(t testing.TB, key string) (*Image, *Transform) {
	parts := strings.Split(key, "|")
	cfg := DefaultConfig()
	h, w, oblong := strings.Cut(parts[1], "x")
	if !oblong {
		w = h
	}
	var err error
	cfg.Size[0], err = strconv.Atoi(h)
	require.NoError(t, err)
	cfg.Size[1], err = strconv.Atoi(w)
	require.NoError(t, err)
	for _, p := range parts[2:] {
		switch {
		case p == "shortest" || p == "longest" || p == "squash":
			cfg.ResizeMode = p
		case p == "bicubic" || p == "bilinear":
			cfg.Interpolation = p
		case strings.HasPrefix(p, "fill"):
			cfg.FillColor, err = strconv.Atoi(p[4:])
			require.NoError(t, err)
		case strings.HasPrefix(p, "mean"):
			var mean, std float64
			_, err = fmt.Sscanf(p, "mean%gstd%g", &mean, &std)
			require.NoError(t, err)
			cfg.Mean, cfg.Std = Channels{mean, mean, mean}, Channels{std, std, std}
		default:
			require.Contains(t, []string{"default", "f32"}, p)
		}
	}
	tr, err := New(cfg)
	require.NoError(t, err)
	img, err := DecodeFile(filepath.Join(testdata, "preprocess/png", parts[0]+".png"))
	require.NoError(t, err)
	return img, tr
}

func TestPixelsEqualOpenCLIP(t *testing.T) {
	for key, want := range readSafetensors(t, testdata+"/preprocess/outputs_u8.safetensors") {
		img, tr := caseTransform(t, key)
		got, err := tr.Pixels(img)
		require.NoError(t, err, key)
		assert.Equal(t, want, planar(got), key)
	}
}

func TestTensorsEqualOpenCLIP(t *testing.T) {
	for key, raw := range readSafetensors(t, testdata+"/preprocess/outputs_f32.safetensors") {
		img, tr := caseTransform(t, key)
		got, err := tr.Apply(img)
		require.NoError(t, err, key)
		want := floats(raw)
		assert.Equal(t, want, got, key)
	}
}

func TestModesAreFilesOwn(t *testing.T) {
	meta := struct {
		Modes map[string]string `json:"pil_modes_after_png_load"`
	}{}
	data, err := os.ReadFile(testdata + "/preprocess/meta.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &meta))
	require.NotEmpty(t, meta.Modes)
	for name, mode := range meta.Modes {
		img, err := DecodeFile(filepath.Join(testdata, "preprocess/png", name+".png"))
		require.NoError(t, err)
		assert.Equal(t, mode, img.Mode(), name)
	}
}

func TestJPEGEqualsLibjpeg(t *testing.T) {
	for _, dir := range []string{"jpeg", "jpeg2", "jpeg_damaged", "jpeg_arithmetic"} {
		for name, want := range readSafetensors(t, filepath.Join(testdata, dir, "outputs_u8.safetensors")) {
			img, err := DecodeFile(filepath.Join(testdata, dir, "files", name+".jpg"))
			if assert.NoError(t, err, name) {
				assert.Zero(t, maxDiff(t, want, img.RGB()), name)
			}
		}
	}
}

func TestScaledJPEGEqualsLibjpeg(t *testing.T) {
	for _, dir := range []string{"jpeg2", "jpeg_damaged", "jpeg_arithmetic"} {
		for key, want := range readSafetensors(t, filepath.Join(testdata, dir, "outputs_scaled_u8.safetensors")) {
			name, text, _ := strings.Cut(key, "@")
			scale, err := strconv.Atoi(text)
			require.NoError(t, err)
			img, err := DecodeFile(filepath.Join(testdata, dir, "files", name+".jpg"), WithScale(scale))
			if assert.NoError(t, err, key) {
				assert.Zero(t, maxDiff(t, want, img.RGB()), key)
			}
		}
	}
	_, err := DecodeFile(filepath.Join(testdata, "jpeg/files/q5.jpg"), WithScale(3))
	assert.ErrorIs(t, err, ErrInvalidConfig)
}
