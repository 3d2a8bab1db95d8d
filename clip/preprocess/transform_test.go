package preprocess

import (
	"bytes"
	"fmt"
	"image"
	"math/rand"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// randomImage has pixels in any mode.
func randomImage(seed int64, mode string, w, h int) *Image {
	rng := rand.New(rand.NewSource(seed))
	m := newImage(mode, w, h)
	rng.Read(m.pix)
	for i := range m.wide {
		m.wide[i] = int32(rng.Intn(1 << 16))
	}
	if mode == modeP {
		colors := make([]uint8, 3*256)
		rng.Read(colors)
		m.palette = rgbPalette(colors)
	}
	return m
}

var allModes = []string{modeBilevel, modeL, modeLA, modeP, modeRGB, modeRGBA, modeCMYK, modeI}

// Resizing gives the part of the result that is wanted, and of a part of the image what an
// image of that part alone gives.
func TestResizeOfPartIsPartOfResize(t *testing.T) {
	for i, mode := range allModes {
		for _, f := range []filter{bicubic, bilinear} {
			m := randomImage(int64(i), mode, 31, 17)
			for _, size := range [][2]int{{31, 9}, {31, 40}, {12, 17}, {77, 17}, {50, 11}, {9, 60}, {31, 17}} {
				w, h := size[0], size[1]
				x, y := axis{0, 31, w, w / 3, w/3 + w/2}, axis{0, 17, h, h / 4, h}
				whole := m.resize(scaled(0, 31, w), scaled(0, 17, h), f)
				want := whole.resize(axis{0, w, w, x.lo, x.hi}, axis{0, h, h, y.lo, y.hi}, f)
				assert.Equal(t, want, m.resize(x, y, f), "%s to %v", mode, size)
				part := m.resize(scaled(3, 20, 20), scaled(2, 11, 11), f)
				want = part.resize(scaled(0, 20, w), scaled(0, 11, h), f)
				assert.Equal(t, want, m.resize(scaled(3, 20, w), scaled(2, 11, h), f), "part of %s to %v", mode, size)
			}
		}
	}
}

// A resize to as many pixels changes none, in RGBA too, where the round trip
// through premultiplied alpha would.
func TestSameSizeIsIdentity(t *testing.T) {
	for i, mode := range allModes {
		m := randomImage(int64(i), mode, 20, 14)
		cfg := DefaultConfig()
		for _, cfg.ResizeMode = range []string{"shortest", "longest", "squash"} {
			cfg.Size = [2]int{14, 20}
			tr, err := New(cfg)
			require.NoError(t, err)
			got, err := tr.Pixels(m)
			require.NoError(t, err)
			assert.Equal(t, m.RGB(), got, "%s %s", mode, cfg.ResizeMode)
		}
	}
}

// An elongated image costs the memory of what is kept of it, not of all of it:
// 1x10000 with its shortest side made 224 would be 224x2240000.
func TestElongatedImages(t *testing.T) {
	for _, size := range [][2]int{{1, 10000}, {10000, 1}, {2, 30000}, {30000, 2}} {
		for _, mode := range []string{modeRGB, modeRGBA, modeP, modeI} {
			m := randomImage(3, mode, size[0], size[1])
			for _, resize := range []string{"shortest", "squash"} {
				cfg := DefaultConfig()
				cfg.ResizeMode = resize
				tr, err := New(cfg)
				require.NoError(t, err)
				var pix []uint8
				took := allocated(func() { pix, err = tr.Pixels(m) })
				require.NoError(t, err)
				assert.Len(t, pix, 3*224*224)
				assert.Less(t, took, 16<<20, "%v %s %s", size, mode, resize)
			}
		}
	}
}

// Pillow refuses a size of 0, which is what rounding leaves of a thin side.
func TestTooElongatedIsAnError(t *testing.T) {
	cfg := DefaultConfig()
	cfg.ResizeMode = "longest"
	tr, err := New(cfg)
	require.NoError(t, err)
	_, err = tr.Apply(randomImage(1, modeRGB, 1, 10000))
	require.ErrorIs(t, err, ErrShape)
	assert.Contains(t, err.Error(), "1x10000")
	_, err = tr.Apply(randomImage(1, modeRGB, 1, 400))
	assert.NoError(t, err)
}

func TestApplyChecksItsArguments(t *testing.T) {
	tr, err := New(DefaultConfig())
	require.NoError(t, err)
	for _, m := range []*Image{nil, {}, FromImage(nil), FromImage(image.NewRGBA(image.Rect(0, 0, 0, 5))),
		FromImage(image.NewYCbCr(image.Rectangle{}, image.YCbCrSubsampleRatio420))} {
		_, err = tr.Apply(m)
		assert.ErrorIs(t, err, ErrShape)
	}
	assert.ErrorIs(t, tr.ApplyInto(make([]float32, 3), randomImage(1, modeL, 4, 4)), ErrShape)
}

// Python's round: half to even, for sizes and crop offsets alike.
func TestGeometry(t *testing.T) {
	for _, c := range []struct {
		mode       string
		h, w       int
		target     [2]int
		rh, rw     int
		top, left  int // of the crop
		before, lt int // padding
	}{
		{"shortest", 100, 150, [2]int{32, 32}, 32, 48, 0, 8, 0, 0},
		{"shortest", 97, 640, [2]int{32, 32}, 32, 211, 0, 90, 0, 0},      // 211.13 truncated; 89.5 to even
		{"shortest", 640, 97, [2]int{224, 224}, 1477, 224, 626, 0, 0, 0}, // 626.5 to even
		{"shortest", 80, 100, [2]int{24, 40}, 32, 40, 4, 0, 0, 0},
		{"longest", 100, 150, [2]int{32, 32}, 21, 32, 0, 0, 5, 0},
		{"longest", 5, 2, [2]int{25, 25}, 25, 10, 0, 0, 0, 7},
		{"squash", 5, 2, [2]int{25, 30}, 25, 30, 0, 0, 0, 0},
	} {
		cfg := DefaultConfig()
		cfg.ResizeMode, cfg.Size = c.mode, c.target
		tr, err := New(cfg)
		require.NoError(t, err)
		rh, rw, err := tr.resizedSize(c.h, c.w)
		require.NoError(t, err)
		assert.Equal(t, [2]int{c.rh, c.rw}, [2]int{rh, rw}, "%+v", c)
		y, before := window(0, c.h, rh, c.target[0])
		x, lt := window(0, c.w, rw, c.target[1])
		assert.Equal(t, [4]int{c.top, c.left, c.before, c.lt}, [4]int{y.lo, x.lo, before, lt}, "%+v", c)
	}
}

func TestTransformIsSafeForConcurrentUse(t *testing.T) {
	tr, err := New(DefaultConfig())
	require.NoError(t, err)
	m := randomImage(1, modeRGBA, 90, 60)
	want, err := tr.Apply(m)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got, err := tr.Apply(m)
			assert.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
	wg.Wait()
}

func BenchmarkApply(b *testing.B) {
	tr, err := New(DefaultConfig())
	require.NoError(b, err)
	dst := make([]float32, 3*224*224)
	for _, size := range [][2]int{{4000, 3000}, {512, 512}} {
		for _, mode := range []string{modeRGB, modeRGBA, modeL, modeI} {
			m := randomImage(1, mode, size[0], size[1])
			b.Run(fmt.Sprintf("%s %dx%d to 224", mode, size[0], size[1]), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					require.NoError(b, tr.ApplyInto(dst, m))
				}
			})
		}
	}
}

// The scales are those of Pillow's Image.draft("RGB", (width, height)), where width and
// height are what the image is resized to: its integer quotients decide.
func TestDraftScales(t *testing.T) {
	for _, c := range []struct {
		mode                 string
		width, height, scale int
	}{
		{"shortest", 4000, 3000, 8}, {"shortest", 1791, 4000, 4}, {"shortest", 1792, 4000, 8}, {"shortest", 895, 896, 2}, {"shortest", 448, 5000, 2},
		{"shortest", 447, 447, 1}, {"shortest", 3, 2, 1}, {"shortest", 1 << 20, 1, 1},
		{"squash", 4000, 447, 1}, {"squash", 4000, 900, 4}, {"longest", 4000, 447, 8}, {"longest", 500, 100, 2},
	} {
		cfg := DefaultConfig()
		cfg.ResizeMode = c.mode
		transform, err := New(cfg)
		require.NoError(t, err)
		var o options
		transform.Draft()(&o)
		assert.Equal(t, c.scale, o.draft(c.width, c.height), "%+v", c)
	}
}

// The size that an image has upright decides: 37 x 22 stored, and 22 x 37 upright, is not
// halved for a width of 18.
func TestDraftOfTurnedPictures(t *testing.T) {
	file, err := os.ReadFile("../../tests/testdata/formats/jpeg_exif_6.jpg")
	require.NoError(t, err)
	stored, err := Decode(bytes.NewReader(file))
	require.NoError(t, err)
	require.Greater(t, stored.Width(), stored.Height())
	cfg := DefaultConfig()
	cfg.ResizeMode, cfg.Size = "squash", [2]int{stored.Height() / 4, stored.Width() / 2}
	tr, err := New(cfg)
	require.NoError(t, err)
	halved, err := Decode(bytes.NewReader(file), tr.Draft())
	require.NoError(t, err)
	assert.Equal(t, ceilDiv(stored.Width(), 2), halved.Width())
	upright, err := Decode(bytes.NewReader(file), tr.Draft(), WithOrientation())
	require.NoError(t, err)
	assert.Equal(t, []int{stored.Height(), stored.Width()}, []int{upright.Width(), upright.Height()})
}

func BenchmarkOriented(b *testing.B) {
	for _, mode := range []string{modeL, modeRGB} {
		b.Run(mode, func(b *testing.B) {
			var memory []uint8
			m := randomImage(1, mode, 4000, 3000)
			for b.Loop() {
				m.oriented(6, &memory)
			}
		})
	}
}
