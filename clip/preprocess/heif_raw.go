//go:build heic

package preprocess

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

const heifMaxProperties = 1<<15 - 2

// raw is the file as libheif has to see it to return samples as they are coded. From YCbCr
// this libheif makes 4:4:4 and goes back to 4:2:0: the chroma is then blurred, and wrong by
// up to 56 levels in its first row and column. In raw's file all images claim to be green,
// blue and red. libheif converts nothing of these: it returns Cr, luma and Cb, of each pixel
// the nearest sample.
func (f *heifFile) raw(data []byte) []byte {
	gbr := []byte("nclx\x00\x01\x00\x0d\x00\x00\x80")      // sRGB, but with the matrix 0 (ITU-T H.273)
	drop := []string{"colr", "pixi"}                       // pixi of one channel stands for gray
	return f.rewritten(data, "heic", f.primary, drop, gbr) // other major brands are refused, whatever is in the file
}

// rewritten is the file with another brand and primary image, without properties of the kinds in
// drop, and with the colours colr where it is not nil. Its meta box stands behind all else, whose
// places stay.
func (f *heifFile) rewritten(data []byte, brand string, primary int, drop []string, colr []byte) []byte {
	var ipco []byte
	for _, p := range f.properties {
		ipco = appendBox(ipco, p.kind, p.body)
	}
	if colr != nil {
		ipco = appendBox(ipco, "colr", colr)
	}
	ipma := binary.BigEndian.AppendUint32([]byte{1, 0, 0, 1}, uint32(len(f.items))) // items of 32 bits, properties of 16
	for _, id := range slices.Sorted(maps.Keys(f.items)) {
		properties := slices.DeleteFunc(slices.Clone(f.items[id].properties), func(i int) bool {
			return slices.Contains(drop, f.propertyAt(i).kind)
		})
		if colr != nil {
			properties = append(properties, len(f.properties)+1)
		}
		ipma = binary.BigEndian.AppendUint32(ipma, uint32(id))
		ipma = append(ipma, byte(len(properties)))
		for _, i := range properties {
			ipma = binary.BigEndian.AppendUint16(ipma, uint16(i))
		}
	}
	meta := make([]byte, 4) // version and flags
	for _, b := range f.meta {
		switch b.kind {
		case "iprp":
			b.body = appendBox(appendBox(nil, "ipco", ipco), "ipma", ipma)
		case "pitm":
			b.body = binary.BigEndian.AppendUint32([]byte{1, 0, 0, 0}, uint32(primary))
		}
		meta = appendBox(meta, b.kind, b.body)
	}
	out := make([]byte, 0, len(data)+len(meta)+8)
	out = appendBox(append(out, data...), "meta", meta)
	brands := out[8:f.start]
	copy(brands, brand)
	copy(brands, bytes.ReplaceAll(brands, []byte("avis"), []byte("avif"))) // no sequence: its moov box is covered
	binary.BigEndian.PutUint32(out[f.start:], uint32(len(data)-f.start))
	copy(out[f.start+4:], "free")
	return out
}

func appendBox(out []byte, kind string, body []byte) []byte {
	out = binary.BigEndian.AppendUint32(out, uint32(len(body)+8))
	return append(append(out, kind...), body...)
}

// checkGrid refuses a grid whose own size is another than its ispe box has.
func (f *heifFile) checkGrid() error {
	primary := f.items[f.primary]
	if primary.kind != "grid" {
		return nil
	}
	r := &byteReader{data: primary.data}
	wide := r.uint(2) & 1
	r.next(2) // rows and columns
	gridWidth, gridHeight := r.uint(2+2*wide), r.uint(2+2*wide)
	if w, h := f.size(primary); r.failed || gridWidth != w || gridHeight != h {
		return fmt.Errorf("%w: an image of %dx%d is a grid of %dx%d", ErrCorrupt, w, h, gridWidth, gridHeight)
	}
	return nil
}

// shownSize is the primary image's width and height after irot and clap, in their order.
func (f *heifFile) shownSize() (width, height int, err error) {
	primary := f.items[f.primary]
	width, height = f.size(primary)
	for _, i := range primary.properties {
		switch p := f.propertyAt(i); {
		case p.kind == "irot" && len(p.body) > 0 && p.body[0]&1 == 1:
			width, height = height, width
		case p.kind == "clap":
			r := &byteReader{data: p.body}
			w, h := r.fraction(), r.fraction()
			x, y := r.fraction(), r.fraction()
			if r.failed || !w.window(width, x) || !h.window(height, y) {
				return 0, 0, fmt.Errorf("%w: a clean aperture (clap) that is not within %dx%d", ErrCorrupt, width, height)
			}
			width, height = w[0]/w[1], h[0]/h[1]
		}
	}
	return width, height, nil
}

// fraction is a numerator and a denominator.
type fraction [2]int

func (r *byteReader) fraction() fraction {
	return fraction{int(int32(r.uint(4))), int(int32(r.uint(4)))}
}

// window tells whether a whole number of pixels n, whose centre is offset from that of size
// pixels, lies in those.
func (n fraction) window(size int, offset fraction) bool {
	if n[1] < 1 || offset[1] < 1 || n[0]%n[1] != 0 {
		return false
	}
	length := n[0] / n[1]
	twice := 2*offset[0] + (size-length)*offset[1]
	return length > 0 && twice >= 0 && twice/(2*offset[1])+length <= size
}
