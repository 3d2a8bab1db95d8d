package preprocess

import (
	"bytes"
	"image"
	"image/color"
	"image/color/palette"
	"image/draw"
	"image/gif"
	"image/png"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	xbmp "golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

// picture has gradients, a texture and noise.
func picture(w, h int) *image.RGBA {
	rng := rand.New(rand.NewPCG(1, 2))
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			noise := rng.IntN(5)
			texture := 20 * math.Sin(float64(x)/3) * math.Sin(float64(y)/5)
			m.SetRGBA(x, y, color.RGBA{uint8(x*255/w&^3 + noise/2), uint8(128 + texture), uint8(y*250/h + noise), 255})
		}
	}
	return m
}

func BenchmarkDecode(b *testing.B) {
	rgb := picture(2000, 1500)
	indexed := image.NewPaletted(rgb.Rect, palette.Plan9)
	draw.Draw(indexed, rgb.Rect, rgb, image.Point{}, draw.Src)
	for _, c := range []struct {
		name   string
		encode func(w *bytes.Buffer) error
	}{
		{"PNG", func(w *bytes.Buffer) error { return png.Encode(w, rgb) }},
		{"PNG of a palette", func(w *bytes.Buffer) error { return png.Encode(w, indexed) }},
		{"GIF", func(w *bytes.Buffer) error { return gif.Encode(w, indexed, nil) }},
		{"BMP", func(w *bytes.Buffer) error { return xbmp.Encode(w, rgb) }},
		{"TIFF", func(w *bytes.Buffer) error { return tiff.Encode(w, rgb, nil) }},
		{"TIFF of Deflate", func(w *bytes.Buffer) error {
			return tiff.Encode(w, rgb, &tiff.Options{Compression: tiff.Deflate, Predictor: true})
		}},
		{"lossless WebP", func(w *bytes.Buffer) error {
			_, err := w.Write(readSample(b, "formats/webp_lossless.webp"))
			return err
		}},
		{"lossy WebP", func(w *bytes.Buffer) error { _, err := w.Write(readSample(b, "plain/lossy.webp")); return err }},
	} {
		var file bytes.Buffer
		require.NoError(b, c.encode(&file))
		b.Run(c.name, func(b *testing.B) {
			var d Decoder
			b.ReportAllocs()
			for b.Loop() {
				_, err := d.Decode(bytes.NewReader(file.Bytes()))
				require.NoError(b, err)
			}
		})
	}
}
