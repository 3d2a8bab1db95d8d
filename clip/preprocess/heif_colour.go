//go:build heic

package preprocess

import "fmt"

// heifColours says how an image's samples stand for colours (ITU-T H.273).
type heifColours struct {
	matrix int
	full   bool // samples reach from 0 to 255
}

// hevcHeader is that of the image's video. Its colours are those of the primary image's colr
// box where there is one, as in libheif.
func (f *heifFile) hevcHeader(coded *heifItem) (hevcHeader, error) {
	sps, err := hvcCSPS(f.property(coded, "hvcC"))
	if err != nil {
		return hevcHeader{}, err
	}
	header, err := readSPS(sps)
	if err != nil {
		return hevcHeader{}, err
	}
	if w, h := f.size(coded); header.width != w || header.height != h {
		return hevcHeader{}, fmt.Errorf("%w: an image of %dx%d whose video has %dx%d", ErrCorrupt, w, h, header.width, header.height)
	}
	for _, item := range []*heifItem{coded, f.items[f.primary]} {
		for _, i := range item.properties {
			if p := f.propertyAt(i); p.kind == "colr" && len(p.body) >= 11 && string(p.body[:4]) == "nclx" {
				header.colours = heifColours{int(p.body[8])<<8 | int(p.body[9]), p.body[10]&0x80 != 0}
			}
		}
	}
	return header, header.colours.known()
}

// known refuses matrices that are not read.
func (c heifColours) known() error {
	if _, _, ok := c.weights(); !ok && c.matrix != heifIdentity {
		return fmt.Errorf("%w: HEIC of matrix coefficients %d, want the identity, BT.709, BT.601 or BT.2020", ErrUnsupportedFormat, c.matrix)
	}
	return nil
}

// heifIdentity is the matrix of samples that are green, blue and red.
const heifIdentity = 0

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

// convert turns luma, Cb and Cr into red, green and blue, in pixels of n samples.
func (c heifColours) convert(pix []uint8, n int) {
	red, blue, _ := c.weights()
	green := 1 - red - blue
	luma, chroma, black := 1.0, 1.0, 0.0
	if !c.full {
		luma, chroma, black = 1.1689, 1.1429, 16 // libheif's, rather than 255/219 and 255/224
	}
	var lumas, redOfCr, greenOfCr, greenOfCb, blueOfCb [256]float32
	for i := range 256 {
		v := chroma * float64(i-128)
		lumas[i] = float32(luma*(float64(i)-black) + 0.5)
		redOfCr[i], blueOfCb[i] = float32(2*(1-red)*v), float32(2*(1-blue)*v)
		greenOfCr[i], greenOfCb[i] = float32(-2*red*(1-red)/green*v), float32(-2*blue*(1-blue)/green*v)
	}
	for ; len(pix) > 0; pix = pix[n:] {
		y, cb, cr := pix[0], pix[1], pix[2]
		if l := lumas[y]; c.matrix == heifIdentity {
			pix[0], pix[1], pix[2] = level(lumas[cr]), level(l), level(lumas[cb])
		} else {
			pix[0], pix[1], pix[2] = level(l+redOfCr[cr]), level(l+greenOfCb[cb]+greenOfCr[cr]), level(l+blueOfCb[cb])
		}
	}
}

func level(v float32) uint8 { return uint8(min(max(v, 0), 255)) }
