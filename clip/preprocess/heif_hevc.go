//go:build heic

package preprocess

import "fmt"

// decodeHEIC returns the image upright, as libheif does: the file's irot and imir say how,
// and an EXIF orientation beside them means the same.
func (f *heifFile) decodeHEIC(data []byte, coded *heifItem, memory int, o options) (*Image, error) {
	header, err := f.hevcHeader(coded)
	if err != nil {
		return nil, damaged(err)
	}
	if err := f.checkGrid(); err != nil {
		return nil, err
	}
	w, h, err := f.shownSize()
	if err != nil {
		return nil, err
	}
	var m *Image
	err = heicSandbox.run(f.raw(data), memory, func(c *sandboxCall) error {
		s, err := c.heifSamples(w, h)
		if err != nil {
			return err
		}
		switch _, alpha := f.alpha(); {
		case header.gray && alpha:
			m = gather(modeLA, w, h, s, heifLuma, heifAlpha)
		case header.gray:
			m = gather(modeL, w, h, s, heifLuma)
		case alpha:
			m = gather(modeRGBA, w, h, s, heifLuma, heifCb, heifCr, heifAlpha)
			header.colours.convert(m.pix, 4)
			if f.items[f.primary].multiplied {
				unpremultiply(m.pix, 4)
			}
		default:
			m = gather(modeRGB, w, h, s, heifLuma, heifCb, heifCr)
			header.colours.convert(m.pix, 3)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	e := exifIn(f.exif)
	e.orientation = 0
	return m.withEXIF(e, o), nil
}

// Where raw's samples are in a pixel.
const heifCr, heifLuma, heifCb, heifAlpha = 0, 1, 2, 3

// heifSamples runs the decoder on raw's file, once for the sizes.
func (c *sandboxCall) heifSamples(w, h int) (samples, error) {
	const words, rgb = 5, 1
	info, out := c.alloc(4*words), uint64(0) // width, height, colour space, chroma, premultiplied
	decode := func(headerOnly uint64) {
		c.decode(headerOnly, info, info+4, info+8, info+12, info+16, out)
	}
	decode(1)
	width, height, space := c.u32(info), c.u32(info+4), c.u32(info+8)
	switch {
	case c.err != nil:
		return samples{}, c.err
	case width != w || height != h || space != rgb:
		return samples{}, fmt.Errorf("%w: an image of %dx%d that libheif takes for %dx%d", ErrCorrupt, w, h, width, height)
	}
	// libheif's rows have 64 pixels or more and an even number of them, and a multiple of 16 bytes.
	stride := ceilDiv(max(64, w+w&1)*4, 16) * 16
	out = c.alloc(stride * h)
	decode(0)
	return samples{c.read(out, stride*h), stride, 4}, c.err
}
