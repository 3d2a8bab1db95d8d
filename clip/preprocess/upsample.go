package preprocess

import "image"

// plane is one component of an image, subsampled hs times horizontally and vs
// times vertically. Samples beyond w and h are padding and never read.
type plane struct {
	pix          []uint8
	stride       int
	w, h         int
	hs, vs       int
	fullW, fullH int
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func planesOf(s *image.YCbCr) []plane {
	w, h := s.Rect.Dx(), s.Rect.Dy()
	hs, vs := 1, 1
	switch s.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		hs = 2
	case image.YCbCrSubsampleRatio420:
		hs, vs = 2, 2
	case image.YCbCrSubsampleRatio440:
		vs = 2
	case image.YCbCrSubsampleRatio411:
		hs = 4
	case image.YCbCrSubsampleRatio410:
		hs, vs = 4, 2
	}
	chroma := func(pix []uint8) plane {
		return plane{pix, s.CStride, ceilDiv(w, hs), ceilDiv(h, vs), hs, vs, w, h}
	}
	return []plane{{s.Y, s.YStride, w, h, 1, 1, w, h}, chroma(s.Cb), chroma(s.Cr)}
}

// interleave upsamples planes to full size and makes them an image's bands.
func interleave(mode string, planes []plane) *Image {
	w, h := planes[0].fullW, planes[0].fullH
	m := newImage(mode, w, h)
	n := len(planes)
	row := make([]uint8, w+4) // the upsamplers fill whole groups
	sums := make([]int32, w)
	for y := range h {
		out := m.pix[y*w*n:]
		for i, p := range planes {
			p.row(row, sums, y)
			for x, v := range row[:w] {
				out[x*n+i] = v
			}
		}
	}
	return m
}

// row makes row y at full width. Where the samples are twice as far apart,
// libjpeg ("fancy upsampling", jdsample.c) weighs the nearer one 3 and the
// other 1, with roundings that alternate; at the edges the nearer one stands
// for both. Two columns or fewer, and all other ratios, are repeated.
func (p plane) row(dst []uint8, sums []int32, y int) {
	near := p.pix[y/p.vs*p.stride:][:p.w]
	fancyH := p.hs == 2 && p.w > 2
	switch {
	case p.hs == 1 && p.vs == 1:
		copy(dst, near)
	case fancyH && p.vs == 1:
		for i, v := range near {
			sums[i] = int32(v)
		}
		triangle(dst, sums[:p.w], 1, 2, 2)
	case fancyH && p.vs == 2:
		for i, v := range p.neighbour(y) {
			sums[i] = 3*int32(near[i]) + int32(v)
		}
		triangle(dst, sums[:p.w], 8, 7, 4)
	case p.hs == 1 && p.vs == 2:
		bias := int32(1 + y%2)
		for i, v := range p.neighbour(y) {
			dst[i] = uint8((3*int32(near[i]) + int32(v) + bias) >> 2)
		}
	default:
		for x := range p.fullW {
			dst[x] = near[x/p.hs]
		}
	}
}

// neighbour is the second nearest row of samples of row y, or at the edges
// the nearest again.
func (p plane) neighbour(y int) []uint8 {
	i := y/2 - 1 + y%2*2
	return p.pix[max(0, min(i, p.h-1))*p.stride:][:p.w]
}

// triangle doubles a row of sums: two outputs each, leaning to the left and to
// the right neighbour, rounded by their bias.
func triangle(dst []uint8, sums []int32, left, right int32, shift uint) {
	last := len(sums) - 1
	for i, v := range sums {
		dst[2*i] = uint8((3*v + sums[max(i-1, 0)] + left) >> shift)
		dst[2*i+1] = uint8((3*v + sums[min(i+1, last)] + right) >> shift)
	}
}

// yccToRGB converts the first three of n bands in place by libjpeg's 16-bit
// fixed-point tables (jdcolor.c).
func yccToRGB(pix []uint8, n int) {
	const half = 1 << 15
	var crR, cbB, crG, cbG [256]int32
	for i := range int32(256) {
		c := i - 128
		crR[i] = (91881*c + half) >> 16  // 1.40200
		cbB[i] = (116130*c + half) >> 16 // 1.77200
		crG[i] = -46802 * c              // 0.71414
		cbG[i] = -22554*c + half         // 0.34414
	}
	for i := 0; i < len(pix); i += n {
		p := pix[i : i+3 : i+3]
		y, cb, cr := int32(p[0]), p[1], p[2]
		p[0] = clip8(y + crR[cr])
		p[1] = clip8(y + (cbG[cb]+crG[cr])>>16)
		p[2] = clip8(y + cbB[cb])
	}
}
