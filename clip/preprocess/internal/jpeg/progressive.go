package jpeg

import (
	"fmt"
	bits64 "math/bits"
)

// checkProgression refuses what libjpeg does. Scans out of order are read.
func (s *scan) checkProgression() error {
	band := s.first == 0 && s.last == 0 ||
		s.first > 0 && s.first <= s.last && s.last < 64 && len(s.comps) == 1
	if !band || s.low > 13 || s.high > 0 && s.low != s.high-1 {
		return fmt.Errorf("a progressive scan of coefficients %d to %d, bits %d to %d, of %d components", s.first, s.last, s.high, s.low, len(s.comps))
	}
	return nil
}

// decodeBuffered decodes all scans and then makes the samples.
func (r *reader) decodeBuffered(out *output) error {
	for more := true; more; {
		if err := r.prepare(); err != nil {
			return err
		}
		if r.header.Progressive {
			r.noteAccuracy()
		}
		if err := r.decodeScan(); err != nil {
			return err
		}
		var err error
		if more, err = r.segments(); err != nil {
			return err
		}
	}
	smooth := r.smoothing()
	if smooth {
		r.keepAverages()
	}
	_, bands := r.mcus()
	for y := range bands {
		for i := range out.planes {
			out.planes[i].bandOf(r, y, smooth)
		}
		out.band(y)
	}
	return nil
}

// bandOf makes the samples of band y of the kept coefficients.
func (p *plane) bandOf(r *reader, y int, smooth bool) {
	p.start(y)
	quant := p.quant
	if quant == nil { // no scan had the component
		quant = new([64]uint16)
	}
	for by := y * p.v; by < min((y+1)*p.v, p.blocksH); by++ {
		var s smoother
		if smooth {
			s = p.newSmoother(r, by)
		}
		row := r.row(p.component, by)
		for bx := range p.blocksW {
			coefs := &row[bx]
			if smooth {
				estimated := *coefs
				s.estimate(&estimated, bx, by)
				coefs = &estimated
			}
			var blk block
			set := coefs.dequantized(&blk, quant)
			p.block(bx, by-y*p.v, &blk, set)
		}
	}
}

// row is row y of the blocks of a component.
func (r *reader) row(c *component, y int) []kept {
	return r.coefs[y/c.v*r.bandBlocks+c.inBand+y%c.v*c.padW:][:c.padW]
}

// decodeScan decodes a scan into the kept coefficients.
func (r *reader) decodeScan() error {
	e, s := r.newEntropy(), &r.scan
	cols, rows := r.mcus()
	perBand := 1
	if len(s.comps) == 1 {
		cols, rows, perBand = s.comps[0].blocksW, s.comps[0].blocksH, s.comps[0].bandRows
	}
	for y := range rows {
		for i := range s.comps {
			c, n := &s.comps[i], 1
			if len(s.comps) > 1 {
				n = c.v
			}
			for by := range n {
				c.rows[by] = r.row(c.component, y*n+by)
			}
		}
		for x := range cols {
			if !e.starved {
				r.lastGood = y / perBand
			}
			if err := e.begin(); err != nil {
				return err
			}
			if !e.starved {
				e.keepMCU(x)
			} else if e.restart == 0 {
				return e.err()
			}
		}
		if err := e.err(); err != nil {
			return err
		}
	}
	return nil
}

// keepMCU decodes the blocks of an MCU, which is one block if the scan has one
// component.
func (e *entropy) keepMCU(x int) {
	s := &e.scan
	if len(s.comps) == 1 {
		c := &s.comps[0]
		e.block(c, &c.rows[0][x])
		e.end()
		return
	}
	for i := range s.comps {
		c := &s.comps[i]
		for by := range c.v {
			for bx := x * c.h; bx < (x+1)*c.h; bx++ {
				e.block(c, &c.rows[by][bx])
			}
		}
	}
	e.end()
}

// unscaled are the steps of coefficients that are kept as coded.
var unscaled = func() (q [64]uint16) {
	for i := range q {
		q[i] = 1
	}
	return q
}()

func (e *entropy) block(c *scanComponent, blk *kept) {
	switch s := &e.scan; {
	case !e.header.Progressive:
		e.sequential(c, &blk.block, &unscaled)
		for k, at := range natural {
			if blk.block[at] != 0 {
				blk.set |= 1 << k
			}
		}
	case e.arithmetic != nil:
		e.arithmetic.progressive(s, c, blk)
	case s.first == 0 && s.high == 0:
		blk.block[0] = int16(e.bits.dc(c) << s.low)
	case s.first == 0:
		e.bits.fillTo32()
		blk.block[0] |= int16(e.bits.take(1) << s.low)
	case s.high == 0:
		e.firstBand(c.ac, blk)
	default:
		e.refineBand(c.ac, blk)
	}
}

func (b *bits) fillTo32() {
	if b.n < 32 {
		b.fill()
	}
}

// firstBand decodes the high bits of a band of AC coefficients.
func (e *entropy) firstBand(ac *huffman, blk *kept) {
	if e.endRun > 0 {
		e.endRun--
		return
	}
	b, s := &e.bits, &e.scan
	for k := s.first; k <= s.last; k++ {
		b.fillTo32()
		if w := ac.whole[b.acc>>(64-lookBits)]; w != 0 {
			b.acc <<= w & 31
			b.n -= int(w & 31)
			k += int(w >> 8 & 255)
			if k >= blockEnd {
				return
			}
			blk.put(k, int16(w>>16<<s.low))
			continue
		}
		v := b.symbol(ac)
		run, size := int(v>>4), uint(v&15)
		if size == 0 && run < 15 {
			e.endRun = e.runOfEnds(run) - 1
			return
		}
		k += run
		if size > 0 {
			blk.put(k, int16(extend(b.take(size), size)<<s.low))
		}
	}
}

// runOfEnds is how many blocks have no more coefficients in the band.
func (e *entropy) runOfEnds(log int) int {
	e.bits.fillTo32()
	return 1<<log + int(e.bits.take(uint(log)))
}

// refineBand decodes a bit more of a band of AC coefficients.
func (e *entropy) refineBand(ac *huffman, blk *kept) {
	b, s := &e.bits, &e.scan
	k, one := s.first, int16(1)<<s.low
	if e.endRun == 0 {
		for ; k <= s.last; k++ {
			b.fillTo32()
			v := b.symbol(ac)
			zeros, value := int(v>>4), int16(0)
			if v&15 != 0 {
				value = one * int16(2*b.take(1)-1)
			} else if zeros != 15 {
				e.endRun = e.runOfEnds(zeros)
				break
			}
			k = b.refine(blk, k, s.last, zeros, one)
			if value != 0 {
				blk.put(k, value)
			}
		}
	}
	if e.endRun > 0 {
		b.refine(blk, k, s.last, 64, one)
		e.endRun--
	}
}

// refine passes the given number of zeros from k on, and reads a bit of each
// coefficient that is none. It returns the place of the next zero, or that behind last.
func (b *bits) refine(blk *kept, k, last, zeros int, one int16) int {
	for {
		gap := bits64.TrailingZeros64(blk.set >> k)
		if zeros < gap || k+gap > last {
			return min(k+min(zeros, gap), last+1)
		}
		zeros -= gap
		k += gap
		b.fillTo32()
		// No branches, since nothing foretells the bit and the sign.
		p := &blk.block[natural[k&63]&63]
		sign, more := *p>>15, ^*p&one&-int16(b.take(1))
		*p += (more ^ sign) - sign
		k++
	}
}
