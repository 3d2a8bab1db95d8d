package preprocess

import (
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Sizes and bytes are those of open_clip's NaFlex transform.
func TestSequencesEqualOpenCLIP(t *testing.T) {
	dir := filepath.Join(testdata, "oracle", "naflex_preprocess")
	data, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	require.NoError(t, err)
	var meta struct {
		Runs []struct {
			MaxLength     int    `json:"max_seq_len"`
			PatchSize     int    `json:"patch_size"`
			Interpolation string `json:"interpolation"`
			Images        []struct {
				File string `json:"file"`
				Grid [2]int `json:"grid_hw"`
			} `json:"images"`
		} `json:"runs"`
		Sizes [][6]int `json:"sizes"`
	}
	require.NoError(t, json.Unmarshal(data, &meta))
	require.Len(t, meta.Sizes, 400)
	for _, s := range meta.Sizes {
		h, w, err := Sequence{[2]int{s[2], s[2]}, s[3]}.Size(s[0], s[1])
		require.NoError(t, err)
		assert.Equal(t, [2]int{s[4], s[5]}, [2]int{h, w}, "%v", s)
	}
	want := readSafetensors(t, filepath.Join(dir, "outputs_u8.safetensors"))
	for i, run := range meta.Runs {
		cfg := DefaultConfig()
		cfg.Interpolation = run.Interpolation
		transform := sequenceTransform(t, cfg, run.PatchSize, run.MaxLength)
		for _, picture := range run.Images {
			img, err := DecodeFile(filepath.Join(dir, "png", picture.File))
			require.NoError(t, err)
			patches, err := transform.Patches(img)
			require.NoError(t, err)
			assert.Equal(t, picture.Grid, patches.Grid)
			assert.Equal(t, want[fmt.Sprintf("%d.%s", i, picture.File)], patches.RGB, "run %d: %s", i, picture.File)
		}
	}
}

func sequenceTransform(t *testing.T, cfg Config, patch, most int) *Transform {
	t.Helper()
	plain, err := New(cfg)
	require.NoError(t, err)
	transform, err := plain.WithSequence(Sequence{[2]int{patch, patch}, most})
	require.NoError(t, err)
	return transform
}

// Pictures of the oddest shapes and of all modes have patches, at most as many as allowed.
func TestSequencesOfOddPictures(t *testing.T) {
	transform := sequenceTransform(t, DefaultConfig(), 16, 256)
	for _, size := range [][2]int{{1, 5000}, {5000, 1}, {1, 1}, {1, 256}, {3, 4000}} {
		for _, img := range []image.Image{
			image.NewRGBA(image.Rect(0, 0, size[0], size[1])), image.NewGray(image.Rect(0, 0, size[0], size[1])),
			image.NewPaletted(image.Rect(0, 0, size[0], size[1]), color.Palette{color.Black, color.White}), image.NewGray16(image.Rect(0, 0, size[0], size[1])),
		} {
			patches, err := transform.Patches(FromImage(img))
			require.NoError(t, err, "%v", size)
			assert.LessOrEqual(t, patches.Len(), 256)
			assert.Len(t, patches.RGB, patches.Len()*16*16*3)
			assert.Len(t, transform.Normalized(patches.RGB), len(patches.RGB))
		}
	}
	tall, err := transform.Patches(FromImage(image.NewGray(image.Rect(0, 0, 1, 5000))))
	require.NoError(t, err)
	assert.Equal(t, [2]int{256, 1}, tall.Grid)
}

// Patches lie row by row, each row by row with the channels last.
func TestOrderOfPatches(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 6, 4))
	for i := range 24 {
		img.SetNRGBA(i%6, i/6, color.NRGBA{uint8(i), uint8(100 + i), uint8(200 + i), 255})
	}
	transform, err := sequenceTransform(t, DefaultConfig(), 2, 1).WithSequence(Sequence{[2]int{2, 3}, 4})
	require.NoError(t, err)
	patches, err := transform.Patches(FromImage(img))
	require.NoError(t, err)
	assert.Equal(t, [2]int{2, 2}, patches.Grid)
	var red []uint8
	for i := 0; i < len(patches.RGB); i += 3 {
		red = append(red, patches.RGB[i])
		assert.Equal(t, []uint8{patches.RGB[i] + 100, patches.RGB[i] + 200}, patches.RGB[i+1:i+3])
	}
	assert.Equal(t, []uint8{0, 1, 2, 6, 7, 8, 3, 4, 5, 9, 10, 11, 12, 13, 14, 18, 19, 20, 15, 16, 17, 21, 22, 23}, red)
}

// A size never has too many patches, and the next larger scale has.
func TestSizesFillSequences(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 0))
	for range 300 {
		s := Sequence{[2]int{1 + r.IntN(32), 1 + r.IntN(32)}, 1 + r.IntN(1024)}
		h, w, err := s.Size(1+r.IntN(5000), 1+r.IntN(5000))
		require.NoError(t, err)
		assert.Zero(t, h%s.PatchSize[0]+w%s.PatchSize[1])
		assert.LessOrEqual(t, h/s.PatchSize[0]*(w/s.PatchSize[1]), s.MaxLength)
	}
}

func TestSequenceErrors(t *testing.T) {
	plain, err := New(DefaultConfig())
	require.NoError(t, err)
	for says, s := range map[string]Sequence{
		"patch_size: 0, want 1 to":   {[2]int{0, 16}, 4},
		"patch_size: 9000, want":     {[2]int{16, 9000}, 4},
		"max_seq_len: 0, want 1 to":  {[2]int{16, 16}, 0},
		"max_seq_len: 10000, want 1": {[2]int{16, 16}, 10000},
	} {
		_, err := plain.WithSequence(s)
		require.ErrorIs(t, err, ErrInvalidConfig, says)
		require.ErrorContains(t, err, says)
	}
	_, ok := plain.Sequence()
	assert.False(t, ok)
	_, err = plain.Patches(FromImage(image.NewGray(image.Rect(0, 0, 3, 3))))
	require.ErrorIs(t, err, ErrInvalidConfig)
	transform := sequenceTransform(t, DefaultConfig(), 16, 9)
	for _, img := range []*Image{nil, {}, FromImage(nil)} {
		_, err = transform.Patches(img)
		require.ErrorIs(t, err, ErrShape)
	}
	_, _, err = Sequence{[2]int{1, 1}, 1}.Size(1<<20, 1<<20)
	require.ErrorIs(t, err, ErrShape)
	_, _, err = Sequence{[2]int{1, 1}, 1}.Size(0, 5)
	require.ErrorIs(t, err, ErrShape)
}

// Pictures that were taken as sequences are not those that were squashed.
func TestIdentityTellsSequences(t *testing.T) {
	plain, err := New(DefaultConfig())
	require.NoError(t, err)
	transform := sequenceTransform(t, DefaultConfig(), 16, 576)
	assert.NotContains(t, plain.Identity(), "sequence")
	assert.Contains(t, transform.Identity(), `"sequence":{"patch_size":[16,16],"max_seq_len":576}`)
	s, ok := transform.Sequence()
	assert.True(t, ok)
	assert.Equal(t, Sequence{[2]int{16, 16}, 576}, s)
}

// Training cuts parts of nearly the picture's own shape, as timm's
// RandomResizedCropToSequence does, and makes patches of them; with all of the area they are
// those of the whole picture.
func TestTrainingOnSequences(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Interpolation = "bilinear"
	transform := sequenceTransform(t, cfg, 4, 30)
	img := newImage(modeRGB, 90, 40)
	for i := range img.pix {
		img.pix[i] = uint8(i * i / 7)
	}
	whole, err := transform.Train(Augmentation{Scale: [2]float64{1, 1}})
	require.NoError(t, err)
	assert.True(t, whole.HasPatches())
	want, err := transform.Patches(img)
	require.NoError(t, err)
	got, err := whole.Patches(img, rand.New(rand.NewPCG(1, 1)))
	require.NoError(t, err)
	assert.Equal(t, want, got)

	gray, err := transform.Train(Augmentation{Scale: [2]float64{0.3, 0.8}, GrayScaleProb: 1})
	require.NoError(t, err)
	grids := map[[2]int]bool{}
	for i := range uint64(200) {
		p, err := gray.Patches(img, rand.New(rand.NewPCG(2, i)))
		require.NoError(t, err)
		again, err := gray.Patches(img, rand.New(rand.NewPCG(2, i)))
		require.NoError(t, err)
		require.Equal(t, p, again)
		require.LessOrEqual(t, p.Len(), 30)
		require.Len(t, p.RGB, p.Len()*48)
		require.Equal(t, p.RGB[0], p.RGB[1])
		grids[p.Grid] = true
	}
	assert.Greater(t, len(grids), 1)

	a := Augmentation{Scale: [2]float64{0.3, 0.8}}
	rng := rand.New(rand.NewPCG(3, 0))
	for range 1000 {
		r := a.crop(900, 100, 9, rng)
		require.True(t, r.x >= 0 && r.y >= 0 && r.x+r.w <= 900 && r.y+r.h <= 100, "%v", r)
		ratio := float64(r.w) / float64(r.h) / 9
		require.True(t, ratio > 0.74 && ratio < 1.35, "%v", r)
	}
}

// The interpolation random is drawn for each picture.
func TestTrainingDrawsInterpolation(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Interpolation = "bilinear"
	img := newImage(modeRGB, 90, 40)
	for i := range img.pix {
		img.pix[i] = uint8(i * i / 7)
	}
	want, err := sequenceTransform(t, cfg, 4, 30).Patches(img)
	require.NoError(t, err)
	cfg.Interpolation = "random"
	kernels := map[string]bool{}
	random, err := sequenceTransform(t, cfg, 4, 30).Train(Augmentation{Scale: [2]float64{1, 1}})
	require.NoError(t, err)
	for i := range uint64(20) {
		p, err := random.Patches(img, rand.New(rand.NewPCG(4, i)))
		require.NoError(t, err)
		kernels[string(p.RGB)] = true
	}
	cfg.Interpolation = "bicubic"
	other, err := sequenceTransform(t, cfg, 4, 30).Patches(img)
	require.NoError(t, err)
	assert.True(t, kernels[string(want.RGB)] && kernels[string(other.RGB)])
}

// Models of one size have no patches, and nothing has no picture.
func TestTrainingWithoutSequences(t *testing.T) {
	img, rng := newImage(modeRGB, 9, 4), rand.New(rand.NewPCG(3, 0))
	plain, err := New(DefaultConfig())
	require.NoError(t, err)
	squares, err := plain.Train(DefaultAugmentation())
	require.NoError(t, err)
	assert.False(t, squares.HasPatches())
	_, err = squares.Patches(img, rng)
	require.ErrorIs(t, err, ErrInvalidConfig)
	sequences, err := sequenceTransform(t, DefaultConfig(), 4, 30).Train(DefaultAugmentation())
	require.NoError(t, err)
	_, err = sequences.Patches(nil, rng)
	require.ErrorIs(t, err, ErrShape)
	_, err = sequenceTransform(t, DefaultConfig(), 4, 30).Train(Augmentation{Affine: 0.3})
	require.ErrorIs(t, err, ErrInvalidConfig)
}
