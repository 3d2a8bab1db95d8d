package preprocess

import (
	"math"
	"math/rand/v2"
)

// The colours of RGB pixels [n, 3] are changed in place, to the byte as Pillow's
// ImageEnhance and torchvision's adjust_hue of Pillow images change them.

// jitter does what ColorJitter of torchvision/transforms/transforms.py does, in an order
// that it draws.
func (a Augmentation) jitter(pix []uint8, rng *rand.Rand) {
	for _, i := range rng.Perm(4) {
		most := a.ColorJitter[i]
		switch {
		case most == 0:
		case i == 3:
			shiftHue(pix, uniform(rng, -most, most))
		default:
			adjust := [...]func([]uint8, float64){brighten, contrast, saturate}[i]
			adjust(pix, uniform(rng, max(0, 1-most), 1+most))
		}
	}
}

// brighten makes black with factor 0 and what is there with 1.
func brighten(pix []uint8, factor float64) { blendAll(0, pix, factor) }

// contrast makes the mean gray with factor 0.
func contrast(pix []uint8, factor float64) {
	if len(pix) == 0 {
		return
	}
	sum := 0
	for i := 0; i+3 <= len(pix); i += 3 {
		sum += int(luma(pix[i:]))
	}
	blendAll(uint8(float64(sum)/float64(len(pix)/3)+0.5), pix, factor)
}

// saturate makes gray with factor 0.
func saturate(pix []uint8, factor float64) {
	for i := 0; i+3 <= len(pix); i += 3 {
		gray := luma(pix[i:])
		for c := i; c < i+3; c++ {
			pix[c] = blend(gray, pix[c], factor)
		}
	}
}

// blend is Pillow's Image.blend of two bytes.
func blend(a, b uint8, factor float64) uint8 {
	f := float32(factor)
	return uint8(max(0, min(float32(a)+float32(f*float32(int(b)-int(a))), 255)))
}

// blendAll blends a with each byte of pix, in place.
func blendAll(a uint8, pix []uint8, factor float64) {
	var blends [256]uint8
	for v := range blends {
		blends[v] = blend(a, uint8(v), factor)
	}
	for i, v := range pix {
		pix[i] = blends[v]
	}
}

// luma is the gray of an RGB pixel (ITU-R 601-2), as Pillow's convert("L") rounds it.
func luma(px []uint8) uint8 {
	return uint8((uint32(px[0])*19595 + uint32(px[1])*38470 + uint32(px[2])*7471 + 0x8000) >> 16)
}

// shiftHue turns the circle of colours by factor, -0.5 to 0.5, of it.
func shiftHue(pix []uint8, factor float64) {
	by := uint8(int32(factor * 255))
	for i := 0; i+3 <= len(pix); i += 3 {
		h, s, v := toHSV(pix[i], pix[i+1], pix[i+2])
		pix[i], pix[i+1], pix[i+2] = fromHSV(h+by, s, v)
	}
}

// toHSV is Pillow's convert("HSV") of a pixel.
func toHSV(r, g, b uint8) (h, s, v uint8) {
	most, least := max(r, g, b), min(r, g, b)
	if most == least {
		return 0, 0, most
	}
	span := float32(most - least)
	rc, gc, bc := float32(most-r)/span, float32(most-g)/span, float32(most-b)/span
	var hue float32
	switch most {
	case r:
		hue = bc - gc
	case g:
		hue = float32(2.0 + float64(rc) - float64(bc))
	default:
		hue = float32(4.0 + float64(gc) - float64(rc))
	}
	turns := float64(hue)/6 + 1
	hue = float32(turns - math.Floor(turns))
	return uint8(float64(hue) * 255), uint8(float64(span/float32(most)) * 255), most
}

// fromHSV is Pillow's convert("RGB") of an HSV pixel.
func fromHSV(h, s, v uint8) (r, g, b uint8) {
	if s == 0 {
		return v, v, v
	}
	hue, share, value := float64(h)*6/255, float32(float64(s)/255), float64(v)
	sector := math.Floor(hue)
	f := float32(hue - sector)
	at := func(x float64) uint8 { return uint8(float64(x) + 0.5) } // rounds: none is negative
	p := at(value * (1 - float64(share)))
	q := at(value * (1 - float64(share*f)))
	t := at(value * (1 - float64(float64(share)*(1-float64(f)))))
	switch int(sector) % 6 {
	case 0:
		return v, t, p
	case 1:
		return q, v, p
	case 2:
		return p, v, t
	case 3:
		return p, q, v
	case 4:
		return t, p, v
	}
	return v, p, q
}
