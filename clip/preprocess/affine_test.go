package preprocess

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/usage"
)

// asItIs leaves a picture where it is.
var asItIs = warp{width: 1, height: 1}

// trainTransform is of a model of size by size pixels.
func trainTransform(t testing.TB, size int, a Augmentation) *TrainTransform {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Size = [2]int{size, size}
	train, err := NewTrain(cfg, a)
	require.NoError(t, err)
	return train
}

// requireNear holds levels to those wanted, at most so far away.
func requireNear(t *testing.T, want, got []uint8, most int, what ...any) {
	t.Helper()
	require.Len(t, got, len(want), what...)
	for i := range want {
		off := int(want[i]) - int(got[i])
		require.True(t, -most <= off && off <= most, "level %d is %d, want %d: %v", i, got[i], want[i], what)
	}
}

// Strength 0 is the plain resize; so is a warp that moves nothing, by the kernels that it
// resizes with.
func TestStrengthZeroIsPlainResize(t *testing.T) {
	train := trainTransform(t, 64, Augmentation{})
	for _, mode := range []string{modeRGB, modeRGBA, modeLA, modeP, modeL, modeI} {
		img := randomImage(3, mode, 72, 80)
		want, err := train.squash.Pixels(img)
		require.NoError(t, err)
		got, err := train.Pixels(img, rand.New(rand.NewPCG(1, 1)))
		require.NoError(t, err)
		assert.Equal(t, want, got, mode)
	}
	same, small, large := randomImage(1, modeRGB, 64, 64), randomImage(1, modeRGB, 20, 33), randomImage(1, modeRGB, 200, 97)
	assert.Equal(t, same.pix, same.warped(asItIs, [2]int{64, 64}, [3]uint8{}))
	size := func(n int) axis { return scaled(0, n, 64) }
	requireNear(t, small.resize(size(20), size(33), bilinear).pix, small.warped(asItIs, [2]int{64, 64}, [3]uint8{}), 1)
	assert.Equal(t, large.resize(size(200), size(97), bicubic).pix, large.warped(asItIs, [2]int{64, 64}, [3]uint8{}))
}

// Quarters of a turn, shifts of whole pixels and halves have exact pixels.
func TestWarpPutsPixelsWhereItSays(t *testing.T) {
	img, around := randomImage(2, modeRGB, 8, 8), [3]uint8{1, 2, 3}
	at := func(pix []uint8, x, y int) []uint8 { return pix[3*(8*y+x):][:3] }
	turned := img.warped(warp{width: 1, height: 1, turn: math.Pi / 2}, [2]int{8, 8}, around)
	moved := img.warped(warp{width: 1, height: 1, right: 2.0 / 8, down: -1.0 / 8}, [2]int{8, 8}, around)
	half := newImage(modeRGB, 8, 8)
	for i := range half.pix {
		half.pix[i] = 200
	}
	narrow := half.warped(warp{width: 0.5, height: 1}, [2]int{8, 8}, around)
	for y := range 8 {
		for x := range 8 {
			requireNear(t, at(img.pix, y, 7-x), at(turned, x, y), 1, "clockwise", x, y)
			if x > 2 && y < 6 {
				assert.Equal(t, at(img.pix, x-2, y+1), at(moved, x, y))
			}
		}
		assert.Equal(t, around[:], at(moved, 0, y))
		assert.Equal(t, around[:], at(narrow, 0, y))
		assert.Equal(t, []uint8{200, 200, 200}, at(narrow, 3, y))
		assert.Equal(t, around[:], at(narrow, 7, y))
	}
}

// Pictures that are much larger than the model's do not alias: a fine pattern becomes gray.
func TestWarpDoesNotAlias(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for _, side := range []int{128, 150, 301} {
		img := newImage(modeL, side, side)
		for i := range img.pix {
			img.pix[i] = uint8(255 * ((i%side + i/side) % 2))
		}
		for range 20 {
			w := Augmentation{Affine: 1}.drawWarp(rng)
			w.width, w.height, w.right, w.down = 1, 1, w.right/2, w.down/2
			pix := img.warped(w, [2]int{64, 64}, [3]uint8{128, 128, 128})
			requireNear(t, bytes.Repeat([]byte{128}, len(pix)), pix, 8, side, w)
		}
	}
}

// Warps are as strong as they may be, and no stronger.
func TestDrawWarp(t *testing.T) {
	rng, a := rand.New(rand.NewPCG(1, 2)), Augmentation{Affine: 0.5}
	least, most := [5]float64{9, 9, 9, 9, 9}, [5]float64{-9, -9, -9, -9, -9}
	for range 20_000 {
		w := a.drawWarp(rng)
		for i, v := range [5]float64{math.Sqrt(w.width * w.height), math.Log(w.width / w.height), w.turn, w.right, w.down} {
			least[i], most[i] = min(least[i], v), max(most[i], v)
		}
	}
	for i, want := range [5][2]float64{{0.85, 1.1}, {-0.06, 0.06}, {-0.1, 0.1}, {-0.05, 0.05}, {-0.05, 0.05}} {
		assert.InDelta(t, want[0], least[i], 1e-3)
		assert.InDelta(t, want[1], most[i], 1e-3)
		assert.True(t, least[i] >= want[0]-1e-12 && most[i] <= want[1]+1e-12, i)
	}
}

// What is hidden by alpha shows nowhere: not at edges, nor by resizing, nor without a
// background.
func TestAlphaIsMultipliedIn(t *testing.T) {
	for _, side := range []int{40, 72, 300} {
		img := newImage(modeRGBA, side, side) // red, and a green that cannot be seen
		for i := range side * side {
			px := []uint8{255, 0, 0, 255}
			if i%side > side/2 {
				px = []uint8{0, 255, 0, 0}
			}
			copy(img.pix[4*i:], px)
		}
		a, rng := Augmentation{Affine: 1}, rand.New(rand.NewPCG(1, uint64(side)))
		for range 10 {
			w := a.drawWarp(rng)
			blue := img.over([3]uint8{0, 0, 255}).warped(w, [2]int{64, 64}, [3]uint8{0, 0, 255})
			dropped := img.warped(w, [2]int{64, 64}, [3]uint8{})
			for i := 0; i < len(blue); i += 3 {
				require.Zero(t, blue[i+1])
				require.InDelta(t, 255, int(blue[i])+int(blue[i+2]), 1)
				require.Zero(t, dropped[i+1])
			}
		}
	}
	img := newImage(modeLA, 3, 1)
	copy(img.pix, []uint8{100, 0, 100, 255, 100, 51})
	assert.Equal(t, []uint8{1, 2, 3, 100, 100, 100, 21, 22, 22}, img.over([3]uint8{1, 2, 3}).RGB())
}

// Transparent colours of palettes let the background through. Without one they are what
// they are to open_clip.
func TestPalettesHaveAlpha(t *testing.T) {
	opaque, clear := color.NRGBA{200, 100, 50, 255}, color.NRGBA{10, 20, 30, 0}
	src := image.NewPaletted(image.Rect(0, 0, 3, 1), color.Palette{opaque, color.NRGBA{200, 100, 0, 51}, clear})
	copy(src.Pix, []uint8{0, 1, 2})
	var file bytes.Buffer
	require.NoError(t, png.Encode(&file, src))
	fromPNG, err := Decode(&file, WithOrientation())
	require.NoError(t, err)
	assert.Equal(t, modeP, fromPNG.Mode())
	for _, img := range []*Image{fromPNG, FromImage(src), fromPNG.oriented(2, new([]uint8)).oriented(2, new([]uint8))} {
		assert.Equal(t, []uint8{200, 100, 50, 40, 100, 160, 0, 100, 200}, img.over([3]uint8{0, 100, 200}).RGB())
		assert.Equal(t, []uint8{200, 100, 50}, img.RGB()[:3])
	}
	src.Palette, src.Pix[1] = color.Palette{opaque, opaque, clear}, 2
	require.NoError(t, gif.Encode(&file, src, nil))
	fromGIF, err := Decode(&file)
	require.NoError(t, err)
	assert.Equal(t, []uint8{200, 100, 50, 0, 100, 200, 0, 100, 200}, fromGIF.over([3]uint8{0, 100, 200}).RGB())
	recorded, err := DecodeFile(testdata + "/formats/png_palette_transparent.png")
	require.NoError(t, err)
	levels := map[uint8]int{}
	for _, v := range recorded.alpha() {
		levels[v]++
	}
	assert.Equal(t, map[uint8]int{0: 58, 255: 756}, levels, "Pillow 13's convert(RGBA)")
	plain := randomImage(1, modeP, 3, 3)
	assert.Same(t, plain, plain.over([3]uint8{}))
}

// One seed gives one picture, and leaves its source. Of backgrounds a third each is white,
// gray and of a colour; the warp continues them.
func TestRandomBackgrounds(t *testing.T) {
	clear, before := newImage(modeRGBA, 9, 9), newImage(modeRGBA, 9, 9)
	for _, a := range []Augmentation{{Background: BackgroundRandom}, {Background: BackgroundRandom, Affine: 1}, {Background: BackgroundRandom, Scale: [2]float64{0.5, 1}}} {
		train, kinds := trainTransform(t, 6, a), map[string]int{}
		for i := range uint64(3000) {
			pix, err := train.Pixels(clear, rand.New(rand.NewPCG(7, i)))
			require.NoError(t, err)
			again, err := train.Pixels(clear, rand.New(rand.NewPCG(7, i)))
			require.NoError(t, err)
			require.Equal(t, pix, again)
			require.Equal(t, bytes.Repeat(pix[:3], 36), pix, "one colour")
			switch r, g, b := pix[0], pix[1], pix[2]; {
			case a.Affine == 0 && r == 255 && g == 255 && b == 255:
				kinds["white"]++
			case max(r, g, b)-min(r, g, b) <= 1:
				kinds["gray"]++
			default:
				kinds["colour"]++
			}
		}
		assert.InDelta(t, 600, kinds["colour"], 100)
		assert.InDelta(t, 2400, kinds["white"]+kinds["gray"], 100)
		if a.Affine == 0 { // which changes brightness, too
			assert.InDelta(t, 1800, kinds["white"], 100)
		}
	}
	assert.Equal(t, before, clear)
}

// Strength 0 of all is no change, saturation 0 the gray of the colour, and neither hue nor
// saturation changes a gray.
func TestColours(t *testing.T) {
	all := randomImage(4, modeRGB, 64, 64).pix
	changed := func(hue, saturation, brightness float64) []uint8 {
		pix := slices.Clone(all)
		newColours(hue, saturation, brightness).apply(pix)
		return pix
	}
	assert.Equal(t, all, changed(0, 1, 1))
	assert.Equal(t, all, changed(1, 1, 1))
	gray, dim, turned := changed(0, 0, 1), changed(0, 1, 0.5), changed(0.5, 1, 1)
	for i := 0; i < len(all); i += 3 {
		level := 0.213*float64(all[i]) + 0.715*float64(all[i+1]) + 0.072*float64(all[i+2])
		for c := range 3 {
			require.InDelta(t, level, float64(gray[i+c]), 0.51)
			require.InDelta(t, float64(all[i+c])/2, float64(dim[i+c]), 0.51)
			require.InDelta(t, max(0, min(2*level-float64(all[i+c]), 255)), float64(turned[i+c]), 1)
		}
	}
	for i := range all {
		all[i] = uint8(i / 3)
	}
	requireNear(t, all, changed(0.04, 1.5, 1), 1)
}

// BenchmarkAffine makes a sample of a model of 64 pixels from a file of 72. cpu-ms is the
// CPU time of one.
func BenchmarkAffine(b *testing.B) {
	src := image.NewNRGBA(image.Rect(0, 0, 72, 72))
	for i := range 72 * 72 { // a disc
		x, y := i%72-36, i/72-36
		copy(src.Pix[4*i:], []uint8{uint8(3 * (i % 72)), 120, uint8(i / 72), uint8(max(0, min(255, 10*(1200-x*x-y*y))))})
	}
	var file bytes.Buffer
	require.NoError(b, png.Encode(&file, src))
	train, rng := trainTransform(b, 64, Augmentation{Affine: 0.35, Background: BackgroundRandom}), rand.New(rand.NewPCG(1, 1))
	var d Decoder
	dst := make([]float32, 3*64*64)
	start := usage.CPU()
	for b.Loop() {
		img, err := d.Decode(bytes.NewReader(file.Bytes()))
		require.NoError(b, err)
		require.NoError(b, train.ApplyInto(dst, img, rng))
	}
	b.ReportMetric(float64((usage.CPU()-start).Nanoseconds())/1e6/float64(b.N), "cpu-ms")
}
