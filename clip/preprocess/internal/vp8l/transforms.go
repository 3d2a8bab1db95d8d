package vp8l

// transform is what was done to an image before it was coded.
type transform struct {
	kind  int
	bits  uint     // of a column or row in a tile, or of the pixels that one stands for
	tileW int      // tiles in a row
	tile  []uint32 // what is told of each, or the palette
	above []uint32 // the row above, of predicted
}

const predicted, crossColour, subtractedGreen, palette = 0, 1, 2, 3

func (d *decoder) readTransforms() error {
	d.packedW = d.w
	var seen [4]bool
	for d.read(1) == 1 {
		t := transform{kind: d.read(2)}
		if seen[t.kind] {
			return ErrData
		}
		seen[t.kind] = true
		var err error
		switch t.kind {
		case predicted, crossColour:
			t.bits = uint(2 + d.read(3))
			t.tileW = (d.packedW-1)>>t.bits + 1
			t.tile, err = d.image(t.tileW, (d.h-1)>>t.bits+1, nil)
			if t.kind == predicted {
				t.above = make([]uint32, d.packedW)
			}
		case palette:
			t.tile, err = d.readPalette()
			for t.bits = 0; t.bits < 3 && len(t.tile) <= 1<<(4>>t.bits); t.bits++ {
			}
			t.tile = append(t.tile, make([]uint32, 256-len(t.tile))...)
			d.packedW = (d.packedW-1)>>t.bits + 1
		}
		if err != nil {
			return err
		}
		d.transforms = append(d.transforms, t)
	}
	return nil
}

// readPalette reads colours that are stored as differences.
func (d *decoder) readPalette() ([]uint32, error) {
	p, err := d.image(1+d.read(8), 1, nil)
	for i := 1; i < len(p); i++ {
		p[i] = add(p[i], p[i-1])
	}
	return p, err
}

// undo makes row y what it was.
func (t *transform) undo(row []uint32, y int) {
	switch t.kind {
	case predicted:
		row = row[:len(t.above)]
		t.undoPrediction(row, y)
		copy(t.above, row)
	case crossColour:
		for i, tile := range t.tile[y>>t.bits*t.tileW:][:t.tileW] {
			x := i << t.bits
			undoCrossColour(row[x:min(len(row), x+1<<t.bits)], tile)
		}
	case subtractedGreen:
		for x, v := range row {
			green := v >> 8 & 0xff
			row[x] = v&0xff00_ff00 | (v&0xff_00ff+green<<16+green)&0xff_00ff
		}
	case palette:
		// From the right, because a pixel stands for several.
		each, mask := uint(8>>t.bits), uint32(1)<<(8>>t.bits)-1
		for x := len(row) - 1; x >= 0; x-- {
			v := row[x>>t.bits] >> 8 & 0xff
			v >>= each * (uint(x) & (1<<t.bits - 1))
			row[x] = t.tile[v&mask]
		}
	}
}

func undoCrossColour(row []uint32, tile uint32) {
	toRed, toBlue, redToBlue := int32(int8(tile)), int32(int8(tile>>8)), int32(int8(tile>>16))
	for x, v := range row {
		green := int32(int8(v >> 8))
		red := v>>16 + uint32(toRed*green>>5)
		blue := v + uint32(toBlue*green>>5) + uint32(redToBlue*int32(int8(red))>>5)
		row[x] = v&0xff00_ff00 | red&0xff<<16 | blue&0xff
	}
}

const black = 0xff00_0000

func (t *transform) undoPrediction(row []uint32, y int) {
	if y == 0 {
		left := uint32(black)
		for x, v := range row {
			left = add(v, left)
			row[x] = left
		}
		return
	}
	row[0] = add(row[0], t.above[0])
	tiles := t.tile[y>>t.bits*t.tileW:][:t.tileW]
	for x := 1; x < len(row); {
		end := min(len(row), (x>>t.bits+1)<<t.bits)
		mode := tiles[x>>t.bits] >> 8 & 15
		if end == len(row) && end-1 > x { // above and to the right of the last pixel is the row's first
			end--
		}
		if end == len(row) {
			row[x] = add(row[x], predict(mode, row[x-1], t.above[x-1], t.above[x], row[0]))
		} else {
			unpredict(mode, row[x-1:end], t.above[x-1:end+1])
		}
		x = end
	}
}

// unpredict undoes the prediction of all pixels of row but the first. above[i] is above
// row[i].
func unpredict(mode uint32, row, above []uint32) {
	left := row[0]
	above = above[:len(row)+1]
	switch mode {
	case 1:
		for i := 1; i < len(row); i++ {
			left = add(row[i], left)
			row[i] = left
		}
	case 2:
		for i := 1; i < len(row); i++ {
			row[i] = add(row[i], above[i])
		}
	case 11:
		for i := 1; i < len(row); i++ {
			left = add(row[i], nearer(left, above[i-1], above[i]))
			row[i] = left
		}
	case 12:
		for i := 1; i < len(row); i++ {
			left = add(row[i], gradient(left, above[i-1], above[i]))
			row[i] = left
		}
	default:
		for i := 1; i < len(row); i++ {
			left = add(row[i], predict(mode, left, above[i-1], above[i], above[i+1]))
			row[i] = left
		}
	}
}

// predict predicts a pixel by those to the left and above.
func predict(mode, left, aboveLeft, above, aboveRight uint32) uint32 {
	switch mode {
	case 1:
		return left
	case 2:
		return above
	case 3:
		return aboveRight
	case 4:
		return aboveLeft
	case 5:
		return mean(mean(left, aboveRight), above)
	case 6:
		return mean(left, aboveLeft)
	case 7:
		return mean(left, above)
	case 8:
		return mean(aboveLeft, above)
	case 9:
		return mean(above, aboveRight)
	case 10:
		return mean(mean(left, aboveLeft), mean(above, aboveRight))
	case 11:
		return nearer(left, aboveLeft, above)
	case 12:
		return gradient(left, aboveLeft, above)
	case 13:
		return halfGradient(mean(left, above), aboveLeft)
	}
	return black
}

// add adds each of four bytes.
func add(a, b uint32) uint32 {
	return (a&0xff00_ff00+b&0xff00_ff00)&0xff00_ff00 | (a&0xff_00ff+b&0xff_00ff)&0xff_00ff
}

// mean is half the sum of each of four bytes, rounded down.
func mean(a, b uint32) uint32 { return a&b + (a^b)&0xfefe_fefe>>1 }

// nearer is left or above, whichever is nearer to left + above - aboveLeft.
func nearer(left, aboveLeft, above uint32) uint32 {
	ofLeft, ofAbove := int32(0), int32(0)
	for shift := 0; shift < 32; shift += 8 {
		l, c, a := int32(left>>shift&0xff), int32(aboveLeft>>shift&0xff), int32(above>>shift&0xff)
		ofLeft += max(a-c, c-a)
		ofAbove += max(l-c, c-l)
	}
	if ofLeft < ofAbove {
		return left
	}
	return above
}

// gradient is left + above - aboveLeft, of each byte and at most 255.
func gradient(left, aboveLeft, above uint32) (v uint32) {
	for shift := 0; shift < 32; shift += 8 {
		sum := int32(left>>shift&0xff) + int32(above>>shift&0xff) - int32(aboveLeft>>shift&0xff)
		v |= uint32(max(0, min(sum, 255))) << shift
	}
	return v
}

// halfGradient is a + (a - b) / 2, of each byte and at most 255.
func halfGradient(a, b uint32) (v uint32) {
	for shift := 0; shift < 32; shift += 8 {
		m := int32(a >> shift & 0xff)
		sum := m + (m-int32(b>>shift&0xff))/2
		v |= uint32(max(0, min(sum, 255))) << shift
	}
	return v
}
