package preprocess

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/png"
)

// decodePNG uses image/png for the samples and the header for Pillow's mode:
// grayscale of 1 bit is bilevel, of 16 bits mode I, 16-bit gray with alpha
// RGBA. A tRNS chunk changes no mode; image/png answers it with an alpha
// channel, which is left out here.
func decodePNG(data []byte, o options) (*Image, error) {
	cfg, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, damaged(err)
	}
	if err := o.checkSize(cfg.Width, cfg.Height); err != nil {
		return nil, err
	}
	const gray, trueColor, palette, grayAlpha, trueColorAlpha = 0, 2, 3, 4, 6
	depth, colorType := data[24], data[25] // DecodeConfig has checked IHDR
	perPixel := map[byte]int{gray: 1, trueColor: 3, palette: 1, grayAlpha: 2, trueColorAlpha: 4}[colorType] * int(depth)
	if err := checkLength(data, cfg.Height*ceilDiv(cfg.Width*perPixel, 8), maxDeflate); err != nil {
		return nil, err
	}
	src, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, damaged(err)
	}
	s, w, h := samplesOf(src), cfg.Width, cfg.Height
	n := int(max(depth, 8) / 8)
	var m *Image
	switch {
	case colorType == gray && depth == 16:
		m = gatherWide(w, h, s)
	case colorType == gray && depth == 1:
		m = gather(modeBilevel, w, h, s, 0)
	case colorType == gray:
		m = gather(modeL, w, h, s, 0)
	case colorType == trueColor:
		m = gather(modeRGB, w, h, s, 0, n, 2*n)
	case colorType == grayAlpha && depth == 8:
		m = gather(modeLA, w, h, s, 0, 3)
	case colorType == grayAlpha, colorType == trueColorAlpha:
		m = gather(modeRGBA, w, h, s, 0, n, 2*n, 3*n)
	default: // palette
		m = gather(modeP, w, h, s, 0)
		// Not src's palette, which Decode fills up for indices out of range.
		m.palette = paletteOf(cfg.ColorModel.(color.Palette))
	}
	m = m.withEXIF(pngExif(data), o)
	return m, nil
}

// samplesOf returns the pixel memory of what image/png and x/image/tiff give.
func samplesOf(src image.Image) samples {
	switch s := src.(type) {
	case *image.Gray:
		return samples{s.Pix, s.Stride, 1}
	case *image.Gray16:
		return samples{s.Pix, s.Stride, 2}
	case *image.RGBA:
		return samples{s.Pix, s.Stride, 4}
	case *image.NRGBA:
		return samples{s.Pix, s.Stride, 4}
	case *image.RGBA64:
		return samples{s.Pix, s.Stride, 8}
	case *image.NRGBA64:
		return samples{s.Pix, s.Stride, 8}
	case *image.Paletted:
		return samples{s.Pix, s.Stride, 1}
	}
	panic(fmt.Sprintf("preprocess: decoder returned a %T", src))
}

// pngExif returns the eXIf chunk of a valid PNG, or nil.
func pngExif(data []byte) []byte {
	r := byteReader{data: data[8:]}
	for {
		head := r.take(8)
		if head == nil {
			return nil
		}
		body := r.take(int(binary.BigEndian.Uint32(head)))
		if string(head[4:]) == "eXIf" {
			return body
		}
		r.take(4) // CRC
	}
}
