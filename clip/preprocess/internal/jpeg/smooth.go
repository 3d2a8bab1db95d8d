package jpeg

import "slices"

// smoothed is how many coefficients, in zigzag order, block smoothing knows.
const smoothed = 10

// unknown is the accuracy of coefficients that no scan had.
const unknown = -1

// allUnknown is the accuracy of a component before its first scan.
var allUnknown = [smoothed]int8{unknown, unknown, unknown, unknown, unknown, unknown, unknown, unknown, unknown, unknown}

// noteAccuracy notes how many low bits of the coefficients are missing after the scan,
// and were before.
func (r *reader) noteAccuracy() {
	s := &r.scan
	for _, c := range s.comps {
		for k := min(s.first, 1); k < smoothed; k++ {
			c.accuracy[1][k] = 0
			if r.scansStarted > 1 {
				c.accuracy[1][k] = c.accuracy[0][k]
			}
		}
		for k := s.first; k <= min(s.last, smoothed-1); k++ {
			c.accuracy[0][k] = int8(s.low)
		}
	}
}

// smoothing tells whether libjpeg would estimate coefficients: those of a progressive
// file that its scans leave inaccurate.
func (r *reader) smoothing() bool {
	useful := false
	for i := range r.comps {
		c := &r.comps[i]
		if !r.header.Progressive || c.quant == nil || c.accuracy[0][0] == unknown {
			return false
		}
		for k := range smoothed {
			if c.quant[natural[k]] == 0 {
				return false
			}
			useful = useful || k > 0 && c.accuracy[0][k] != 0
		}
	}
	return useful
}

// keepAverages copies the DC coefficients, since pixels take the place of blocks that
// are done.
func (r *reader) keepAverages() {
	for i := range r.comps {
		c := &r.comps[i]
		c.averages = make([]int16, 0, c.padW*c.padH)
		for y := range c.padH {
			for _, blk := range r.row(c, y) {
				c.averages = append(c.averages, blk.block[0])
			}
		}
	}
}

// smoother estimates the first coefficients of the blocks of a row by the DC
// coefficients of 5x5 blocks (decompress_smooth_data in libjpeg's jdcoefct.c).
type smoother struct {
	*component
	accuracy *[smoothed]int8
	kernels  *[smoothed]kernel
	rows     int // of blocks in the band
	band     int
	bands    int
}

// kernel weighs the DC coefficients of 5x5 blocks.
type kernel [5][5]int16

func (p *plane) newSmoother(r *reader, y int) smoother {
	s := smoother{component: p.component, accuracy: &p.accuracy[0], kernels: &acKernels}
	s.band, s.bands = y/p.bandRows, ceilDiv(p.blocksH, p.bandRows)
	s.rows = min(p.bandRows, p.blocksH-s.band*p.bandRows)
	switch {
	case s.band <= r.lastGood:
	case r.scansStarted == 1:
		s.accuracy = &allUnknown
	default:
		s.accuracy = &p.accuracy[1]
	}
	if slices.Equal(s.accuracy[1:], allUnknown[1:]) {
		s.kernels = &dcKernels // no AC is known
	}
	return s
}

// estimate replaces coefficients of blk that are zero and not known to be.
func (s *smoother) estimate(blk *kept, x, y int) {
	var dc [5][5]int32
	for i, row := range s.around(y) {
		if row >= s.padH {
			continue // libjpeg has zeros there
		}
		averages := s.averages[row*s.padW:][:s.blocksW]
		for j := range dc[i] {
			dc[i][j] = int32(averages[max(0, min(x+j-2, s.blocksW-1))])
		}
	}
	for k := range smoothed {
		at, low := natural[k], s.accuracy[k]
		isDC := k == 0
		if s.kernels[k] == (kernel{}) || !isDC && (low == 0 || blk.block[at] != 0) {
			continue
		}
		sum := int64(0)
		for i := range dc {
			for j, v := range dc[i] {
				sum += int64(s.kernels[k][i][j]) * int64(v)
			}
		}
		sum *= int64(s.quant[0])
		step := int64(s.quant[at])
		value := (step<<7 + max(sum, -sum)) / (step << 8)
		if !isDC && low > 0 {
			value = min(value, 1<<low-1)
		}
		if sum < 0 {
			value = -value
		}
		blk.put(k, int16(value))
	}
}

// around are the rows of blocks above and below y. At the edges of the image, which
// libjpeg finds by the rows of this band, the nearest stands for others.
func (s *smoother) around(y int) [5]int {
	at := s.band*s.rows + y - s.band*s.bandRows
	rows := [5]int{y, y, y, y, y}
	if at > 0 {
		rows[0], rows[1] = y-1, y-1
	}
	if at > 1 {
		rows[0] = y - 2
	}
	if at < s.rows*s.bands-1 {
		rows[3], rows[4] = y+1, y+1
	}
	if at < s.rows*s.bands-2 {
		rows[4] = y + 2
	}
	return rows
}

// acKernels are those where some AC coefficients are known.
var acKernels = [smoothed]kernel{
	1: {2: {-7, 50, 0, -50, 7}},
	2: {{2: -7}, {2: 50}, {}, {2: -50}, {2: 7}},
	3: {{2: -1}, {2: 13}, {2: -24}, {2: 13}, {2: -1}},
	4: {{1: -1, 3: 1}, {-1, 10, 0, -10, 1}, {}, {1, -10, 0, 10, -1}, {1: 1, 3: -1}},
	5: {2: {-1, 13, -24, 13, -1}},
}

// dcKernels are those where only DC is known, which is changed, too.
var dcKernels = [smoothed]kernel{
	{{-2, -6, -8, -6, -2}, {-6, 6, 42, 6, -6}, {-8, 42, 152, 42, -8}, {-6, 6, 42, 6, -6}, {-2, -6, -8, -6, -2}},
	{{-1, -1, 0, 1, 1}, {-3, 13, 0, -13, 3}, {-3, 38, 0, -38, 3}, {-3, 13, 0, -13, 3}, {-1, -1, 0, 1, 1}},
	{{-1, -3, -3, -3, -1}, {-1, 13, 38, 13, -1}, {}, {1, -13, -38, -13, 1}, {1, 3, 3, 3, 1}},
	{{2: 1}, {0, 2, 7, 2, 0}, {0, -5, -14, -5, 0}, {0, 2, 7, 2, 0}, {2: 1}},
	{{-1, 0, 0, 0, 1}, {0, 9, 0, -9, 0}, {}, {0, -9, 0, 9, 0}, {1, 0, 0, 0, -1}},
	{{}, {0, 2, -5, 2, 0}, {1, 7, -14, 7, 1}, {0, 2, -5, 2, 0}, {}},
	{{}, {0, 1, 0, -1, 0}, {0, 2, 0, -2, 0}, {0, 1, 0, -1, 0}, {}},
	{{}, {0, 1, -3, 1, 0}, {}, {0, -1, 3, -1, 0}, {}},
	{{}, {0, 1, 0, -1, 0}, {0, -3, 0, 3, 0}, {0, 1, 0, -1, 0}, {}},
	{{}, {0, 1, 2, 1, 0}, {}, {0, -1, -2, -1, 0}, {}},
}
