package jpeg

import (
	"fmt"
	"io"
)

// maxMCU is the most blocks that an MCU may have.
const maxMCU = 10

// prepare makes ready for the scan whose segment was read last.
func (r *reader) prepare() error {
	s, blocks := &r.scan, 0
	progressive := r.header.Progressive
	if progressive {
		if err := s.checkProgression(); err != nil {
			return err
		}
	}
	for i := range s.comps {
		c := &s.comps[i]
		blocks += c.h * c.v
		if c.quant == nil {
			if c.quantIndex > 3 || r.quant[c.quantIndex] == nil {
				return fmt.Errorf("no quantization table %d", c.quantIndex)
			}
			c.quant = r.quant[c.quantIndex]
		}
		if r.header.Arithmetic {
			continue
		}
		var err error
		if !progressive || s.first == 0 && s.high == 0 {
			if c.dc, err = r.table(0, c.dcIndex); err != nil {
				return err
			}
		}
		if !progressive || s.first > 0 {
			if c.ac, err = r.table(1, c.acIndex); err != nil {
				return err
			}
		}
	}
	if len(s.comps) > 1 && blocks > maxMCU {
		return fmt.Errorf("%d blocks in an MCU", blocks)
	}
	r.bits.drop()
	return nil
}

// entropy is the state of the restart intervals of a scan.
type entropy struct {
	*reader
	left       int // MCUs to the next restart marker
	expected   byte
	endRun     int         // blocks that the band ended before
	starved    bool        // a marker came too early: the rest of the interval has no data
	arithmetic *arithmetic // or nil
}

func (r *reader) newEntropy() entropy {
	e := entropy{reader: r, left: r.restart}
	if r.header.Arithmetic {
		e.arithmetic = &arithmetic{bits: &r.bits, conditioning: &r.conditioning}
		e.arithmetic.restart()
	}
	return e
}

// begin is called before each MCU.
func (e *entropy) begin() error {
	if e.restart == 0 {
		return nil
	}
	if e.left == 0 {
		if err := e.resync(); err != nil {
			return err
		}
		for i := range e.scan.comps {
			e.scan.comps[i].predicted, e.scan.comps[i].context = 0, 0
		}
		e.left, e.endRun = e.restart, 0
		if e.arithmetic != nil {
			e.arithmetic.restart()
		}
	}
	e.left--
	return nil
}

// end is called after each MCU that had data.
func (e *entropy) end() {
	if e.bits.n < 0 {
		e.starved = true
		e.bits.drop()
	}
}

func (e *entropy) sequential(c *scanComponent, blk *block, quant *[64]uint16) columns {
	if e.arithmetic != nil {
		return e.arithmetic.sequential(c, blk, quant)
	}
	return e.bits.sequential(c, blk, quant)
}

// resync goes to the next restart marker. Where it is another than expected it does as
// libjpeg's jpeg_resync_to_restart: a marker of one of the next two intervals or of no
// interval stays, so that this one is empty; one of the last two is skipped.
func (e *entropy) resync() error {
	for {
		marker, err := e.bits.nextMarker()
		if err != nil {
			return err
		}
		ahead := (marker - markerRST0 - e.expected) & 7
		isRestart := marker >= markerRST0 && marker <= markerRST7
		switch {
		case marker < markerSOF0 || isRestart && ahead >= 6:
			continue
		case !isRestart || ahead == 1 || ahead == 2:
			e.bits.marker = marker
		default:
			e.starved = false
		}
		e.expected = (e.expected + 1) & 7
		return nil
	}
}

// err tells that the data ended.
func (e *entropy) err() error {
	if e.bits.ended {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// decodeBands decodes a file of one scan by rows of MCUs. It reads what follows, too:
// another scan is an error, the end of the data is none, as all pixels are there.
func (r *reader) decodeBands(out *output) error {
	if err := r.prepare(); err != nil {
		return err
	}
	e := r.newEntropy()
	cols, rows := r.mcus()
	for y := range rows {
		for i := range out.planes {
			out.planes[i].start(y)
		}
		for x := range cols {
			if err := e.begin(); err != nil {
				return err
			}
			e.mcu(out, x, y)
		}
		if err := e.err(); err != nil {
			return err
		}
		out.band(y)
	}
	found, err := r.segments()
	switch {
	case err == io.ErrUnexpectedEOF: // all pixels are there
		return nil
	case err == nil && found:
		return fmt.Errorf("a scan after that of all components")
	}
	return err
}

// mcu decodes the blocks of an MCU and makes their samples.
func (e *entropy) mcu(out *output, x, y int) {
	for i := range e.scan.comps {
		c := &e.scan.comps[i]
		plane := &out.planes[c.index]
		for by := range c.v {
			for bx := x * c.h; bx < (x+1)*c.h; bx++ {
				var blk block
				var set columns
				if !e.starved {
					set = e.sequential(c, &blk, c.quant)
				}
				if bx < c.blocksW && y*c.v+by < c.blocksH {
					plane.block(bx, by, &blk, set)
				}
			}
		}
	}
	e.end()
}
