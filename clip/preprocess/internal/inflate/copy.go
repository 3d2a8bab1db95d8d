package inflate

import "encoding/binary"

// repeat copies to w the length bytes that lie distance before it. It may write up to
// slack bytes more.
func repeat(buf []byte, w, distance, length int) {
	if distance < 8 {
		// A word must not overlap the one that it is copied from. The bytes repeat, so
		// that behind eight of them a multiple of the distance gives the same ones.
		for range min(length, 8) {
			buf[w] = buf[w-distance]
			w++
		}
		length -= 8
		distance *= (7 + distance) / distance
	}
	for i := 0; i < length; i += 8 {
		binary.LittleEndian.PutUint64(buf[w+i:], binary.LittleEndian.Uint64(buf[w+i-distance:]))
	}
}

// adler is the checksum Adler-32.
type adler uint32

func (a *adler) add(p []byte) {
	const mod, most = 65521, 5552 // bytes that sums of 32 bits hold
	s1, s2 := uint64(*a&0xffff), uint64(*a>>16)
	for len(p) > 0 {
		part := p[:min(len(p), most)]
		p = p[len(part):]
		for ; len(part) >= 8; part = part[8:] {
			// Four bytes each in lanes of 16 bits. A product's highest lane is their
			// sum, by the weights that eight steps give them.
			const lanes = 0x00ff_00ff_00ff_00ff
			v := binary.LittleEndian.Uint64(part)
			even, odd := v&lanes, v>>8&lanes
			s2 += 8*s1 + (even*0x0008_0006_0004_0002+odd*0x0007_0005_0003_0001)>>48
			s1 += (even + odd) * 0x0001_0001_0001_0001 >> 48
		}
		for _, b := range part {
			s1 += uint64(b)
			s2 += s1
		}
		s1, s2 = s1%mod, s2%mod
	}
	*a = adler(s2<<16 | s1)
}
