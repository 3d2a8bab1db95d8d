package preprocess

import (
	"bytes"
	"image"
	stdjpeg "image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess/internal/jpeg"
)

// What one file leaves in a Decoder's memory does not show in the next.
func TestDecoderGivesWhatDecodeGives(t *testing.T) {
	var files []string
	for _, pattern := range []string{"jpeg/files/*", "jpeg2/files/*", "jpeg_damaged/files/*", "jpeg_arithmetic/files/*", "formats/*", "plain/*", "preprocess/png/*", "png/*", "tiff/*"} {
		found, err := filepath.Glob(filepath.Join(testdata, pattern))
		require.NoError(t, err)
		files = append(files, found...)
	}
	require.NotEmpty(t, files)
	var d Decoder
	for _, opts := range [][]Option{nil, {WithOrientation()}, nil} {
		for i, file := range files {
			opts := append(opts, WithScale(1<<(i%4)))
			want, wantErr := DecodeFile(file, opts...)
			got, err := d.DecodeFile(file, opts...)
			assert.Equal(t, wantErr, err, file)
			assert.Equal(t, want, got, file)
		}
	}
}

// A worker takes the memory of one picture for many.
func TestMemoryOfDecoderIsUsedAgain(t *testing.T) {
	const side, mb = 3000, 1_000_000
	for name, c := range map[string]struct {
		data  []byte
		bytes int // of a pixel
	}{
		"PNG":           {flatPNG(t, side, 8, 2, 3), 3},
		"PNG and alpha": {flatPNG(t, side, 8, 6, 4), 4},
		"BMP":           {runsBMP(t, side), 1},
		"TIFF":          {sharingTIFF(0, side, side, 8, tiffPackBits, strings.Repeat("\x81\x00", side/128+1), ""), 1},
		"lossless WebP": {losslessWebP(side, side), 3},
	} {
		var d Decoder
		decode := func() {
			_, err := d.Decode(bytes.NewReader(c.data))
			require.NoError(t, err, name)
		}
		decode()
		const many = 4 // between which the runtime may take back what is kept between files
		assert.Less(t, allocated(func() {
			for range many {
				decode()
			}
		}), many/2*c.bytes*side*side, name)
		assert.Less(t, cap(d.pixels), c.bytes*side*side+mb, name)
	}
}

// turnedJPEG is a JPEG with EXIF orientation 6.
func turnedJPEG(data []byte) []byte {
	const exif = "\xff\xe1\x00\x22Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00"
	return []byte(string(data[:2]) + exif + string(data[2:]))
}

// Of an animation only the first frame takes memory, but for the file's own.
func TestMemoryOfAnimatedGIF(t *testing.T) {
	const frames = 8 << 20 // bytes of them
	file := bytes.TrimSuffix(gifOf(40, 30, 1, 1), []byte(";"))
	file = append(file, make([]byte, frames)...)
	var d Decoder
	decode := func() {
		_, err := d.Decode(bytes.NewReader(file))
		require.NoError(t, err)
	}
	decode()
	assert.Less(t, allocated(decode), frames/4)
}

// A file over the limit is refused by its size, not after it has been read.
func TestFileOverTheLimitIsNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "huge.png")
	require.NoError(t, os.WriteFile(path, readSample(t, "formats/png_rgb16.png"), 0o600))
	require.NoError(t, os.Truncate(path, maxFileBytes+1))
	took := allocated(func() {
		_, err := DecodeFile(path)
		assert.ErrorIs(t, err, ErrTooLarge)
	})
	assert.Less(t, took, 1<<20)
}

// A worker takes 60 MB for JPEGs of 12 megapixels, 36 MB more to turn them, or 20 MB more
// than coefficients, and nothing for the next.
func TestMemoryOfDecoder(t *testing.T) {
	const mb = 1_000_000
	var baseline bytes.Buffer
	require.NoError(t, stdjpeg.Encode(&baseline, image.NewYCbCr(image.Rect(0, 0, 4000, 3000), image.YCbCrSubsampleRatio420), nil))
	progressive := progressiveJPEG(3464, 3, 10)
	h, err := jpeg.ReadHeader(progressive)
	require.NoError(t, err)
	coefs := h.Blocks() * jpeg.BlockBytes
	for name, c := range map[string]struct {
		data  []byte
		bound int
		opts  []Option
	}{
		"baseline":             {baseline.Bytes(), 60 * mb, nil},
		"turned":               {turnedJPEG(baseline.Bytes()), 96 * mb, []Option{WithOrientation()}},
		"progressive":          {progressive, coefs + 20*mb, nil},
		"progressive, at half": {progressive, coefs + 20*mb, []Option{WithScale(2)}},
	} {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, c.data, 0o600))
		var d Decoder
		decode := func() {
			img, err := d.DecodeFile(path, c.opts...)
			require.NoError(t, err)
			require.Equal(t, name == "turned", img.height > img.width)
		}
		assert.Less(t, allocated(decode), c.bound, name)
		assert.Less(t, allocated(decode), 2*mb, name)
	}
}
