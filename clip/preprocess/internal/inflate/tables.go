package inflate

import (
	"math/bits"
	"sync"
)

// Tables are looked up by the next bits of the input. An element has the length of
// the code in its lowest four bits, or 0 where there is no code. Longer codes
// than the table's bits go on in another table.
const (
	extraShift = 4 // the number of extra bits, or of the bits of the other table
	literal    = 1 << 8
	endOfBlock = 1 << 9
	pointer    = 1 << 10 // value is where the other table begins
	valueShift = 16

	litBits, distBits, codeBits = 11, 8, 7 // of literals and lengths; distances; the codes' lengths

	maxCode = 15
	lits    = 288
	dists   = 32
)

type tables struct{ lit, dist []uint32 }

var (
	litValues  [lits]uint32 // elements of the tables, without the length
	distValues [dists]uint32
)

func init() {
	for i := range 256 {
		litValues[i] = literal | uint32(i)<<valueShift
	}
	litValues[256] = endOfBlock
	base := uint32(3)
	for i := range 28 {
		extra := uint32(max(0, i/4-1))
		litValues[257+i] = base<<valueShift | extra<<extraShift
		base += 1 << extra
	}
	litValues[285] = longest << valueShift
	base = 1
	for i := range 30 {
		extra := uint32(max(0, i/2-1))
		distValues[i] = base<<valueShift | extra<<extraShift
		base += 1 << extra
	}
}

var fixedTables = sync.OnceValue(func() (t tables) {
	var lengths [lits + dists]uint8
	for i := range lengths {
		switch {
		case i < 144, i >= 280 && i < lits:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 5
		}
	}
	t.lit, _ = build(nil, lengths[:lits], litValues[:], litBits)
	t.dist, _ = build(nil, lengths[lits:], distValues[:], distBits)
	return t
})

// readTables reads the codes of a block.
func (r *Reader) readTables() error {
	v, err := r.take(14)
	if err != nil {
		return err
	}
	nLit, nDist, nCode := v&31+257, v>>5&31+1, v>>10+4
	if nLit > 286 || nDist > 30 {
		return ErrData
	}
	var codes [19]uint8
	for _, i := range []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}[:nCode] {
		n, err := r.take(3)
		if err != nil {
			return err
		}
		codes[i] = uint8(n)
	}
	var values [19]uint32
	for i := range values {
		values[i] = uint32(i) << valueShift
	}
	table, ok := build(r.dynamic.dist, codes[:], values[:], codeBits)
	if !ok {
		return ErrData
	}
	r.dynamic.dist = table
	var lengths [286 + 30]uint8
	if err := r.readLengths(lengths[:nLit+nDist], table); err != nil {
		return err
	}
	if r.dynamic.lit, ok = build(r.dynamic.lit, lengths[:nLit], litValues[:], litBits); !ok {
		return ErrData
	}
	if r.dynamic.dist, ok = build(r.dynamic.dist, lengths[nLit:nLit+nDist], distValues[:], distBits); !ok {
		return ErrData
	}
	return nil
}

func (r *Reader) readLengths(lengths []uint8, table []uint32) error {
	for i := 0; i < len(lengths); {
		e, err := r.symbol(table, codeBits)
		if err != nil {
			return err
		}
		v := uint8(e >> valueShift)
		if v < 16 {
			lengths[i] = v
			i++
			continue
		}
		run := [3]struct{ least, bits int }{{3, 2}, {3, 3}, {11, 7}}[v-16]
		more, err := r.take(uint(run.bits))
		if err != nil {
			return err
		}
		n := run.least + more
		if n > len(lengths)-i || v == 16 && i == 0 {
			return ErrData
		}
		if v = 0; run.bits == 2 {
			v = lengths[i-1]
		}
		for range n {
			lengths[i] = v
			i++
		}
	}
	return nil
}

// build makes the table of the codes that have the lengths, in t's memory. It is
// false where the codes are too many or too few; one of one bit may be alone, or none.
func build(t []uint32, lengths []uint8, values []uint32, primary int) ([]uint32, bool) {
	var counts [maxCode + 1]int
	for _, n := range lengths {
		counts[n]++
	}
	counts[0] = 0
	var next [maxCode + 2]uint32 // code of each length
	codes, longest := 0, 0
	for n := 1; n <= maxCode; n++ {
		if counts[n] > 0 {
			longest = n
		}
		codes += counts[n]
		next[n+1] = (next[n] + uint32(counts[n])) << 1
	}
	if full := next[maxCode+1] == 1<<(maxCode+1); !full && (longest > 1 || codes > 1) {
		return t, false
	}
	t = append(t[:0], make([]uint32, 1<<primary)...)
	for symbol, length := range lengths {
		n := int(length)
		if n == 0 {
			continue
		}
		code := int(bits.Reverse16(uint16(next[n])) >> (16 - n))
		next[n]++
		e := values[symbol] | uint32(n)
		if n <= primary {
			for i := code; i < 1<<primary; i += 1 << n {
				t[i] = e
			}
			continue
		}
		// Its other table is as large as the longest code asks for.
		low := code & (1<<primary - 1)
		if t[low] == 0 {
			t[low] = uint32(len(t))<<valueShift | uint32(longest-primary)<<extraShift | pointer
			t = append(t, make([]uint32, 1<<(longest-primary))...)
		}
		other := t[t[low]>>valueShift:]
		for i := code >> primary; i < 1<<(longest-primary); i += 1 << (n - primary) {
			other[i] = e
		}
	}
	return t, true
}
