package jpeg

import "fmt"

// estimate is a state of the estimation of a probability (ITU T.81, table D.3).
type estimate struct {
	width              int32 // of the interval of the less probable symbol
	nextLess, nextMore uint8
	exchange           uint8 // 1 where the symbols change places
}

var estimates = [...]estimate{
	{0x5a1d, 1, 1, 1}, {0x2586, 14, 2, 0}, {0x1114, 16, 3, 0}, {0x080b, 18, 4, 0}, {0x03d8, 20, 5, 0}, {0x01da, 23, 6, 0},
	{0x00e5, 25, 7, 0}, {0x006f, 28, 8, 0}, {0x0036, 30, 9, 0}, {0x001a, 33, 10, 0}, {0x000d, 35, 11, 0}, {0x0006, 9, 12, 0},
	{0x0003, 10, 13, 0}, {0x0001, 12, 13, 0}, {0x5a7f, 15, 15, 1}, {0x3f25, 36, 16, 0}, {0x2cf2, 38, 17, 0}, {0x207c, 39, 18, 0},
	{0x17b9, 40, 19, 0}, {0x1182, 42, 20, 0}, {0x0cef, 43, 21, 0}, {0x09a1, 45, 22, 0}, {0x072f, 46, 23, 0}, {0x055c, 48, 24, 0},
	{0x0406, 49, 25, 0}, {0x0303, 51, 26, 0}, {0x0240, 52, 27, 0}, {0x01b1, 54, 28, 0}, {0x0144, 56, 29, 0}, {0x00f5, 57, 30, 0},
	{0x00b7, 59, 31, 0}, {0x008a, 60, 32, 0}, {0x0068, 62, 33, 0}, {0x004e, 63, 34, 0}, {0x003b, 32, 35, 0}, {0x002c, 33, 9, 0},
	{0x5ae1, 37, 37, 1}, {0x484c, 64, 38, 0}, {0x3a0d, 65, 39, 0}, {0x2ef1, 67, 40, 0}, {0x261f, 68, 41, 0}, {0x1f33, 69, 42, 0},
	{0x19a8, 70, 43, 0}, {0x1518, 72, 44, 0}, {0x1177, 73, 45, 0}, {0x0e74, 74, 46, 0}, {0x0bfb, 75, 47, 0}, {0x09f8, 77, 48, 0},
	{0x0861, 78, 49, 0}, {0x0706, 79, 50, 0}, {0x05cd, 48, 51, 0}, {0x04de, 50, 52, 0}, {0x040f, 50, 53, 0}, {0x0363, 51, 54, 0},
	{0x02d4, 52, 55, 0}, {0x025c, 53, 56, 0}, {0x01f8, 54, 57, 0}, {0x01a4, 55, 58, 0}, {0x0160, 56, 59, 0}, {0x0125, 57, 60, 0},
	{0x00f6, 58, 61, 0}, {0x00cb, 59, 62, 0}, {0x00ab, 61, 63, 0}, {0x008f, 61, 32, 0}, {0x5b12, 65, 65, 1}, {0x4d04, 80, 66, 0},
	{0x412c, 81, 67, 0}, {0x37d8, 82, 68, 0}, {0x2fe8, 83, 69, 0}, {0x293c, 84, 70, 0}, {0x2379, 86, 71, 0}, {0x1edf, 87, 72, 0},
	{0x1aa9, 87, 73, 0}, {0x174e, 72, 74, 0}, {0x1424, 72, 75, 0}, {0x119c, 74, 76, 0}, {0x0f6b, 74, 77, 0}, {0x0d51, 75, 78, 0},
	{0x0bb6, 77, 79, 0}, {0x0a40, 77, 48, 0}, {0x5832, 80, 81, 1}, {0x4d1c, 88, 82, 0}, {0x438e, 89, 83, 0}, {0x3bdd, 90, 84, 0},
	{0x34ee, 91, 85, 0}, {0x2eae, 92, 86, 0}, {0x299a, 93, 87, 0}, {0x2516, 86, 71, 0}, {0x5570, 88, 89, 1}, {0x4ca9, 95, 90, 0},
	{0x44d9, 96, 91, 0}, {0x3e22, 97, 92, 0}, {0x3824, 99, 93, 0}, {0x32b4, 99, 94, 0}, {0x2e17, 93, 86, 0}, {0x56a8, 95, 96, 1},
	{0x4f46, 101, 97, 0}, {0x47e5, 102, 98, 0}, {0x41cf, 103, 99, 0}, {0x3c3d, 104, 100, 0}, {0x375e, 99, 93, 0}, {0x5231, 105, 102, 0},
	{0x4c0f, 106, 103, 0}, {0x4639, 107, 104, 0}, {0x415e, 103, 99, 0}, {0x5627, 105, 106, 1}, {0x50e7, 108, 107, 0}, {0x4b85, 109, 103, 0},
	{0x5597, 110, 109, 0}, {0x504f, 111, 107, 0}, {0x5a10, 110, 111, 1}, {0x5522, 112, 109, 0}, {0x59eb, 112, 111, 1}, {0x5a1d, 113, 113, 0},
}

// even is the last of estimates, which stays.
const even = 113

// conditioning is what a DAC segment says of each table.
type conditioning struct {
	low, high [16]uint8 // bounds of small differences of DC, as exponents
	k         [16]uint8 // the last of the low AC coefficients
}

func newConditioning() (c conditioning) {
	for i := range c.k {
		c.high[i], c.k[i] = 1, 5
	}
	return c
}

func (c *conditioning) read(body []byte) error {
	for ; len(body) >= 2; body = body[2:] {
		table, v := body[0], body[1]
		switch {
		case table >= 32:
			return fmt.Errorf("arithmetic conditioning of table %d", table)
		case table >= 16:
			c.k[table-16] = v
		case v&15 > v>>4:
			return fmt.Errorf("arithmetic conditioning from %d to %d", v&15, v>>4)
		default:
			c.low[table], c.high[table] = v&15, v>>4
		}
	}
	if len(body) > 0 {
		return fmt.Errorf("arithmetic conditioning of an odd length")
	}
	return nil
}

// arithmetic decodes the binary decisions of a scan (ITU T.81, annex D). A statistic is
// the index of its estimate and, in the high bit, its more probable symbol.
type arithmetic struct {
	*bits
	conditioning *conditioning
	code         int64 // relative to the base of the interval, with bits still to come
	width        int32 // of the interval
	shift        int   // bits of code that are still to come, below zero until it is full
	failed       bool  // the data are damaged: the rest of the interval has none
	fixed        uint8
	dc           [16][64]uint8
	ac           [16][256]uint8
}

// restart forgets what was learnt.
func (a *arithmetic) restart() {
	*a = arithmetic{bits: a.bits, conditioning: a.conditioning, shift: -16, fixed: even}
}

// decide decodes the next decision, 0 or 1.
func (a *arithmetic) decide(statistic *uint8) int {
	for a.width < 0x8000 {
		if a.shift--; a.shift < 0 {
			v, _ := a.next()
			a.code = a.code<<8 | int64(v)
			if a.shift += 8; a.shift < 0 {
				if a.shift++; a.shift == 0 {
					a.width = 0x8000
				}
			}
		}
		a.width <<= 1
	}
	symbol, e := *statistic&0x80, &estimates[*statistic&0x7f]
	a.width -= e.width
	less := false
	if upper := int64(a.width) << a.shift; a.code >= upper {
		a.code -= upper
		less = a.width >= e.width
		a.width = e.width
	} else if a.width >= 0x8000 {
		return int(symbol >> 7)
	} else {
		less = a.width < e.width
	}
	if !less {
		*statistic = symbol | e.nextMore
		return int(symbol >> 7)
	}
	*statistic = symbol ^ e.exchange<<7 | e.nextLess
	return int(symbol>>7 ^ 1)
}

// magnitude decodes how long a value is, from statistic i on, as its highest bit m.
func (a *arithmetic) magnitude(statistics []uint8, i, m int) (int, int) {
	for ; a.decide(&statistics[i]) != 0; i++ {
		if m <<= 1; m == 0x8000 {
			a.failed = true
			break
		}
	}
	return i, m
}

// value decodes the bits below m.
func (a *arithmetic) value(statistic *uint8, m, sign int) int32 {
	v := m
	for m >>= 1; m > 0; m >>= 1 {
		if a.decide(statistic) != 0 {
			v |= m
		}
	}
	if v++; sign != 0 {
		v = -v
	}
	return int32(v)
}

// difference decodes a DC coefficient (section F.2.4.1) into c.predicted.
func (a *arithmetic) difference(c *scanComponent) {
	statistics, i := a.dc[c.dcIndex][:], c.context
	if a.decide(&statistics[i]) == 0 {
		c.context = 0
		return
	}
	sign := a.decide(&statistics[i+1])
	i += 2 + sign
	m := a.decide(&statistics[i])
	if m != 0 {
		if i, m = a.magnitude(statistics, 20, m); a.failed {
			return
		}
	}
	switch {
	case m < 1<<a.conditioning.low[c.dcIndex]>>1:
		c.context = 0
	case m > 1<<a.conditioning.high[c.dcIndex]>>1:
		c.context = 12 + 4*sign
	default:
		c.context = 4 + 4*sign
	}
	c.predicted += a.value(&statistics[i+14], m, sign)
}

// coefficient decodes AC coefficient k, which is not zero (section F.2.4.2).
func (a *arithmetic) coefficient(c *scanComponent, k int) int32 {
	statistics, i := a.ac[c.acIndex][:], 3*(k-1)+2
	sign := a.decide(&a.fixed)
	m := a.decide(&statistics[i])
	if m != 0 && a.decide(&statistics[i]) != 0 {
		i = 217
		if k <= int(a.conditioning.k[c.acIndex]) {
			i = 189
		}
		if i, m = a.magnitude(statistics, i, 2); a.failed {
			return 0
		}
	}
	return a.value(&statistics[i+14], m, sign)
}

// following decodes the place of the next coefficient from k to last, or one behind
// last where there is none.
func (a *arithmetic) following(c *scanComponent, k, last int) int {
	statistics := &a.ac[c.acIndex]
	if a.decide(&statistics[3*(k-1)]) != 0 {
		return last + 1
	}
	for ; a.decide(&statistics[3*(k-1)+1]) == 0; k++ {
		if k == last {
			a.failed = true
			return last + 1
		}
	}
	return k
}

// sequential is bits.sequential.
func (a *arithmetic) sequential(c *scanComponent, blk *block, quant *[64]uint16) columns {
	if a.failed {
		return 0
	}
	if a.difference(c); a.failed {
		return 0
	}
	blk[0] = int16(c.predicted * int32(quant[0]))
	set := uint32(0)
	for k := 1; k < 64; k++ {
		if k = a.following(c, k, 63); k > 63 {
			break
		}
		v := a.coefficient(c, k)
		if a.failed {
			break
		}
		place := places[k]
		blk[place&63] = int16(v * int32(quant[place&63]))
		set |= place
	}
	return columns(set >> 8)
}

// progressive decodes a block of a scan of a progressive file.
func (a *arithmetic) progressive(s *scan, c *scanComponent, blk *kept) {
	switch {
	case a.failed:
	case s.first == 0 && s.high == 0:
		if a.difference(c); !a.failed {
			blk.block[0] = int16(c.predicted << s.low)
		}
	case s.first == 0:
		blk.block[0] |= int16(a.decide(&a.fixed) << s.low)
	case s.high == 0:
		for k := s.first; k <= s.last; k++ {
			if k = a.following(c, k, s.last); k > s.last {
				break
			}
			if v := a.coefficient(c, k); !a.failed {
				blk.put(k, int16(v<<s.low))
			} else {
				break
			}
		}
	default:
		a.refine(s, c, blk)
	}
}

// refine decodes a bit more of a band of AC coefficients (section G.1.3.3).
func (a *arithmetic) refine(s *scan, c *scanComponent, blk *kept) {
	statistics, one := &a.ac[c.acIndex], int16(1)<<s.low
	known := blk.set & (1<<(s.last+1) - 1)
	for k := s.first; k <= s.last; k++ {
		// The end is coded only behind the last coefficient that was known.
		if known>>k == 0 && a.decide(&statistics[3*(k-1)]) != 0 {
			return
		}
		for known>>k&1 == 0 && a.decide(&statistics[3*(k-1)+1]) == 0 {
			if k++; k > s.last {
				a.failed = true
				return
			}
		}
		p := &blk.block[natural[k]]
		switch {
		case known>>k&1 == 0:
			blk.put(k, one*int16(1-2*a.decide(&a.fixed)))
		case a.decide(&statistics[3*(k-1)+2]) == 0:
		case *p < 0:
			*p -= one
		default:
			*p += one
		}
	}
}
