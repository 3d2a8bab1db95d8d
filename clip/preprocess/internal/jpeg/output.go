package jpeg

// output makes rows of pixels of samples. It keeps the samples of two bands, which are
// the rows of blocks that a row of MCUs has.
type output struct {
	dst    []uint8
	width  int
	height int
	next   int // row of dst
	groups int // of vMax rows in a band: the samples a block has at the scale
	vMax   int
	planes []plane
	ycc    bool
}

// plane is the samples of a component.
type plane struct {
	*component
	size          int // samples a side of a block
	pix           []uint8
	half          []uint8 // of pix, for the band that is decoded
	stride        int     // width of all blocks
	rows          int     // in pix, which is a ring
	width, height int     // that belong to the image
	hs, vs        int     // pixels a sample stands for
	left, top     int     // pixels of the first sample that a sub-image lacks
	fancy         bool
	line          []uint8 // a row at full width
}

func newOutput(r *reader, m *Memory, size int) *output {
	h := r.header
	o := &output{width: ceilDiv(h.Width*size, 8), height: ceilDiv(h.Height*size, 8), groups: size, vMax: r.vMax, ycc: h.YCC}
	rowBytes := o.width * h.Components
	if h.Buffered {
		// Bands of pixels and of coefficients alike, the last one with what fills it up.
		_, bands := r.mcus()
		r.coefs, o.dst = m.reserve(bands*r.bandBlocks, bands*size*r.vMax*rowBytes)
	} else {
		_, o.dst = m.reserve(0, o.height*rowBytes)
	}
	o.dst = o.dst[:o.height*rowBytes]
	for i := range r.comps {
		c := &r.comps[i]
		p := plane{component: c, size: size}
		// libjpeg lets the IDCT do what it can of the upsampling.
		for p.size < 8 && r.hMax*size%(c.h*p.size*2) == 0 && r.vMax*size%(c.v*p.size*2) == 0 {
			p.size *= 2
		}
		p.stride, p.rows = c.blocksW*p.size, 2*c.v*p.size
		p.width = ceilDiv(h.Width*c.h*p.size, 8*r.hMax)
		p.height = ceilDiv(h.Height*c.v*p.size, 8*r.vMax)
		p.hs, p.vs = r.hMax*size/(c.h*p.size), r.vMax*size/(c.v*p.size)
		p.fancy = size > 1
		o.planes = append(o.planes, p)
	}
	o.allocate(m)
	return o
}

// allocate makes room for the samples of two bands and for upsampled rows.
func (o *output) allocate(m *Memory) {
	n := 0
	for _, p := range o.planes {
		n += p.stride*p.rows + p.width*p.hs
	}
	free := m.rows(n)
	for i := range o.planes {
		p := &o.planes[i]
		p.pix, free = free[:p.stride*p.rows], free[p.stride*p.rows:]
		p.line, free = free[:p.width*p.hs], free[p.width*p.hs:]
	}
}

// start makes ready for the samples of a band, which is half of the ring.
func (p *plane) start(band int) {
	p.half = p.pix[band%2*len(p.pix)/2:][:len(p.pix)/2]
}

// block puts the samples of a block of the band at its place.
func (p *plane) block(x, y int, blk *block, set columns) {
	at := p.half[(y*p.stride+x)*p.size:]
	switch {
	case set == 0 || p.size == 1:
		flat(average(blk[0], p.size), p.size, at, p.stride)
	case p.size == 8:
		idct8(blk, set, at, p.stride)
	case p.size == 4:
		idct4(blk, set, at, p.stride)
	default:
		idct2(blk, at, p.stride)
	}
}

// band makes the rows of pixels that band n has made known. The last group of rows
// waits for the next band, whose samples they may lean to.
func (o *output) band(n int) {
	end := ((n+1)*o.groups - 1) * o.vMax
	if end+o.vMax >= o.height {
		end = o.height
	}
	rowBytes := o.width * len(o.planes)
	for ; o.next < end; o.next++ {
		o.convert(o.dst[o.next*rowBytes:][:rowBytes])
	}
}

// convert makes the next row.
func (o *output) convert(dst []uint8) {
	var rows [4][]uint8
	for i := range o.planes {
		p := &o.planes[i]
		rows[i] = p.upsampled(p.top + o.next)[p.left:][:o.width]
	}
	switch n := len(o.planes); {
	case n == 1:
		copy(dst, rows[0])
	case n == 3 && o.ycc:
		toRGB(dst, rows[0], rows[1], rows[2])
	case n == 3:
		interleave3(dst, rows[0], rows[1], rows[2])
	default:
		interleave4(dst, &rows, o.ycc)
	}
}

func (p *plane) row(y int) []uint8 { return p.pix[y%p.rows*p.stride:][:p.width] }
