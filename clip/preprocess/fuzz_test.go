package preprocess

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/fuzztest"
)

func FuzzPNG(f *testing.F) {
	for _, c := range pngCases(f) {
		f.Add([]byte(c.File))
	}
	fuzzFormat(f, "PNG", "formats/*.png", "preprocess/png/*.png", "shared/bugs/png-*/*.png")
}

func FuzzJPEG(f *testing.F) {
	fuzzFormat(f, "JPEG", "formats/*.jpg", "jpeg/*.jpg", "jpeg/files/*.jpg", "shared/bugs/jpeg-*/*.jpg", "shared/oracle/jpeg2/files/*.jpg")
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
	fuzzFormat(f, "TIFF", "formats/*.tif", "tiff/*.tif", "shared/bugs/tiff-*/*.tif")
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

// fuzzFormat fuzzes Decode with files of one format. Whatever the bytes are,
// there is an image or an error, and what is decoded can be transformed. The
// patterns are of files in the test data; those that begin with shared count
// where that folder lies beside the checkout.
func fuzzFormat(f *testing.F, name string, patterns ...string) {
	for _, pattern := range patterns {
		path := filepath.Join(testdata, pattern)
		if pattern[:6] == "shared" {
			path = filepath.Join("../../..", pattern)
			if found, _ := filepath.Glob(path); found == nil {
				continue
			}
		}
		for _, data := range fuzztest.Files(f, path) {
			f.Add(data)
		}
	}
	cfg := DefaultConfig()
	cfg.Size, cfg.ResizeMode = Size{8, 11}, "longest"
	tr, err := New(cfg)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, data []byte) {
		if is, err := sniff(data[:min(len(data), 32)]); err != nil || is.name != name {
			return // another format's target has it
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
