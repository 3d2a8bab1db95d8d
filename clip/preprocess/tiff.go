package preprocess

import (
	"bytes"
	"image"

	"golang.org/x/image/tiff"
)

// decodeTIFF reads what x/image/tiff does: gray, palette, RGB and RGBA of 8 or
// 16 bits and bilevel, uncompressed, LZW, Deflate, PackBits or CCITT.
// 16-bit gray, which Pillow 9.4 opens but cannot resize, is read as mode I.
func decodeTIFF(data []byte, o options) (*Image, error) {
	cfg, err := tiff.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, damaged(err)
	}
	if err := o.checkSize(cfg.Width, cfg.Height); err != nil {
		return nil, err
	}
	src, err := tiff.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, damaged(err)
	}
	m := FromImage(src)
	if _, gray := src.(*image.Gray); gray && tiffTag(data, tagBitsPerSample, 1) == 1 {
		m.mode = modeBilevel
		// A white run of a fax is zero bits, which "black is zero" shows black.
		// x/image/tiff shows fax runs in their own colour whatever this tag says.
		const fax3, fax4, blackIsZero = 3, 4, 1
		c := tiffTag(data, tagCompression, 1)
		if (c == fax3 || c == fax4) && tiffTag(data, tagPhotometric, 0) == blackIsZero {
			for i := range m.pix {
				m.pix[i] = ^m.pix[i]
			}
		}
	}
	return m.upright(data), nil
}
