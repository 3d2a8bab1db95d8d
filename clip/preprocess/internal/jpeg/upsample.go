package jpeg

import "encoding/binary"

// upsampled returns row y of the picture, a sample for each pixel. It holds until the
// next call. Where the samples are twice as far apart, across, down or both, libjpeg
// ("fancy upsampling", jdsample.c) weighs the nearer one 3 and the other 1, with
// roundings that alternate; at the edges the nearer one stands for both. Two columns or
// fewer across, and all other ratios, are repeated.
func (p *plane) upsampled(y int) []uint8 {
	near := p.row(y / p.vs)
	wide := p.fancy && p.hs == 2 && p.width > 2
	switch {
	case p.hs == 1 && p.vs == 1:
		return near
	case wide && p.vs == 1:
		double(p.line, near, near, 4, 8)
	case wide && p.vs == 2:
		double(p.line, near, p.neighbour(y), 8, 7)
	case p.fancy && p.hs == 1 && p.vs == 2:
		blend(p.line, near, p.neighbour(y), uint64(1+y%2))
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

// Every second byte of eight, which leaves each 16 bits, and 1 in each.
const (
	lanes   = 0x00ff00ff00ff00ff
	oneEach = 0x0001000100010001
)

// blend weighs near 3 and far 1.
func blend(dst, near, far []uint8, bias uint64) {
	near, far = near[:len(dst)], far[:len(dst)]
	i := 0
	for ; i+8 <= len(dst); i += 8 {
		n, f := binary.LittleEndian.Uint64(near[i:]), binary.LittleEndian.Uint64(far[i:])
		even := ((n&lanes)*3 + f&lanes + bias*oneEach) >> 2 & lanes
		odd := ((n>>8&lanes)*3 + f>>8&lanes + bias*oneEach) >> 2 & lanes
		binary.LittleEndian.PutUint64(dst[i:], even|odd<<8)
	}
	for ; i < len(dst); i++ {
		dst[i] = uint8((3*uint64(near[i]) + uint64(far[i]) + bias) >> 2)
	}
}

// doublePlain makes two samples of each: sums that weigh near 3 and far 1 are weighed 3 and
// the sum to their left or right 1, which is then rounded by its bias.
func doublePlain(dst, near, far []uint8, left, right uint64) {
	far, dst = far[:len(near)], dst[:2*len(near)]
	sum := func(i int) uint64 {
		i = min(i, len(near)-1)
		return 3*uint64(near[i]) + uint64(far[i])
	}
	before, i := sum(0), 0
	for ; i+8 < len(near); i += 8 {
		n, f := binary.LittleEndian.Uint64(near[i:]), binary.LittleEndian.Uint64(far[i:])
		even, odd := (n&lanes)*3+f&lanes, (n>>8&lanes)*3+f>>8&lanes
		behind := 3*uint64(near[i+8]) + uint64(far[i+8])
		evens := (even*3+(odd<<16|before)+left*oneEach)>>4&lanes | (even*3+odd+right*oneEach)>>4&lanes<<8
		odds := (odd*3+even+left*oneEach)>>4&lanes | (odd*3+(even>>16|behind<<48)+right*oneEach)>>4&lanes<<8
		before = odd >> 48
		binary.LittleEndian.PutUint64(dst[2*i:], spread(evens)|spread(odds)<<16)
		binary.LittleEndian.PutUint64(dst[2*i+8:], spread(evens>>32)|spread(odds>>32)<<16)
	}
	for here := sum(i); i < len(near); i++ {
		behind := sum(i + 1)
		dst[2*i] = uint8((3*here + before + left) >> 4)
		dst[2*i+1] = uint8((3*here + behind + right) >> 4)
		before, here = here, behind
	}
}

// spread puts 16 bits between the two lowest 16.
func spread(v uint64) uint64 { return v&0xffff | v&0xffff0000<<16 }
