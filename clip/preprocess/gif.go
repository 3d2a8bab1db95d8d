package preprocess

import (
	"bytes"
	"fmt"
)

// decodeGIF reads the first frame on the file's canvas, as Pillow does. It
// does not use image/gif, which forgets the colour of the transparent index.
// A palette that is no more than the gray ramp makes the image L, not P.
func decodeGIF(data []byte, o options) (*Image, error) {
	r := &byteReader{data: data[6:]} // past the signature
	w, h := r.u16le(), r.u16le()
	flags := r.u8()
	r.next(2) // background, aspect ratio
	global := gifPalette(r, flags)
	transparent := -1 // no index
	for !r.failed {
		switch r.u8() {
		case '!':
			if label, block := r.u8(), gifBlock(r); label == 0xf9 && len(block) >= 4 && block[0]&1 != 0 {
				transparent = int(block[3])
			}
			for len(gifBlock(r)) > 0 {
			}
		case ',':
			f := gifFrame{x: r.u16le(), y: r.u16le(), w: r.u16le(), h: r.u16le()}
			flags := r.u8()
			f.palette, f.interlaced = global, flags&0x40 != 0
			if local := gifPalette(r, flags); local != nil {
				f.palette = local
			}
			if r.failed {
				return nil, damaged(r.err())
			}
			// A frame that sticks out enlarges the canvas.
			w, h = max(w, f.x+f.w), max(h, f.y+f.h)
			if err := o.checkSize(w, h); err != nil {
				return nil, err
			}
			return f.decode(r, o, w, h, transparent)
		case ';':
			return nil, fmt.Errorf("%w: no image in it", ErrCorrupt)
		}
	}
	return nil, damaged(r.err())
}

// gifPalette reads the colour table that flags announce, or returns nil.
func gifPalette(r *byteReader, flags int) []uint8 {
	if flags&0x80 == 0 {
		return nil
	}
	return r.next(3 << (flags&7 + 1))
}

// gifBlock reads one sub-block; the empty one ends a sequence.
func gifBlock(r *byteReader) []uint8 { return r.next(r.u8()) }

type gifFrame struct {
	x, y, w, h int
	interlaced bool
	palette    []uint8 // RGB entries
}

func (f gifFrame) decode(r *byteReader, o options, w, h, transparent int) (*Image, error) {
	bits := r.u8()
	if bits < 2 || bits > 8 {
		return nil, fmt.Errorf("%w: LZW code size %d, want 2 to 8", ErrCorrupt, bits)
	}
	// The blocks are joined in the file's memory: an animation has far more than this frame.
	packed := r.data[:0]
	for block := gifBlock(r); len(block) > 0; block = gifBlock(r) {
		packed = append(packed, block...)
	}
	if err := checkLength(packed, f.w*f.h, maxLZW); err != nil {
		return nil, err
	}
	m := o.newImage(modeL, w, h)
	if !isGrayRamp(f.palette) {
		m.mode, m.palette = modeP, rgbPalette(f.palette)
	}
	if transparent >= 0 {
		m.opacity = opacityOf(append(bytes.Repeat([]byte{255}, transparent), 0))
	}
	if transparent > 0 {
		for i := range m.pix {
			m.pix[i] = uint8(transparent)
		}
	}
	codes := lzwReaders.Get().(*lzwReader)
	defer codes.release()
	codes.reset(packed, bits, false, 0)
	for _, y := range f.rows() {
		if _, err := codes.Read(m.pix[(f.y+y)*w+f.x:][:f.w]); err != nil {
			return nil, damaged(err)
		}
	}
	return m, nil
}

// rows lists the frame's rows in file order.
func (f gifFrame) rows() []int {
	passes := [][2]int{{0, 1}}
	if f.interlaced {
		passes = [][2]int{{0, 8}, {4, 8}, {2, 4}, {1, 2}}
	}
	rows := make([]int, 0, f.h)
	for _, p := range passes {
		for y := p[0]; y < f.h; y += p[1] {
			rows = append(rows, y)
		}
	}
	return rows
}
