package preprocess

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// samplePaths are all image files of the test data.
func samplePaths(t testing.TB) []string {
	var paths []string
	for _, pattern := range []string{"preprocess/png/*", "jpeg/files/*", "formats/*.[gwbtpj]*"} {
		found, err := filepath.Glob(filepath.Join(testdata, pattern))
		require.NoError(t, err)
		for _, p := range found {
			if ext := filepath.Ext(p); ext != ".py" && ext != ".json" {
				paths = append(paths, p)
			}
		}
	}
	require.Greater(t, len(paths), 50)
	return paths
}

func readSample(t testing.TB, path string) []byte {
	data, err := os.ReadFile(filepath.Join(testdata, path))
	require.NoError(t, err)
	return data
}

// pngOf is a PNG of only a header and, if given, an empty data chunk.
func pngOf(w, h uint32, depth, colorType byte) []byte {
	ihdr := binary.BigEndian.AppendUint32([]byte("IHDR"), w)
	ihdr = binary.BigEndian.AppendUint32(ihdr, h)
	ihdr = append(ihdr, depth, colorType, 0, 0, 0)
	out := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	out = append(out, ihdr...)
	out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(ihdr))
	out = append(out, "\x00\x00\x00\x00IEND"...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE([]byte("IEND")))
}

func TestDecodeNamesWhatItCannotRead(t *testing.T) {
	for text, want := range map[string]struct {
		err  error
		says string
	}{
		"":                               {ErrCorrupt, "no bytes"},
		"P":                              {ErrUnsupportedFormat, `"P"`},
		"just some text, no image":       {ErrUnsupportedFormat, "just some"},
		"\x00\x00\x00\x0cJXL \r\n\x87\n": {ErrUnsupportedFormat, "JPEG XL"},
		"version https://git-lfs.github.com/spec/v1": {ErrUnsupportedFormat, "git-LFS"},
		"\xff\xd8\xff":                        {ErrCorrupt, "truncated"},
		"\xff\xd8\xff\xd9":                    {ErrCorrupt, "no image"},
		"\x89PNG\r\n\x1a\n":                   {ErrCorrupt, "truncated"},
		"GIF89a\x01\x00\x01\x00\x00\x00\x00;": {ErrCorrupt, "no image"},
		"RIFF\x04\x00\x00\x00WEBP":            {ErrCorrupt, "no image"},
		"BM":                                  {ErrCorrupt, "truncated"},
		"BM\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00": {ErrUnsupportedFormat, "header of 7"},
		"II*\x00\x08\x00\x00\x00": {ErrCorrupt, "truncated"},
	} {
		_, err := Decode(bytes.NewReader([]byte(text)))
		require.ErrorIs(t, err, want.err, "%q", text)
		assert.Contains(t, err.Error(), want.says, "%q", text)
		assert.NotContains(t, err.Error(), "\n", "%q", text)
	}
}

// What is not read is called by its name and not corrupt.
func TestUnsupportedJPEGIsNamed(t *testing.T) {
	plain := readSample(t, "jpeg/files/q5.jpg")
	sof := bytes.Index(plain, []byte{0xff, 0xc0})
	process := func(marker byte) []byte {
		data := bytes.Clone(plain)
		data[sof+1] = marker
		return data
	}
	sampling := bytes.Clone(plain)
	sampling[sof+11], sampling[sof+14] = 0x32, 0x22 // of three and two columns
	twelve := bytes.Clone(plain)
	twelve[sof+4] = 12
	dnl := bytes.Clone(plain)
	copy(dnl[sof+5:], "\x00\x00")
	for _, c := range []struct {
		data []byte
		says string
	}{
		{process(0xcb), "lossless coding is not supported"},
		{process(0xce), "hierarchical coding is not supported"},
		{process(0xc3), "lossless coding is not supported"},
		{process(0xc5), "hierarchical coding is not supported"},
		{process(0xc7), "hierarchical coding is not supported"},
		{process(0xf7), "JPEG-LS is not supported"},
		{sampling, "subsampling ratio"},
		{dnl, "DNL"},
		{twelve, "12 bits a sample is not supported"},
	} {
		_, err := Decode(bytes.NewReader(c.data))
		assert.ErrorIs(t, err, ErrUnsupportedFormat, c.says)
		assert.NotErrorIs(t, err, ErrCorrupt, c.says)
		assert.ErrorContains(t, err, c.says)
	}
}

// A still WebP fills its canvas, as libwebp demands; only a frame of an
// animation may be smaller.
func TestStillWebPFillsItsCanvas(t *testing.T) {
	still := losslessWebP(7, 5)[12:]
	webp := func(flags, width byte, chunks ...string) []byte {
		body := "WEBPVP8X\x0a\x00\x00\x00" + string(rune(flags)) + "\x00\x00\x00" + string(rune(width-1)) + "\x00\x00\x04\x00\x00" + strings.Join(chunks, "")
		return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
	}
	_, err := Decode(bytes.NewReader(webp(0, 7, string(still))))
	assert.NoError(t, err)
	_, err = Decode(bytes.NewReader(webp(0, 70, string(still))))
	assert.ErrorIs(t, err, ErrCorrupt)
	animation := "ANIM\x06\x00\x00\x00" + strings.Repeat("\x00", 6)
	frame := "ANMF\x20\x00\x00\x00" + strings.Repeat("\x00", 6) + "\x06\x00\x00\x04\x00\x00\x00\x00\x00\x00"
	img, err := Decode(bytes.NewReader(webp(2, 70, animation, frame, string(still))))
	require.NoError(t, err)
	assert.Equal(t, 70, img.Width())
}

// A still lossless WebP has alpha if its bit stream says so, whatever VP8X says.
func TestWebPWithAWrongAlphaFlag(t *testing.T) {
	extended := func(flags byte, name string) *Image {
		still := readSample(t, "formats/"+name)
		require.Equal(t, "VP8L", string(still[12:16]))
		body := "WEBPVP8X\x0a\x00\x00\x00" + string(rune(flags)) + "\x00\x00\x00\x24\x00\x00\x15\x00\x00" + string(still[12:])
		img, err := Decode(strings.NewReader("RIFF" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(body)))) + body))
		require.NoError(t, err)
		return img
	}
	for _, name := range []string{"webp_lossless.webp", "webp_lossless_alpha.webp"} {
		want, err := DecodeFile(filepath.Join(testdata, "formats", name))
		require.NoError(t, err)
		assert.Equal(t, want, extended(0, name))
		assert.Equal(t, want, extended(0x10, name))
	}
}

// A frame without pixels is corrupt, also where a canvas around it has some.
func TestWebPFrameWithoutPixels(t *testing.T) {
	lossy := readSample(t, "formats/webp_lossy.webp")
	at := bytes.Index(lossy, []byte("VP8 "))
	frame := "ANMF" + string(binary.LittleEndian.AppendUint32(nil, uint32(16+len(lossy)-at))) + strings.Repeat("\x00", 16)
	body := "WEBPVP8X\x0a\x00\x00\x00\x02\x00\x00\x00\x60\x00\x00\x60\x00\x00" + frame
	data := append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body)+len(lossy)-at)), body...)
	size := len(data) + 8 + 6 // of the frame, behind the chunk's head and the start code
	data = append(data, lossy[at:]...)
	_, err := Decode(bytes.NewReader(data))
	require.NoError(t, err)
	for side := range 2 {
		bad := bytes.Clone(data)
		copy(bad[size+2*side:], "\x00\x00")
		_, err := Decode(bytes.NewReader(bad))
		assert.ErrorIs(t, err, ErrCorrupt)
	}
}

func TestDecodeFileRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]error{
		dir:                           fs.ErrInvalid,
		filepath.Join(dir, "missing"): fs.ErrNotExist,
	} {
		_, err := DecodeFile(path)
		require.ErrorIs(t, err, want)
		assert.Contains(t, err.Error(), path)
	}
	text := filepath.Join(dir, "text.jpg")
	require.NoError(t, os.WriteFile(text, []byte("hello"), 0o600))
	_, err := DecodeFile(text)
	require.ErrorIs(t, err, ErrUnsupportedFormat)
	assert.Contains(t, err.Error(), text)
}

func TestContentDecidesNotTheName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "picture.png")
	require.NoError(t, os.WriteFile(path, readSample(t, "jpeg/files/q5.jpg"), 0o600))
	img, err := DecodeFile(path)
	require.NoError(t, err)
	assert.Equal(t, 80, img.Width())
}

func TestReadErrorIsReturned(t *testing.T) {
	broken := errors.New("disk on fire")
	half := readSample(t, "jpeg/files/q5.jpg")[:300]
	_, err := Decode(io.MultiReader(bytes.NewReader(half), iotest.ErrReader(broken)))
	assert.ErrorIs(t, err, broken)
}

// Pillow refuses a file without all of its pixels, and so does Decode.
func TestTruncatedFiles(t *testing.T) {
	for _, path := range samplePaths(t) {
		if strings.Contains(path, "animated") {
			continue // half of it still holds the first frame
		}
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, n := range []int{len(data) / 4, len(data) / 2, len(data) * 3 / 4} {
			if strings.HasSuffix(path, "12_one_1x1.png") && n > 48 {
				continue // its one pixel is there, and Pillow opens it
			}
			_, err := Decode(bytes.NewReader(data[:n]))
			require.Error(t, err, "%s cut to %d of %d", path, n, len(data))
			assert.False(t, errors.Is(err, ErrTooLarge), err)
		}
	}
}

// Sizes over the limit are refused from the header, before pixels have room.
func TestTooLargeIsRefusedFromTheHeader(t *testing.T) {
	bmp := readSample(t, "formats/bmp_rgb.bmp")
	binary.LittleEndian.PutUint32(bmp[18:], 20000)
	binary.LittleEndian.PutUint32(bmp[22:], 20000)
	gif := readSample(t, "formats/gif_gray.gif")
	copy(gif[6:], "\xff\xff\xff\xff")
	jpg := readSample(t, "jpeg/files/q5.jpg")
	sof := bytes.Index(jpg, []byte{0xff, 0xc0})
	copy(jpg[sof+5:], "\xff\xff\xff\xff")
	webp := readSample(t, "formats/webp_animated.webp")
	copy(webp[24:], "\xff\xff\xff\xff\xff\xff")
	for name, data := range map[string][]byte{
		"png": pngOf(20000, 20000, 8, 2), "bmp": bmp, "gif": gif, "jpeg": jpg, "webp": webp,
		"png of a thin side": pngOf(1, 1<<30, 8, 0),
	} {
		var err error
		took := allocated(func() { _, err = Decode(bytes.NewReader(data)) })
		assert.ErrorIs(t, err, ErrTooLarge, name)
		assert.Less(t, took, 1<<20, name)
	}
	small := readSample(t, "formats/tiff_rgb_lzw.tif")
	_, err := Decode(bytes.NewReader(small), WithMaxPixels(100))
	assert.ErrorIs(t, err, ErrTooLarge)
	_, err = Decode(bytes.NewReader(pngOf(0, 5, 8, 0)))
	assert.ErrorIs(t, err, ErrCorrupt)
}

// A header within the limits whose pixels the file cannot hold is refused before
// they have room.
func TestTooShortIsRefusedFromTheHeader(t *testing.T) {
	jpg := readSample(t, "jpeg/files/q5.jpg")
	sof := bytes.Index(jpg, []byte{0xff, 0xc0})
	copy(jpg[sof+5:], "\x30\x00\x30\x00")
	bmp := readSample(t, "formats/bmp_rgb.bmp")
	binary.LittleEndian.PutUint32(bmp[18:], 12000)
	binary.LittleEndian.PutUint32(bmp[22:], 12000)
	rle := readSample(t, "formats/bmp_rle8.bmp")[:1100]
	binary.LittleEndian.PutUint32(rle[18:], 12000)
	binary.LittleEndian.PutUint32(rle[22:], 12000)
	webp := readSample(t, "formats/webp_lossy.webp")
	copy(webp[26:], "\xe0\x2e\xe0\x2e")
	for name, data := range map[string][]byte{
		"png": pngOf(12000, 12000, 16, 6), "bilevel png": pngOf(12000, 12000, 1, 0), "jpeg": jpg,
		"bmp": bmp, "bmp of runs": rle, "lossy webp": webp, "gif": gifOf(12000, 12000, 12000, 12000),
	} {
		var err error
		took := allocated(func() { _, err = Decode(bytes.NewReader(data)) })
		assert.ErrorIs(t, err, ErrCorrupt, name)
		assert.ErrorContains(t, err, "truncated", name)
		assert.Less(t, took, 1<<20, name)
	}
}

// gifOf is a GIF that says a size and that of its frame, and has one code.
func gifOf(w, h, frameW, frameH uint16) []byte {
	out := []byte("GIF89a")
	out = binary.LittleEndian.AppendUint16(out, w)
	out = binary.LittleEndian.AppendUint16(out, h)
	out = append(out, "\x80\x00\x00\x01\x02\x03\x04\x05\x06,\x00\x00\x00\x00"...)
	out = binary.LittleEndian.AppendUint16(out, frameW)
	out = binary.LittleEndian.AppendUint16(out, frameH)
	return append(out, "\x00\x02\x02\x4c\x01\x00;"...) // clear, 1, end
}

// losslessWebP is one of one colour, whose pixels take no bits.
func losslessWebP(w, h int) []byte {
	var v, n = new(big.Int), uint(0)
	put := func(value int, bits uint) {
		v.Or(v, new(big.Int).Lsh(big.NewInt(int64(value)), n))
		n += bits
	}
	put(0x2f, 8)
	put(w-1, 14)
	put(h-1, 14)
	put(0, 7) // no alpha, version 0, no transform, cache or tiles
	for range 5 {
		put(1, 4) // a simple code of the one symbol 0
	}
	body := v.FillBytes(make([]byte, 8))
	slices.Reverse(body)
	out := binary.LittleEndian.AppendUint32([]byte("RIFF"), 4+8+8)
	out = binary.LittleEndian.AppendUint32(append(out, "WEBPVP8L"...), 8)
	return append(out, body...)
}

// Pictures of one colour, of as few bytes as their size can have.
func TestPlainPicturesAreNotTooShort(t *testing.T) {
	rle := readSample(t, "formats/bmp_rle8.bmp")[:54+1024]
	binary.LittleEndian.PutUint32(rle[18:], 2000)
	binary.LittleEndian.PutUint32(rle[22:], 2000)
	rle = append(rle, strings.Repeat("\x00\x02\xff\xff", 8)...)
	var g bytes.Buffer
	require.NoError(t, gif.Encode(&g, image.NewPaletted(image.Rect(0, 0, 2000, 2000), color.Palette{color.Black, color.White}), nil))
	for name, data := range map[string][]byte{
		"lossless webp": losslessWebP(2000, 2000), "lossy webp": readSample(t, "plain/lossy.webp"), "bmp of skips": rle,
		"gif": g.Bytes(), "gif of a small frame": gifOf(2000, 2000, 1, 1),
	} {
		img, err := Decode(bytes.NewReader(data))
		if assert.NoError(t, err, name) {
			assert.Equal(t, 2000, img.Width(), name)
			assert.Equal(t, 2000, img.Height(), name)
		}
	}
	_, err := Decode(bytes.NewReader(readSample(t, "plain/lossy_alpha.webp")))
	assert.NoError(t, err)
}

// The shortest files that a format allows for a size are no truncated ones.
func TestEmptyImagesAreNotTooShort(t *testing.T) {
	for _, src := range []image.Image{image.NewGray(image.Rect(0, 0, 4000, 4000)), image.NewNRGBA64(image.Rect(0, 0, 1, 9000)),
		image.NewPaletted(image.Rect(0, 0, 9001, 7), color.Palette{color.Black, color.White})} {
		var buf bytes.Buffer
		require.NoError(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&buf, src))
		_, err := Decode(&buf)
		assert.NoError(t, err)
		require.NoError(t, jpeg.Encode(&buf, src, &jpeg.Options{Quality: 1}))
		_, err = Decode(&buf)
		assert.NoError(t, err)
	}
}

// Images keep nothing of their files, so that the memory of a file is free when it is decoded.
func TestImagesKeepNothingOfFiles(t *testing.T) {
	paths, err := filepath.Glob(testdata + "/formats/*.*")
	require.NoError(t, err)
	images := 0
	for _, path := range paths {
		var d Decoder
		img, err := d.DecodeFile(path)
		if err != nil {
			continue // a script or a list beside the pictures
		}
		want := img.RGB()
		clear(d.file.Bytes())
		assert.Equal(t, want, img.RGB(), path)
		images++
	}
	assert.GreaterOrEqual(t, images, 40)
}
