//go:build heic

package preprocess

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
)

// heifFile is what the boxes of a HEIF file tell of its images (ISO/IEC 23008-12).
type heifFile struct {
	start      int       // where the box behind ftyp begins
	meta       []heifBox // what lies in the meta box
	primary    int
	items      map[int]*heifItem
	properties []heifBox
	exif       []byte // without what is before the TIFF header
}

type heifItem struct {
	kind       string
	properties []int  // of heifFile, counted from 1, with heifEssential
	tiles      []int  // items that a grid is made of
	describes  []int  // items that EXIF data are of
	helps      int    // the item that an auxiliary image, as of alpha, belongs to
	multiplied bool   // by alpha
	data       []byte // the first part of its data
}

// heifEssential is added to the number of a property without which an item is not to be shown.
const heifEssential = 1 << 15

type heifBox struct {
	kind string
	body []byte
}

// uint reads n bytes, the first of which counts most.
func (r *byteReader) uint(n int) int {
	v := 0
	for _, b := range r.next(n) {
		if v > math.MaxInt>>8 {
			r.failed = true
			return 0
		}
		v = v<<8 | int(b)
	}
	return v
}

// box reads a box. Its body has what is left where its size is 0.
func (r *byteReader) box() heifBox {
	size, kind := r.uint(4), string(r.next(4))
	switch {
	case size == 1:
		return heifBox{kind, r.next(r.uint(8) - 16)}
	case size == 0:
		return heifBox{kind, r.next(len(r.data))}
	}
	return heifBox{kind, r.next(size - 8)}
}

// heifMaxBoxes is how many boxes one box may hold, and how many items a file.
const heifMaxBoxes = 1 << 16

// boxes are those that lie in data, of which there may be heifMaxBoxes.
func boxes(data []byte) ([]heifBox, error) {
	r := &byteReader{data: data}
	var all []heifBox
	for len(r.data) > 0 && !r.failed {
		all = append(all, r.box())
		r.failed = r.failed || len(all) > heifMaxBoxes
	}
	return all, r.err()
}

func parseHEIF(data []byte) (*heifFile, error) {
	f := &heifFile{items: map[int]*heifItem{}}
	r := &byteReader{data: data}
	r.box()
	f.start = len(data) - len(r.data)
	for !r.failed && len(r.data) > 0 {
		b := r.box()
		if b.kind != "meta" || r.failed || len(b.body) < 4 {
			continue
		}
		var err error
		if f.meta, err = boxes(b.body[4:]); err != nil {
			return nil, err
		}
		if err := f.readMeta(data, f.meta); err != nil {
			return nil, err
		}
		break
	}
	if f.items[f.primary] == nil {
		if r.failed {
			return nil, r.err()
		}
		return nil, fmt.Errorf("%w: HEIF without a primary image", ErrUnsupportedFormat)
	}
	return f, nil
}

// readMeta reads the boxes of a meta box. Items come first, because others tell of them.
func (f *heifFile) readMeta(data []byte, meta []heifBox) error {
	readers := []struct {
		kind string
		read func(r *byteReader, version int)
	}{
		{"pitm", func(r *byteReader, version int) { f.primary = r.uint(2 + 2*min(version, 1)) }},
		{"iinf", f.readItems},
		{"iref", f.readReferences},
		{"iprp", f.readProperties},
		{"iloc", func(r *byteReader, version int) {
			var idat []byte
			if i := slices.IndexFunc(meta, func(b heifBox) bool { return b.kind == "idat" }); i >= 0 {
				idat = meta[i].body
			}
			f.readLocations(r, version, data, idat)
		}},
	}
	for _, reader := range readers {
		i := slices.IndexFunc(meta, func(b heifBox) bool { return b.kind == reader.kind })
		if i < 0 {
			continue
		}
		r, version := &byteReader{data: meta[i].body}, 0
		if reader.kind != "iprp" { // which has no version
			version = r.uint(4) >> 24
		}
		if reader.read(r, version); r.failed {
			return r.err()
		}
	}
	f.readEXIF()
	return nil
}

// readEXIF takes the EXIF data of the primary image: of several the first, by its number.
func (f *heifFile) readEXIF() {
	for _, id := range slices.Sorted(maps.Keys(f.items)) {
		item := f.items[id]
		if item.kind == "Exif" && len(item.data) > 4 && slices.Contains(item.describes, f.primary) {
			r := &byteReader{data: item.data}
			r.next(r.uint(4))
			f.exif = r.data
			return
		}
	}
}

func (f *heifFile) readItems(r *byteReader, version int) {
	r.uint(2 + 2*min(version, 1)) // how many
	for !r.failed && len(r.data) > 0 {
		b := r.box()
		r.failed = r.failed || len(f.items) > heifMaxBoxes
		in := &byteReader{data: b.body}
		version := in.uint(4) >> 24
		if b.kind != "infe" || version < 2 {
			continue
		}
		id := in.uint(2 * (version - 1))
		in.next(2) // protection
		if kind := string(in.next(4)); !in.failed {
			f.items[id] = &heifItem{kind: kind}
		}
	}
}

// readReferences reads which images a grid is made of, and what alpha and EXIF data belong to.
func (f *heifFile) readReferences(r *byteReader, version int) {
	size := 2 + 2*min(version, 1)
	for !r.failed && len(r.data) > 0 {
		b := r.box()
		r.failed = r.failed || len(f.items) > heifMaxBoxes
		in := &byteReader{data: b.body}
		item := f.items[in.uint(size)]
		for range in.uint(2) {
			to := in.uint(size)
			if in.failed {
				break
			}
			switch {
			case item == nil:
			case b.kind == "dimg":
				item.tiles = append(item.tiles, to)
			case b.kind == "cdsc":
				item.describes = append(item.describes, to)
			case b.kind == "auxl":
				item.helps = to
			case b.kind == "prem":
				item.multiplied = true
			}
		}
	}
}

func (f *heifFile) readProperties(r *byteReader, _ int) {
	for !r.failed && len(r.data) > 0 {
		switch b := r.box(); b.kind {
		case "ipco":
			var err error
			f.properties, err = boxes(b.body)
			r.failed = r.failed || err != nil || len(f.properties) > heifMaxProperties
		case "ipma":
			f.readAssociations(&byteReader{data: b.body})
		}
	}
}

func (f *heifFile) readAssociations(r *byteReader) {
	flags := r.uint(4)
	version, wide := flags>>24, flags&1
	for range r.uint(4) {
		item := f.items[r.uint(2+2*min(version, 1))]
		var properties []int
		for range r.uint(1) {
			essential := 1 << (7 + 8*wide) // the highest bit
			i := r.uint(1 + wide)
			if i&essential != 0 {
				i += heifEssential - essential
			}
			properties = append(properties, i)
		}
		const most = 254 // raw adds one
		if r.failed = r.failed || len(properties) > most; r.failed {
			return
		}
		if item != nil && item.properties == nil { // the first counts, as in libheif
			item.properties = properties
		}
	}
}

// readLocations reads where the items' data lie, which must all be there.
func (f *heifFile) readLocations(r *byteReader, version int, data, idat []byte) {
	sizes := r.uint(2)
	offsetSize, lengthSize, baseSize, indexSize := sizes>>12, sizes>>8&15, sizes>>4&15, sizes&15
	wide := 0
	if version == 0 {
		indexSize = 0
	}
	if version == 2 {
		wide = 2
	}
	for range r.uint(2 + wide) {
		item, method := f.items[r.uint(2+wide)], 0
		if version > 0 {
			method = r.uint(2) & 15
		}
		r.next(2) // which file
		base := r.uint(baseSize)
		parts := r.uint(2)
		if parts > 1 && offsetSize+lengthSize == 0 {
			r.failed = true
		}
		for range parts {
			r.next(indexSize)
			in := &byteReader{data: data}
			if method == 1 {
				in.data = idat
			}
			in.next(base + r.uint(offsetSize))
			length := r.uint(lengthSize)
			if length == 0 {
				length = len(in.data)
			}
			part := in.next(length)
			if r.failed = r.failed || in.failed && method < 2; r.failed {
				return
			}
			if item != nil && item.data == nil {
				item.data = part
			}
		}
		if r.failed {
			return
		}
	}
}

// property is the body of an item's property, or nil.
func (f *heifFile) property(item *heifItem, kind string) []byte {
	for _, i := range item.properties {
		if p := f.propertyAt(i); p.kind == kind {
			return p.body
		}
	}
	return nil
}

// propertyAt is a property by its number, or none.
func (f *heifFile) propertyAt(i int) heifBox {
	i &^= heifEssential
	if i < 1 || i > len(f.properties) {
		return heifBox{}
	}
	return f.properties[i-1]
}

// size is an item's width and height, or zeros.
func (f *heifFile) size(item *heifItem) (width, height int) {
	if b := f.property(item, "ispe"); len(b) >= 12 {
		r := byteReader{data: b[4:]}
		width, height = r.uint(4), r.uint(4)
	}
	return width, height
}

// codedItem is the primary image, or the first of those that it is made of.
func (f *heifFile) codedItem() *heifItem {
	item := f.items[f.primary]
	if len(item.tiles) > 0 && f.items[item.tiles[0]] != nil {
		return f.items[item.tiles[0]]
	}
	return item
}

// isAlpha tells whether a property is that of an image of alpha.
func (b heifBox) isAlpha() bool {
	return b.kind == "auxC" && (bytes.Contains(b.body, []byte("urn:mpeg:hevc:2015:auxid:1\x00")) ||
		bytes.Contains(b.body, []byte("urn:mpeg:mpegB:cicp:systems:auxiliary:alpha")))
}

// alpha is the number of the image that is the primary one's alpha, if there is one.
func (f *heifFile) alpha() (id int, ok bool) {
	for _, id := range slices.Sorted(maps.Keys(f.items)) {
		item := f.items[id]
		isAlpha := slices.ContainsFunc(item.properties, func(i int) bool { return f.propertyAt(i).isAlpha() })
		if item.helps == f.primary && isAlpha {
			return id, true
		}
	}
	return 0, false
}

// orientation is EXIF's number for irot, a quarter of a circle to the left for each, and
// imir, which comes behind and swaps top and bottom, or left and right.
func (f *heifFile) orientation() int {
	primary := f.items[f.primary]
	angle, mirror := 0, 0
	if b := f.property(primary, "irot"); len(b) > 0 {
		angle = int(b[0] & 3)
	}
	if b := f.property(primary, "imir"); len(b) > 0 {
		mirror = 1 + int(b[0]&1)
	}
	return [3][4]int{{1, 8, 3, 6}, {4, 5, 2, 7}, {2, 7, 4, 5}}[mirror][angle]
}
