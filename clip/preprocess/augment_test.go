package preprocess

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every change of colours, and a part that is resized, has the bytes of torchvision 0.21 on
// Pillow 13.
func TestAugmentationEqualsTorchvision(t *testing.T) {
	recorded := readSafetensors(t, filepath.Join(testdata, "augment", "torchvision.safetensors"))
	img := &Image{mode: modeRGB, width: 24, height: 20, pix: recorded["picture"]}
	cfg := DefaultConfig()
	cfg.Size = [2]int{16, 16}
	train, err := NewTrain(cfg, DefaultAugmentation())
	require.NoError(t, err)
	colours := map[string]func([]uint8, float64){"brightness": brighten, "contrast": contrast, "saturation": saturate, "hue": shiftHue}
	for name, want := range recorded {
		kind, arg, _ := strings.Cut(name, "|")
		var got []uint8
		switch change := colours[kind]; {
		case change != nil:
			factor, err := strconv.ParseFloat(arg, 64)
			require.NoError(t, err)
			got = slices.Clone(img.pix)
			change(got, factor)
		case kind == "crop":
			var r rect
			_, err := fmt.Sscanf(arg, "%d,%d,%d,%d", &r.x, &r.y, &r.w, &r.h)
			require.NoError(t, err)
			got, err = train.squash.pixels(img, r)
			require.NoError(t, err)
		default:
			continue
		}
		assert.Equal(t, want, got, name)
	}
}

// All colours have the hue, saturation and value that Pillow 13 gives them, and the way back.
func TestHSVEqualsPillow(t *testing.T) {
	to, from := sha256.New(), sha256.New()
	row := make([]uint8, 0, 3*256)
	for r := range 256 {
		for g := range 256 {
			row = row[:0]
			for b := range 256 {
				h, s, v := toHSV(uint8(r), uint8(g), uint8(b))
				row = append(row, h, s, v)
			}
			to.Write(row)
			row = row[:0]
			for v := range 256 {
				r, g, b := fromHSV(uint8(r), uint8(g), uint8(v))
				row = append(row, r, g, b)
			}
			from.Write(row)
		}
	}
	assert.Equal(t, "21b59822901a4f6c8c1eb99c91c22061542a3832d3e257dff997caab79bc666e", hex.EncodeToString(to.Sum(nil)))
	assert.Equal(t, "1d9c2d26d34e85a68dec9d8d87ce0fdcce636d7b8eaec88f7baad6b85cdf4b3b", hex.EncodeToString(from.Sum(nil)))
}

// The parts that are kept lie within the picture and are as large as they are asked for.
func TestCrop(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	a := Augmentation{Scale: [2]float64{0.3, 0.6}}
	sum, places := 0.0, map[int]bool{}
	const draws = 20_000
	for range draws {
		r := a.crop(200, 200, 1, rng)
		require.True(t, r.x >= 0 && r.y >= 0 && r.w > 0 && r.h > 0 && r.x+r.w <= 200 && r.y+r.h <= 200, "%v", r)
		ratio := float64(r.w) / float64(r.h)
		require.True(t, ratio > 0.74 && ratio < 1.35, "%v", r)
		sum += float64(r.w*r.h) / 40_000
		places[r.x] = true
	}
	assert.InDelta(t, 0.45, sum/draws, 0.003) // of uniform shares
	assert.Greater(t, len(places), 80)
	// Where no such part is there: the middle, of a shape as near as it can be.
	whole := Augmentation{Scale: [2]float64{1, 1}}
	assert.Equal(t, rect{0, 48, 3, 4}, whole.crop(3, 100, 1, rng))
	assert.Equal(t, rect{46, 0, 8, 6}, whole.crop(100, 6, 1, rng))
	assert.Equal(t, rect{0, 0, 1, 1}, whole.crop(1, 1, 1, rng))
}

// One seed gives one picture; colours change, and become gray, as often as they should.
func TestTrainTransform(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Size = [2]int{8, 12}
	a := Augmentation{Scale: [2]float64{0.5, 1}, ColorJitter: [4]float64{0.4, 0.4, 0.4, 0.1}, ColorJitterProb: 0.8, GrayScaleProb: 0.2}
	train, err := NewTrain(cfg, a)
	require.NoError(t, err)
	img := newImage(modeRGB, 32, 20)
	for i := range img.pix {
		img.pix[i] = []uint8{200, 90, 30}[i%3]
	}
	before := slices.Clone(img.pix)
	const draws = 2000
	gray, same := 0, 0
	for i := range uint64(draws) {
		pix, err := train.Pixels(img, rand.New(rand.NewPCG(7, i)))
		require.NoError(t, err)
		again, err := train.Pixels(img, rand.New(rand.NewPCG(7, i)))
		require.NoError(t, err)
		require.Equal(t, pix, again)
		if pix[0] == pix[1] && pix[1] == pix[2] {
			gray++
		}
		if slices.Equal(pix[:3], []uint8{200, 90, 30}) {
			same++
		}
	}
	assert.InDelta(t, 0.2, float64(gray)/draws, 0.03)
	assert.InDelta(t, 0.8*0.2, float64(same)/draws, 0.03)
	assert.Equal(t, before, img.pix)

	dst := make([]float32, 3*8*12)
	require.NoError(t, train.ApplyInto(dst, img, rand.New(rand.NewPCG(7, 1))))
	assert.NotContains(t, dst, float32(0))
	require.ErrorIs(t, train.ApplyInto(dst[1:], img, rand.New(rand.NewPCG(7, 1))), ErrShape)
	require.ErrorIs(t, train.ApplyInto(dst, nil, rand.New(rand.NewPCG(7, 1))), ErrShape)
}

func TestAugmentationNamesWhatIsWrong(t *testing.T) {
	nan := math.NaN()
	for want, change := range map[string]func(*Augmentation){
		"scale [0 1]":           func(a *Augmentation) { a.Scale[0] = 0 },
		"scale [0.9 1.5]":       func(a *Augmentation) { a.Scale[1] = 1.5 },
		"scale [0.9 0.5]":       func(a *Augmentation) { a.Scale[1] = 0.5 },
		"scale [NaN 1]":         func(a *Augmentation) { a.Scale[0] = nan },
		"contrast -1":           func(a *Augmentation) { a.ColorJitter[1] = -1 },
		"hue 0.6":               func(a *Augmentation) { a.ColorJitter[3] = 0.6 },
		"color_jitter_prob 1.1": func(a *Augmentation) { a.ColorJitterProb = 1.1 },
		"gray_scale_prob NaN":   func(a *Augmentation) { a.GrayScaleProb = nan },
		"affine NaN":            func(a *Augmentation) { a.Affine = nan },
		"affine 1.1":            func(a *Augmentation) { a.Affine = 1.1 },
		"affine 0.5 and scale":  func(a *Augmentation) { a.Affine = 0.5 },
		`background "pink"`:     func(a *Augmentation) { a.Background = "pink" },
	} {
		a := DefaultAugmentation()
		change(&a)
		_, err := NewTrain(DefaultConfig(), a)
		require.ErrorIs(t, err, ErrInvalidConfig)
		assert.ErrorContains(t, err, want)
	}
}
