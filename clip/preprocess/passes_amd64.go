//go:build !purego

package preprocess

import "golang.org/x/sys/cpu"

var hasAVX2 = cpu.X86.HasAVX2

// tapsAtOnce is how many pixels of a row the kernel weighs together.
const tapsAtOnce = 4

// lowBits is the number of bits of the lower part of a weight. The kernel multiplies
// 16-bit numbers, and a weight has precisionBits and the sign.
const lowBits = 11

// packed16 is memory of packedWeights.
type packed16 struct {
	weights16 []int16
	firsts    []int32
}

// packedWeights are weights as the kernel reads them: of each output and each group
// of tapsAtOnce pixels the upper parts, then the lower ones. All outputs have the
// same number of groups; the weights that are missing are 0.
type packedWeights struct {
	k      []int16
	first  []int32   // bytes of a row before the pixels of each output
	spread [32]uint8 // where in 16 bytes the samples of each pair of pixels are; 0x80 is none
	groups int
	reach  int // how many bytes of a row are read
}

func (w weights[K]) pack(bands int, mem *packed16) packedWeights {
	p := packedWeights{groups: ceilDiv(w.most(), tapsAtOnce)}
	mem.weights16 = sized(mem.weights16, len(w.k)*p.groups*2*tapsAtOnce)
	mem.firsts = sized(mem.firsts, len(w.k))
	p.k, p.first = mem.weights16, mem.firsts
	clear(p.k)
	for i, k := range w.k {
		p.first[i] = int32(w.first[i] * bands)
		out := p.k[i*p.groups*2*tapsAtOnce:]
		for j, v := range k {
			at := j/tapsAtOnce*2*tapsAtOnce + j%tapsAtOnce
			v := int32(v)
			out[at], out[at+tapsAtOnce] = int16(v>>lowBits), int16(v&(1<<lowBits-1))
		}
		p.reach = max(p.reach, int(p.first[i])+(p.groups-1)*tapsAtOnce*bands+16)
	}
	for i := range p.spread {
		pair, band, of, high := i/16, i%16/4, i%4/2, i%2 == 1
		if p.spread[i] = uint8((2*pair+of)*bands + band); high || band >= bands {
			p.spread[i] = 0x80
		}
	}
	return p
}

// horizontal makes lines of rowsAtOnce rows of src.
func (p *passes) horizontal(lines, src []uint8, stride int) {
	if !hasAVX2 {
		for j := range rowsAtOnce {
			p.horizontalGo(lines[j*p.stride:], src[j*stride:])
		}
		return
	}
	_, _ = lines[rowsAtOnce*p.stride-1], src[(rowsAtOnce-1)*stride+p.packed.reach-1]
	horizontalAVX2(&lines[0], &src[0], p.stride, stride, &p.packed.first[0], &p.packed.k[0], &p.packed.spread, len(p.packed.first), p.packed.groups, p.bands)
}

// vertical makes a row of the result of the lines that k weighs. It writes up to
// slack bytes behind the row.
func (p *passes) vertical(dst, lines []uint8, k []int32) {
	if !hasAVX2 {
		p.verticalGo(dst, lines, k)
		return
	}
	n := ceilDiv(len(dst), 32)
	_, _ = dst[:32*n], lines[len(k)*p.stride-1]
	verticalAVX2(&dst[0], &lines[0], p.stride, &k[0], len(k), n)
}

// horizontalAVX2 resizes four rows of n pixels each, stride bytes apart.
//
//go:noescape
func horizontalAVX2(dst, src *uint8, dstStride, srcStride int, first *int32, k *int16, spread *[32]uint8, n, groups, bands int)

// verticalAVX2 weighs the lines, n times 32 columns.
//
//go:noescape
func verticalAVX2(dst, lines *uint8, stride int, k *int32, taps, n int)
