//go:build heic

package preprocess

import (
	"bytes"
	"fmt"
)

func init() {
	readable += ", HEIC or AVIF"
	formats = append(formats,
		format{"AVIF", "????ftypavi", decodeHEIF},
		format{"HEIC", "????ftyphe", decodeHEIF},
		format{"HEIF", "????ftypmif1", decodeHEIF},
		format{"HEIF", "????ftypmsf1", decodeHEIF},
	)
}

// decodeHEIF reads the primary image of a HEIF file that holds HEVC or AV1.
func decodeHEIF(data []byte, o options) (*Image, error) {
	f, err := parseHEIF(data)
	if err != nil {
		return nil, damaged(err)
	}
	memory, err := f.memory(o)
	if err != nil {
		return nil, err
	}
	coded := f.codedItem()
	if kind := f.items[f.primary].kind; kind != "grid" && kind != coded.kind {
		return nil, fmt.Errorf("%w: HEIF whose image is of type %q, want hvc1, av01 or grid", ErrUnsupportedFormat, kind)
	}
	done, err := sandboxMemory.take(o.ctx, memory)
	if err != nil {
		return nil, err
	}
	defer done()
	switch coded.kind {
	case "av01":
		return f.decodeAVIF(data, memory, o)
	case "hvc1":
		return f.decodeHEIC(data, coded, memory, o)
	}
	return nil, fmt.Errorf("%w: HEIF of items of type %q, want hvc1 or av01", ErrUnsupportedFormat, coded.kind)
}

// memory is what decoding takes, by the sizes in the header, which it checks before the file's
// decoder runs.
func (f *heifFile) memory(o options) (most int, err error) {
	w, h := f.size(f.items[f.primary])
	if err := o.checkSize(w, h); err != nil { // zeros, too
		return 0, err
	}
	for _, p := range f.properties {
		if p.kind != "ispe" || len(p.body) < 12 {
			continue
		}
		r := byteReader{data: p.body[4:]}
		w, h := r.uint(4), r.uint(4)
		if err := o.checkSize(w, h); err != nil {
			return 0, err
		}
		need := w * h * f.bytesPerPixel()
		if need > sandboxBytes {
			return 0, fmt.Errorf("%w: decoding %dx%d takes %d MiB, the limit is %d MiB", ErrTooLarge, w, h, need>>20, sandboxBytes>>20)
		}
		most = max(most, need)
	}
	return min(most+sandboxBase, sandboxBytes), nil
}

// bytesPerPixel is what a decoder takes of a pixel: its planes, those of RGB before and after
// they are turned, and, twice, what it returns.
func (f *heifFile) bytesPerPixel() int {
	for _, p := range f.properties {
		av1 := p.kind == "av1C" && len(p.body) > 2 && p.body[2]&0x40 != 0
		hevc := p.kind == "hvcC" && len(p.body) > 17 && p.body[17]&7 != 0
		if av1 || hevc {
			return 32
		}
	}
	return 20
}

// decodeAVIF turns the image as its file says only where o asks for it, as Pillow, which
// gives irot and imir as an EXIF orientation. Alpha is decoded for itself, because the decoder
// multiplies colours by it.
func (f *heifFile) decodeAVIF(data []byte, memory int, o options) (*Image, error) {
	decode := func(primary int, shape func(w, h int, s samples) *Image) (m *Image, err error) {
		file := data
		if _, alpha := f.alpha(); alpha {
			file = f.rewritten(data, "avif", primary, []string{"auxC"}, nil)
		}
		err = avifSandbox.run(file, memory, func(c *sandboxCall) error {
			w, h, s, err := c.avifSamples(o)
			if err == nil {
				m = shape(w, h, s)
			}
			return err
		})
		return m, err
	}
	m, err := decode(f.primary, func(w, h int, s samples) *Image {
		n := s.step / 4
		if _, alpha := f.alpha(); f.isGray() && !alpha {
			return gather(modeL, w, h, s, 0)
		} else if alpha {
			return gather(modeRGBA, w, h, s, 0, n, 2*n, 3*n)
		}
		return gather(modeRGB, w, h, s, 0, n, 2*n)
	})
	if err != nil {
		return nil, err
	}
	if id, ok := f.alpha(); ok {
		alpha, err := decode(id, func(w, h int, s samples) *Image { return gather(modeL, w, h, s, 0) })
		if err != nil {
			return nil, fmt.Errorf("alpha: %w", err)
		}
		if alpha.width != m.width || alpha.height != m.height {
			return nil, fmt.Errorf("%w: alpha of %dx%d for an image of %dx%d", ErrCorrupt, alpha.width, alpha.height, m.width, m.height)
		}
		for i, a := range alpha.pix {
			m.pix[4*i+3] = a
		}
		if f.items[f.primary].multiplied {
			unpremultiply(m.pix, 4)
		}
	}
	e := exifIn(f.exif)
	e.orientation = f.orientation()
	return m.withEXIF(e, o), nil
}

// avifSamples runs the decoder on the first image, once for the sizes.
func (c *sandboxCall) avifSamples(o options) (w, h int, s samples, err error) {
	frames, shown, sizes, out := c.alloc(4), c.alloc(8), c.alloc(12), uint64(0)
	c.write(shown, bytes.Repeat([]byte{0xff}, 8)) // the decoder writes how long a frame is shown
	decode := func(headerOnly uint64) {
		c.decode(headerOnly, 0, sizes, sizes+4, sizes+8, frames, shown, out)
	}
	decode(1)
	w, h = c.u32(sizes), c.u32(sizes+4)
	step := 4
	if c.u32(sizes+8) > 8 {
		step = 8
	}
	if c.err != nil {
		return 0, 0, s, c.err
	}
	if err := o.checkSize(w, h); err != nil {
		return 0, 0, s, err
	}
	out = c.alloc(w * h * step)
	decode(0)
	pix := c.read(out, w*h*step)
	if c.err == nil && c.u32(shown) == 0xffffffff {
		c.err = fmt.Errorf("%w: its pixels cannot be decoded", ErrCorrupt)
	}
	if c.err != nil {
		return 0, 0, s, c.err
	}
	return w, h, samples{pix[step/8:], w * step, step}, nil // of two bytes the second is the higher
}

// isGray tells whether the primary image has no colours, by its AV1 configuration.
func (f *heifFile) isGray() bool {
	b := f.property(f.codedItem(), "av1C")
	return len(b) > 2 && b[2]&0x10 != 0
}
