package preprocess

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
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
		"":                         {ErrCorrupt, "no bytes"},
		"P":                        {ErrUnsupportedFormat, `"P"`},
		"just some text, no image": {ErrUnsupportedFormat, "just some"},
		"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00":   {ErrUnsupportedFormat, "HEIC"},
		"\x00\x00\x00\x18ftypheix\x00\x00\x00\x00":   {ErrUnsupportedFormat, "HEIC"},
		"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00":   {ErrUnsupportedFormat, "HEIF"},
		"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00":   {ErrUnsupportedFormat, "AVIF"},
		"\x00\x00\x00\x0cJXL \r\n\x87\n":             {ErrUnsupportedFormat, "JPEG XL"},
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
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(bytes.NewReader(data))
		runtime.ReadMemStats(&after)
		assert.ErrorIs(t, err, ErrTooLarge, name)
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20), name)
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
	for name, data := range map[string][]byte{
		"png": pngOf(12000, 12000, 16, 6), "bilevel png": pngOf(12000, 12000, 1, 0), "jpeg": jpg,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(bytes.NewReader(data))
		runtime.ReadMemStats(&after)
		assert.ErrorIs(t, err, ErrCorrupt, name)
		assert.ErrorContains(t, err, "truncated", name)
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20), name)
	}
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

// Whatever the bytes are, there is an image or an error, and what is decoded
// can be transformed.
func FuzzDecode(f *testing.F) {
	for _, path := range samplePaths(f) {
		data, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(data)
	}
	cfg := DefaultConfig()
	cfg.Size, cfg.ResizeMode = Size{8, 11}, "longest"
	tr, err := New(cfg)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 18
		img, err := Decode(bytes.NewReader(data), WithMaxPixels(limit), WithOrientation())
		if err != nil {
			assert.Nil(t, img)
			return
		}
		assert.LessOrEqual(t, img.Width()*img.Height(), limit)
		if pix, err := tr.Pixels(img); err != nil {
			assert.ErrorIs(t, err, ErrShape)
		} else {
			assert.Len(t, pix, 3*8*11)
		}
	})
}
