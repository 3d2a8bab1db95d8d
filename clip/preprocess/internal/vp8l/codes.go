package vp8l

import stdbits "math/bits"

const (
	maxCode    = 15
	maxRoot    = 8 // bits that a table is looked up by at once
	groupCodes = 5 // codes of a group: green, lengths and cache; red; blue; alpha; distance
)

// code is a prefix code. An element of the table has a symbol in its upper half and all
// the bits of the symbol's code in its lower one. More than maxCode there means another
// table: it is looked up by the bits beyond maxCode, and the upper half is its place.
type code struct {
	table []uint32
	root  uint
}

func (c *code) symbol(b *bits) uint32 {
	e := c.table[b.next&(1<<(c.root&63)-1)]
	if n := uint(e & 0xffff); n > maxCode {
		e = c.table[e>>16+uint32(b.next>>(c.root&63))&(1<<(n-maxCode)-1)]
	}
	n := uint(e & 15)
	b.next >>= n
	b.n -= n
	return e >> 16
}

// newCode makes the code of symbols that have the lengths. One symbol alone has no bits.
func newCode(lengths []uint8) (code, error) {
	var counts [maxCode + 1]int
	only := 0
	for symbol, n := range lengths {
		if counts[n]++; n > 0 {
			only = symbol
		}
	}
	used := len(lengths) - counts[0]
	if used == 1 {
		return code{table: []uint32{uint32(only) << 16}}, nil
	}
	counts[0] = 0
	var next [maxCode + 2]uint32
	longest := 0
	for n := 1; n <= maxCode; n++ {
		if counts[n] > 0 {
			longest = n
		}
		next[n+1] = (next[n] + uint32(counts[n])) << 1
	}
	if next[maxCode+1] != 1<<(maxCode+1) {
		return code{}, ErrData
	}
	root := min(longest, maxRoot)
	table := make([]uint32, 1<<root)
	for symbol, length := range lengths {
		n := int(length)
		if n == 0 {
			continue
		}
		bits := int(stdbits.Reverse16(uint16(next[n])) >> (16 - n))
		next[n]++
		e, part, low := uint32(symbol)<<16|uint32(n), table, bits
		if n > root {
			low = bits & (1<<root - 1)
			if table[low] == 0 {
				table[low] = uint32(len(table))<<16 | uint32(longest-root+maxCode)
				table = append(table, make([]uint32, 1<<(longest-root))...)
			}
			part, low, n = table[table[low]>>16:][:1<<(longest-root)], bits>>root, n-root
		} else {
			part = table[:1<<root]
		}
		for i := low; i < len(part); i += 1 << n {
			part[i] = e
		}
	}
	return code{table, uint(root)}, nil
}

// readCode reads a code of so many symbols.
func (d *decoder) readCode(symbols int) (code, error) {
	sizes := make([]uint8, symbols)
	if d.read(1) == 0 {
		if err := d.readSizes(sizes); err != nil {
			return code{}, err
		}
		return newCode(sizes)
	}
	two, bits := d.read(1) == 1, uint(1)
	if d.read(1) == 1 {
		bits = 8
	}
	first := d.read(bits)
	second := first
	if two {
		second = d.read(8)
	}
	for _, symbol := range []int{first, second} {
		if symbol < symbols { // libwebp leaves out others
			sizes[symbol] = 1
		}
	}
	return newCode(sizes)
}

// readSizes reads how long the code of each symbol is.
func (d *decoder) readSizes(sizes []uint8) error {
	var own [19]uint8
	for _, i := range []int{17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}[:4+d.read(4)] {
		own[i] = uint8(d.read(3))
	}
	c, err := newCode(own[:])
	if err != nil {
		return err
	}
	most := len(sizes)
	if d.read(1) == 1 {
		if most = 2 + d.read(uint(2+2*d.read(3))); most > len(sizes) {
			return ErrData
		}
	}
	last := uint8(8)
	for i := 0; i < len(sizes) && most > 0; most-- {
		d.fill()
		v := uint8(c.symbol(&d.bits))
		if v < 16 {
			sizes[i] = v
			if i++; v > 0 {
				last = v
			}
			continue
		}
		run := [3]struct{ least, bits int }{{3, 2}, {3, 3}, {11, 7}}[v-16]
		n := run.least + d.read(uint(run.bits))
		if n > len(sizes)-i {
			return ErrData
		}
		for range n {
			if v == 16 {
				sizes[i] = last
			}
			i++
		}
	}
	return d.check()
}

type group [groupCodes]code

// groups are the codes of an image. tiles of 2^bits x 2^bits pixels tell which.
type groups struct {
	all  []group
	tile []uint32 // a number of a group, from bit 8 on
	w    int      // tiles in a row
	bits uint
	mask int // of a column in a tile
}

func (g *groups) at(x, y int) *group {
	if g.mask == 0 {
		return &g.all[0]
	}
	return &g.all[g.tile[y>>g.bits*g.w+x>>g.bits]]
}

// readGroups reads the codes of an image of w x h pixels and a cache of some. Only the
// file's own image may have several groups.
func (d *decoder) readGroups(w, h int, own bool, cache int) (*groups, error) {
	g := &groups{}
	count := 1
	if own && d.read(1) == 1 {
		g.bits = uint(2 + d.read(3))
		g.mask, g.w = 1<<g.bits-1, (w-1)>>g.bits+1
		var err error
		if g.tile, err = d.image(g.w, (h-1)>>g.bits+1, nil); err != nil {
			return nil, err
		}
		for i, v := range g.tile {
			g.tile[i] = v >> 8 & 0xffff
			count = max(count, int(g.tile[i])+1)
		}
		if count > maxGroups {
			return nil, ErrData
		}
	}
	g.all = make([]group, count)
	for i := range g.all {
		for j, symbols := range [groupCodes]int{literals + lengths + cache, 256, 256, 256, 40} {
			var err error
			if g.all[i][j], err = d.readCode(symbols); err != nil {
				return nil, err
			}
		}
		if err := d.check(); err != nil {
			return nil, err
		}
	}
	return g, nil
}
