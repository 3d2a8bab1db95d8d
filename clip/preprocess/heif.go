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
	if err := f.checkSizes(o); err != nil {
		return nil, err
	}
	coded := f.codedItem()
	switch {
	case coded.kind == "av01":
		return f.decodeAVIF(data, o)
	case coded.kind == "hvc1" && !f.hasAlpha():
		return f.decodeHEIC(data, coded, o)
	case coded.kind == "hvc1":
		return nil, fmt.Errorf("%w: HEIC with alpha", ErrUnsupportedFormat)
	}
	return nil, fmt.Errorf("%w: HEIF of items of type %q, want hvc1 or av01", ErrUnsupportedFormat, coded.kind)
}

// checkSizes refuses what the sizes in the header stand for, before the file's decoder runs.
func (f *heifFile) checkSizes(o options) error {
	w, h := f.size(f.items[f.primary])
	if err := o.checkSize(w, h); err != nil { // zeros, too
		return err
	}
	for _, p := range f.properties {
		if p.kind != "ispe" || len(p.body) < 12 {
			continue
		}
		r := byteReader{data: p.body[4:]}
		w, h := r.uint(4), r.uint(4)
		if err := o.checkSize(w, h); err != nil {
			return err
		}
		if need := w * h * f.bytesPerPixel(); need > sandboxPages*sandboxPage {
			return fmt.Errorf("%w: decoding %dx%d takes %d MiB, the limit is %d MiB", ErrTooLarge, w, h, need>>20, sandboxPages*sandboxPage>>20)
		}
	}
	return nil
}

// bytesPerPixel is what a decoder takes of a pixel: its planes and, twice, what it returns.
func (f *heifFile) bytesPerPixel() int {
	for _, p := range f.properties {
		av1 := p.kind == "av1C" && len(p.body) > 2 && p.body[2]&0x40 != 0
		hevc := p.kind == "hvcC" && len(p.body) > 17 && p.body[17]&7 != 0
		if av1 || hevc {
			return 24
		}
	}
	return 12
}

// decodeAVIF turns the image as its file says only where o asks for it, as Pillow, which
// gives irot and imir as an EXIF orientation. Colours of pixels that are nearly transparent
// are coarse, because the decoder multiplies them by alpha.
func (f *heifFile) decodeAVIF(data []byte, o options) (*Image, error) {
	var m *Image
	err := avifSandbox.run(data, func(c *sandboxCall) error {
		w, h, depth := 0, 0, 0
		frames, shown, out := c.alloc(4), c.alloc(8), uint64(0)
		c.write(shown, bytes.Repeat([]byte{0xff}, 8)) // the decoder writes how long a frame is shown
		decode := func(headerOnly uint64) {
			sizes := c.alloc(12)
			c.decode(headerOnly, 0, sizes, sizes+4, sizes+8, frames, shown, out)
			w, h, depth = c.u32(sizes), c.u32(sizes+4), c.u32(sizes+8)
		}
		if decode(1); c.err != nil {
			return c.err
		}
		if err := o.checkSize(w, h); err != nil {
			return err
		}
		step := 4
		if depth > 8 {
			step = 8
		}
		out = c.alloc(w * h * step)
		decode(0)
		pix := c.read(out, w*h*step)
		if c.err == nil && c.u32(shown) == 0xffffffff {
			c.err = fmt.Errorf("%w: its pixels cannot be decoded", ErrCorrupt)
		}
		if c.err != nil {
			return c.err
		}
		s := samples{pix[step/8:], w * step, step} // of two bytes the second is the higher
		if f.isGray() && !f.hasAlpha() {
			m = gather(modeL, w, h, s, 0)
		} else {
			m = fromRGBA(w, h, s, !f.hasAlpha(), true)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	e := exifIn(f.exif)
	e.orientation = f.orientation()
	return m.withEXIF(e, o), nil
}

// isGray tells whether the primary image has no colours, by its AV1 configuration.
func (f *heifFile) isGray() bool {
	b := f.property(f.codedItem(), "av1C")
	return len(b) > 2 && b[2]&0x10 != 0
}
