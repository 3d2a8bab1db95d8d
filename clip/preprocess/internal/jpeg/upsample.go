package jpeg

// upsampled is row y at full width. Where the samples are twice as far apart, libjpeg
// ("fancy upsampling", jdsample.c) weighs the nearer one 3 and the other 1, with
// roundings that alternate; at the edges the nearer one stands for both. Two columns or
// fewer, and all other ratios, are repeated.
func (p *plane) upsampled(y int) []uint8 {
	near := p.row(y / p.vs)
	wide := p.fancy && p.hs == 2 && p.width > 2
	switch {
	case p.hs == 1 && p.vs == 1:
		return near
	case wide && p.vs == 1:
		doubled(p.line, near)
	case wide && p.vs == 2:
		far := p.neighbour(y)[:len(p.sums)]
		near = near[:len(p.sums)]
		for i := range p.sums {
			p.sums[i] = 3*int32(near[i]) + int32(far[i])
		}
		doubledSums(p.line, p.sums)
	case p.fancy && p.hs == 1 && p.vs == 2:
		bias := int32(1 + y%2)
		far := p.neighbour(y)[:len(p.line)]
		near = near[:len(p.line)]
		for i := range p.line {
			p.line[i] = uint8((3*int32(near[i]) + int32(far[i]) + bias) >> 2)
		}
	default:
		p.repeat(near)
	}
	return p.line
}

// neighbour is the second nearest row of samples of row y, or at the edges the nearest
// again.
func (p *plane) neighbour(y int) []uint8 {
	return p.row(max(0, min(y/2-1+y%2*2, p.height-1)))
}

func (p *plane) repeat(near []uint8) {
	line := p.line
	for _, v := range near {
		for i := range line[:p.hs] {
			line[i] = v
		}
		line = line[p.hs:]
	}
}

// doubled makes two samples of each, leaning to the left and to the right one.
func doubled(dst, src []uint8) {
	last := len(src) - 1
	dst = dst[:2*len(src)]
	dst[0], dst[2*last+1] = src[0], src[last]
	left := int32(src[0])
	for i, v := range src[1:] {
		right := int32(v)
		dst[2*i+1] = uint8((3*left + right + 2) >> 2)
		dst[2*i+2] = uint8((3*right + left + 1) >> 2)
		left = right
	}
}

// doubledSums is doubled of sums of four.
func doubledSums(dst []uint8, src []int32) {
	last := len(src) - 1
	dst = dst[:2*len(src)]
	dst[0], dst[2*last+1] = uint8((4*src[0]+8)>>4), uint8((4*src[last]+7)>>4)
	left := src[0]
	for i, right := range src[1:] {
		dst[2*i+1] = uint8((3*left + right + 7) >> 4)
		dst[2*i+2] = uint8((3*right + left + 8) >> 4)
		left = right
	}
}
