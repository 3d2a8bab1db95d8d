package preprocess

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// maxDiff is the largest difference of two equally long pixel arrays.
func maxDiff(t testing.TB, want, got []uint8) int {
	require.Len(t, got, len(want))
	worst := 0
	for i := range want {
		worst = max(worst, int(want[i])-int(got[i]), int(got[i])-int(want[i]))
	}
	return worst
}

// The files and their outputs are written by tests/testdata/formats/make.py.
func TestFormatsEqualPillow(t *testing.T) {
	dir := testdata + "/formats"
	meta := struct{ Modes map[string]string }{}
	data, err := os.ReadFile(dir + "/meta.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &meta))
	cfg := DefaultConfig()
	cfg.Size, cfg.ResizeMode, cfg.FillColor = [2]int{24, 20}, "longest", 127
	tr, err := New(cfg)
	require.NoError(t, err)
	for key, want := range readSafetensors(t, dir+"/outputs_u8.safetensors") {
		name, what, _ := strings.Cut(key, "|")
		var opts []Option
		if what == "upright" {
			opts = append(opts, WithOrientation())
		}
		img, err := DecodeFile(filepath.Join(dir, name), opts...)
		require.NoError(t, err, key)
		assert.Equal(t, meta.Modes[name], img.Mode(), key)
		got := img.RGB()
		if what == "longest" {
			got, err = tr.Pixels(img)
			require.NoError(t, err, key)
		}
		assert.Zero(t, maxDiff(t, want, got), key)
	}
}

func TestFromImageMapsToModes(t *testing.T) {
	r := image.Rect(-2, 3, 5, 9) // bounds need not start at 0
	opaque := image.NewNRGBA(r)
	for i := 3; i < len(opaque.Pix); i += 4 {
		opaque.Pix[i] = 255
	}
	premultiplied := image.NewRGBA(r)
	premultiplied.SetRGBA(-2, 3, color.RGBA{50, 25, 0, 100})
	sixteen := image.NewNRGBA64(r)
	sixteen.SetNRGBA64(-2, 3, color.NRGBA64{0x1234, 0x5678, 0x9abc, 0xdef0})
	gray16 := image.NewGray16(r)
	gray16.SetGray16(-2, 3, color.Gray16{0x0102})
	alpha := image.NewAlpha(r)
	alpha.SetAlpha(-2, 3, color.Alpha{9})
	paletted := image.NewPaletted(r, color.Palette{color.NRGBA{1, 2, 3, 0}, color.White})
	cases := []struct {
		src   image.Image
		mode  string
		first []uint8 // RGB of the first pixel
	}{
		{image.NewGray(r), "L", []uint8{0, 0, 0}},
		{gray16, "I", []uint8{255, 255, 255}},
		{paletted, "P", []uint8{1, 2, 3}},
		{image.NewCMYK(r), "CMYK", []uint8{255, 255, 255}},
		{image.NewYCbCr(r, image.YCbCrSubsampleRatio420), "RGB", []uint8{0, 135, 0}},
		{opaque, "RGB", []uint8{0, 0, 0}},
		{premultiplied, "RGBA", []uint8{127, 63, 0}},
		{sixteen, "RGBA", []uint8{0x12, 0x56, 0x9a}},
		{alpha, "RGBA", []uint8{255, 255, 255}},
	}
	for _, c := range cases {
		m := FromImage(c.src)
		assert.Equal(t, c.mode, m.Mode(), "%T", c.src)
		assert.Equal(t, []int{7, 6}, []int{m.Width(), m.Height()}, "%T", c.src)
		assert.Equal(t, c.first, m.RGB()[:3], "%T", c.src)
	}
}

// A sub-image shares its parent's memory: only its own pixels may be read.
func TestFromImageOfSubImage(t *testing.T) {
	src := image.NewYCbCr(image.Rect(0, 0, 40, 40), image.YCbCrSubsampleRatio420)
	for i := range src.Y {
		src.Y[i] = uint8(i)
	}
	for i := range src.Cb {
		src.Cb[i], src.Cr[i] = uint8(3*i), uint8(5*i)
	}
	part := src.SubImage(image.Rect(10, 6, 23, 19)).(*image.YCbCr)
	copied := image.NewYCbCr(image.Rect(0, 0, 13, 13), image.YCbCrSubsampleRatio420)
	for y := range 13 {
		copy(copied.Y[y*copied.YStride:][:13], src.Y[src.YOffset(10, 6+y):])
	}
	for y := range 7 {
		copy(copied.Cb[y*copied.CStride:][:7], src.Cb[src.COffset(10, 6+2*y):])
		copy(copied.Cr[y*copied.CStride:][:7], src.Cr[src.COffset(10, 6+2*y):])
	}
	assert.Equal(t, FromImage(copied).RGB(), FromImage(part).RGB())
}

// A sub-image has the pixels of its parent, wherever among those that share chroma it
// begins. At its edges it lacks the chroma that its parent leans to.
func TestFromImageOfOddSubImage(t *testing.T) {
	for ratio := image.YCbCrSubsampleRatio444; ratio <= image.YCbCrSubsampleRatio410; ratio++ {
		src := image.NewYCbCr(image.Rect(0, 0, 40, 40), ratio)
		for i := range src.Y {
			src.Y[i] = uint8(i)
		}
		for i := range src.Cb {
			src.Cb[i], src.Cr[i] = uint8(37*i), uint8(91*i)
		}
		whole := FromImage(src)
		for at := range 16 {
			left, top := at%4, at/4
			part := FromImage(src.SubImage(image.Rect(left, top, 40, 40)))
			for y := 2; y < part.height; y++ {
				want := whole.pix[3*((top+y)*40+left+2) : 3*(top+y+1)*40]
				require.Equal(t, want, part.pix[3*(y*part.width+2):3*(y+1)*part.width], "%v from %d,%d, row %d", ratio, left, top, y)
			}
		}
	}
}

func TestTurned(t *testing.T) {
	for name, want := range map[string]bool{
		"jpeg_exif_6.jpg": true, "jpeg_exif_2.jpg": true, "png_exif_5.png": true, "webp_exif_8.webp": true,
		"png_rgb16.png": false, "webp_lossy.webp": false, "tiff_rgba_deflate_turned.tif": false, // Pillow turns it
	} {
		path := filepath.Join(testdata, "formats", name)
		stored, err := DecodeFile(path)
		require.NoError(t, err)
		assert.Equal(t, want, stored.Turned(), name)
		upright, err := DecodeFile(path, WithOrientation())
		require.NoError(t, err)
		assert.False(t, upright.Turned(), name)
	}
}

// A still lossy WebP whose VP8X does not tell of its alpha has it, as in Pillow.
func TestWebPAlphaWithoutFlag(t *testing.T) {
	data := readSample(t, "formats/webp_lossy_alpha.webp")
	want, err := Decode(bytes.NewReader(data))
	require.NoError(t, err)
	require.Equal(t, "VP8X", string(data[12:16]))
	data[20] &^= 0x10
	got, err := Decode(bytes.NewReader(data))
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

// The masks of 32 bits that Pillow 13 reads: where the bytes of a pixel go.
func TestBMPMasks(t *testing.T) {
	head := readSample(t, "formats/bmp_rgba_masks.bmp")
	head = head[:binary.LittleEndian.Uint32(head[10:])]
	binary.LittleEndian.PutUint32(head[18:], 1)
	binary.LittleEndian.PutUint32(head[22:], 1)
	for masks, want := range map[[4]uint32][]uint8{
		{0xff0000, 0xff00, 0xff, 0}:          {30, 20, 10},
		{0xff0000, 0xff00, 0xff, 0xff000000}: {30, 20, 10, 40},
		{0xff, 0xff00, 0xff0000, 0xff000000}: {10, 20, 30, 40},
		{0xff000000, 0xff0000, 0xff00, 0}:    {40, 30, 20},
		{0xff000000, 0xff0000, 0xff00, 0xff}: {40, 30, 20, 10},
		{0xff000000, 0xff00, 0xff, 0}:        {40, 20, 10},
		{0xff000000, 0xff00, 0xff, 0xff0000}: {40, 20, 10, 30},
		{0, 0, 0, 0}:                         {30, 20, 10, 40},
	} {
		for i, m := range masks {
			binary.LittleEndian.PutUint32(head[54+4*i:], m)
		}
		img, err := Decode(strings.NewReader(string(head) + "\x0a\x14\x1e\x28"))
		require.NoError(t, err, "%x", masks)
		assert.Equal(t, want, img.pix, "%x", masks)
	}
}

// Runs of single pixels may have an odd number of them, and go beyond the image.
func TestBMPRunsOfHalfBytes(t *testing.T) {
	head := readSample(t, "formats/bmp_rle4.bmp")
	head = head[:binary.LittleEndian.Uint32(head[10:])]
	binary.LittleEndian.PutUint32(head[18:], 5)
	binary.LittleEndian.PutUint32(head[22:], 2)
	row := string(head) + "\x00\x05\x12\x34\x50\x00" + "\x00\x00" // five pixels, padding, end of line
	for _, run := range []string{
		"\x05\x67\x00\x01",     // five pixels of two colours, end
		"\x00\x07\x67\x67\x60", // the image lacks the last two of seven pixels
	} {
		img, err := Decode(strings.NewReader(row + run))
		require.NoError(t, err)
		assert.Equal(t, []uint8{6, 7, 6, 7, 6, 1, 2, 3, 4, 5}, img.pix)
	}
	_, err := Decode(strings.NewReader(row + "\x00\x05\x67\x67"))
	assert.ErrorIs(t, err, ErrCorrupt)
}
