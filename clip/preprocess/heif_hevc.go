//go:build heic

package preprocess

import (
	"fmt"
	"image"
)

// libheif's numbers.
const (
	heifYCbCr = 0
	heifGray  = 2
	heif420   = 1
	heif422   = 2
	heif444   = 3
)

// decodeHEIC returns the image upright, as libheif does: the file's irot and imir say how,
// and an EXIF orientation beside them means the same.
func (f *heifFile) decodeHEIC(data []byte, coded *heifItem, o options) (*Image, error) {
	colours, err := f.colours(coded)
	if err != nil {
		return nil, damaged(err)
	}
	var m *Image
	err = heicSandbox.run(data, func(c *sandboxCall) error {
		c.write(c.data+8, []byte("heic")) // other major brands are refused, whatever is in the file
		m, err = colours.decode(c, o)
		return err
	})
	if err != nil {
		return nil, err
	}
	e := exifIn(f.exif)
	e.orientation = 0
	return m.withEXIF(e, o), nil
}

// decode runs the decoder, once for the sizes.
func (colours heifColours) decode(c *sandboxCall, o options) (*Image, error) {
	const words = 5 // width, height, colour space, chroma, premultiplied
	info, out := c.alloc(4*words), uint64(0)
	decode := func(headerOnly uint64) {
		c.decode(headerOnly, info, info+4, info+8, info+12, info+16, out)
	}
	decode(1)
	w, h, space, chroma := c.u32(info), c.u32(info+4), c.u32(info+8), c.u32(info+12)
	if c.err != nil {
		return nil, c.err
	}
	if err := o.checkSize(w, h); err != nil {
		return nil, err
	}
	yStride, cStride, cHeight := heifStride(w), 0, h
	var ratio image.YCbCrSubsampleRatio
	switch {
	case space == heifGray:
	case space == heifYCbCr && chroma == heif420:
		cStride, cHeight, ratio = heifStride(ceilDiv(w, 2)), ceilDiv(h, 2), image.YCbCrSubsampleRatio420
	case space == heifYCbCr && chroma == heif422:
		cStride, ratio = heifStride(ceilDiv(w, 2)), image.YCbCrSubsampleRatio422
	case space == heifYCbCr && chroma == heif444:
		cStride, ratio = heifStride(w), image.YCbCrSubsampleRatio444
	default:
		return nil, fmt.Errorf("%w: HEIC of colour space %d and chroma %d", ErrUnsupportedFormat, space, chroma)
	}
	yEnd, cSize := yStride*h, cStride*cHeight
	out = c.alloc(yEnd + 2*cSize)
	decode(0)
	pix := c.read(out, yEnd+2*cSize)
	if c.err != nil {
		return nil, c.err
	}
	if space == heifGray {
		return gather(modeL, w, h, samples{pix, yStride, 1}, 0), nil
	}
	m := o.newImage(modeRGB, w, h)
	colours.convert(m, &image.YCbCr{Y: pix[:yEnd], Cb: pix[yEnd : yEnd+cSize], Cr: pix[yEnd+cSize:],
		YStride: yStride, CStride: cStride, SubsampleRatio: ratio, Rect: image.Rect(0, 0, w, h)})
	return m, nil
}

// heifStride is how many bytes libheif takes for a row: 64 or more, and a multiple of 16.
func heifStride(width int) int { return ceilDiv(max(64, width), 16) * 16 }
