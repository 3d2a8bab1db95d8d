package main

import (
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// naflexModel is a folder with a small model of random weights.
func naflexModel(t *testing.T) string {
	t.Helper()
	cfg, _, err := models.Parse([]byte(`{"embed_dim": 24, "custom_text": true,
		"vision_cfg": {"image_size": 64, "image_seq_len": 20, "timm_model_name": "naflexvit_base_patch16_siglip",
			"timm_pool": "map", "timm_proj": "none", "timm_model_kwargs": {"embed_dim": 24, "depth": 1, "num_heads": 2}},
		"text_cfg": {"width": 16, "heads": 2, "layers": 1}}`))
	require.NoError(t, err)
	m, err := clip.New(cfg, 1)
	require.NoError(t, err)
	folder := filepath.Join(t.TempDir(), "naflex")
	_, err = m.Save(t.Context(), folder, clip.SaveOptions{DType: weights.F32})
	require.NoError(t, err)
	require.NoError(t, m.Close())
	return folder
}

// embed and classify take pictures in their own shape, without a flag.
func TestNaFlexWithoutAFlag(t *testing.T) {
	model, pictures := naflexModel(t), t.TempDir()
	for name, size := range map[string][2]int{"a": {64, 48}, "tall": {1, 5000}, "wide": {5000, 1}} {
		f, err := os.Create(filepath.Join(pictures, name+".png"))
		require.NoError(t, err)
		img := image.NewNRGBA(image.Rect(0, 0, size[0], size[1]))
		for i := range img.Pix {
			img.Pix[i] = uint8(i*i/7) | uint8(i%4/3*255)
		}
		require.NoError(t, png.Encode(f, img))
		require.NoError(t, f.Close())
	}
	out := filepath.Join(t.TempDir(), "x.jsonl")
	program(t, "embed", pictures, "--model", model, "--batch", "2", "-o", out).requireDone(t)
	rows := readJSONL(t, out)
	require.Len(t, rows.rows, 3)

	m, err := clip.Load(t.Context(), model)
	require.NoError(t, err)
	defer m.Close()
	want, err := m.EncodeImageFiles(t.Context(), []string{filepath.Join(pictures, "a.png"), filepath.Join(pictures, "tall.png"), filepath.Join(pictures, "wide.png")})
	require.NoError(t, err)
	for i, row := range rows.rows {
		assert.InDeltaSlice(t, want.Data[i*24:(i+1)*24], row, 1e-6)
	}
	o := program(t, "classify", pictures, "--labels", "cat,dog", "--model", model)
	o.requireDone(t)
	assert.Equal(t, 3, strings.Count(o.stdout, ".png"))
}

// train and its evaluations see pictures in their own shape, too, and the model learns.
func TestTrainNaFlex(t *testing.T) {
	model, pictures := naflexModel(t), t.TempDir()
	table := "filepath,title\n"
	for i, size := range [][2]int{{64, 48}, {10, 200}, {90, 30}, {33, 33}} {
		img := image.NewGray(image.Rect(0, 0, size[0], size[1]))
		for j := range img.Pix {
			img.Pix[j] = uint8(60*i + j%(2+i)*20)
		}
		path := filepath.Join(pictures, string(rune('a'+i))+".png")
		f, err := os.Create(path)
		require.NoError(t, err)
		require.NoError(t, png.Encode(f, img))
		require.NoError(t, f.Close())
		table += path + "," + strings.Repeat("x", i+1) + "\n"
	}
	csv, out := filepath.Join(t.TempDir(), "captions.csv"), filepath.Join(t.TempDir(), "out")
	require.NoError(t, os.WriteFile(csv, []byte(table), 0o666))
	args := []string{"train", csv, "--model", model, "--batch-size", "4", "--steps", "20", "--lr", "1e-2", "--warmup", "1"}
	program(t, append(args, "--eval", csv, "--eval-every", "20", "-o", out)...).requireDone(t)
	all := losses(t, out)
	assert.Less(t, all[19], all[0])
	o := program(t, append(args, "--dry-run")...)
	o.requireDone(t)
	assert.Contains(t, o.stdout, "20 steps of 4 pairs")
}
