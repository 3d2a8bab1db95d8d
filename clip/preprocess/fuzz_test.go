package preprocess

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/fuzztest"
)

func FuzzPNG(f *testing.F) {
	for _, c := range pngCases(f) {
		f.Add([]byte(c.File))
	}
	fuzzFormat(f, "PNG", "formats/*.png", "preprocess/png/*.png")
}

func FuzzJPEG(f *testing.F) {
	fuzzFormat(f, "JPEG", "formats/*.jpg", "jpeg/files/*.jpg", "jpeg2/files/*.jpg", "jpeg_damaged/files/*.jpg", "jpeg_arithmetic/files/*.jpg")
}

func FuzzGIF(f *testing.F) {
	f.Add(gifOf(400, 300, 40, 30))
	fuzzFormat(f, "GIF", "formats/*.gif")
}

func FuzzWebP(f *testing.F) {
	f.Add(losslessWebP(400, 300))
	fuzzFormat(f, "WebP", "formats/*.webp", "plain/*.webp")
}

func FuzzBMP(f *testing.F) { fuzzFormat(f, "BMP", "formats/*.bmp") }

func FuzzTIFF(f *testing.F) {
	fuzzFormat(f, "TIFF", "formats/*.tif", "tiff/*.tif")
}

// withSums is a PNG whose chunks have the right checksums, without which little
// of what a fuzzer changes would be read.
func withSums(data []byte) []byte {
	data = bytes.Clone(data)
	for at := 8; at+12 <= len(data); {
		end := at + 8 + int(binary.BigEndian.Uint32(data[at:]))
		if end+4 > len(data) {
			break
		}
		binary.BigEndian.PutUint32(data[end:], crc32.ChecksumIEEE(data[at+4:end]))
		at = end + 4
	}
	return data
}

// fuzzFormat fuzzes Decode with files of one format; the patterns are of seeds in
// the test data. Whatever the bytes are, Decode returns an image or an error, and
// the image can be transformed.
func fuzzFormat(f *testing.F, name string, patterns ...string) {
	for _, pattern := range patterns {
		for _, data := range fuzztest.Files(f, filepath.Join(testdata, pattern)) {
			f.Add(data)
		}
	}
	cfg := DefaultConfig()
	cfg.Size, cfg.ResizeMode = [2]int{8, 11}, "longest"
	tr, err := New(cfg)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, data []byte) {
		if is, err := sniff(data[:min(len(data), 32)]); err != nil || strings.TrimPrefix(is.name, "Big") != name {
			return // another format's target tries these bytes
		}
		if name == "PNG" {
			data = withSums(data)
		}
		const limit = 1 << 18
		var img *Image
		err := fuzztest.Within(t, func() (err error) {
			img, err = Decode(bytes.NewReader(data), WithMaxPixels(limit), WithOrientation())
			return err
		})
		if err != nil {
			assert.Nil(t, img)
			return
		}
		assert.LessOrEqual(t, img.Width()*img.Height(), limit)
		var pix []uint8
		err = fuzztest.Within(t, func() (err error) {
			pix, err = tr.Pixels(img)
			return err
		})
		if err != nil {
			assert.ErrorIs(t, err, ErrShape)
		} else {
			assert.Len(t, pix, 3*8*11)
		}
	})
}
