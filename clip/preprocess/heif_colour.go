//go:build heic

package preprocess

import (
	"fmt"
	"image"
)

// heifColours says how an image's samples stand for colours (ITU-T H.273).
type heifColours struct {
	matrix int
	full   bool // samples reach from 0 to 255
}

// colours are those of the primary image's colr box or, as in libheif, of the video's own header.
func (f *heifFile) colours(coded *heifItem) (heifColours, error) {
	sps, err := hvcCSPS(f.property(coded, "hvcC"))
	if err != nil {
		return heifColours{}, err
	}
	header, err := readSPS(sps)
	if err != nil {
		return heifColours{}, err
	}
	const block = 64
	w, h := f.size(coded)
	if header.width < w || header.width >= w+block || header.height < h || header.height >= h+block {
		return heifColours{}, fmt.Errorf("%w: an image of %dx%d whose video has %dx%d", ErrCorrupt, w, h, header.width, header.height)
	}
	for _, item := range []*heifItem{f.items[f.primary], coded} {
		for _, i := range item.properties {
			if i < 1 || i > len(f.properties) || f.properties[i-1].kind != "colr" {
				continue
			}
			if b := f.properties[i-1].body; len(b) >= 11 && string(b[:4]) == "nclx" {
				return heifColours{int(b[8])<<8 | int(b[9]), b[10]&0x80 != 0}.known()
			}
		}
	}
	return header.colours.known()
}

// known refuses matrices that are not read.
func (c heifColours) known() (heifColours, error) {
	if _, _, ok := c.weights(); !ok {
		return c, fmt.Errorf("%w: HEIC of matrix coefficients %d, want BT.709, BT.601 or BT.2020", ErrUnsupportedFormat, c.matrix)
	}
	return c, nil
}

// weights are those of red and blue in luma.
func (c heifColours) weights() (red, blue float64, ok bool) {
	switch c.matrix {
	case 1: // BT.709
		return 0.2126, 0.0722, true
	case 2, 5, 6: // BT.601, which libheif takes where it is not told
		return 0.299, 0.114, true
	case 9: // BT.2020
		return 0.2627, 0.0593, true
	}
	return 0, 0, false
}

// convert writes src to m. Pixels that share a sample of chroma have it as it is, as in libheif.
func (c heifColours) convert(m *Image, src *image.YCbCr) {
	red, blue, _ := c.weights()
	green := 1 - red - blue
	luma, chroma, black := 1.0, 1.0, 0.0
	if !c.full {
		luma, chroma, black = 255./219, 255./224, 16
	}
	var lumas, redOfCr, greenOfCr, greenOfCb, blueOfCb [256]float32
	for i := range 256 {
		v := chroma * float64(i-128)
		lumas[i] = float32(luma*(float64(i)-black) + 0.5)
		redOfCr[i], blueOfCb[i] = float32(2*(1-red)*v), float32(2*(1-blue)*v)
		greenOfCr[i], greenOfCb[i] = float32(-2*red*(1-red)/green*v), float32(-2*blue*(1-blue)/green*v)
	}
	out := m.pix
	for y := range m.height {
		for x := range m.width {
			l := lumas[src.Y[y*src.YStride+x]]
			at := src.COffset(x, y)
			cb, cr := src.Cb[at], src.Cr[at]
			out[0], out[1], out[2] = level(l+redOfCr[cr]), level(l+greenOfCb[cb]+greenOfCr[cr]), level(l+blueOfCb[cb])
			out = out[3:]
		}
	}
}

func level(v float32) uint8 { return uint8(min(max(v, 0), 255)) }
