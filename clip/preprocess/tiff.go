package preprocess

import (
	"fmt"
	"regexp"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess/internal/inflate"
)

// TIFF tags (TIFF 6.0; tile tags in section 15, JPEGTables in Adobe's technical note 2).
const (
	tagImageWidth      = 0x0100
	tagImageLength     = 0x0101
	tagBitsPerSample   = 0x0102
	tagCompression     = 0x0103
	tagPhotometric     = 0x0106
	tagFillOrder       = 0x010a
	tagStripOffsets    = 0x0111
	tagSamplesPerPixel = 0x0115
	tagRowsPerStrip    = 0x0116
	tagStripByteCounts = 0x0117
	tagPlanar          = 0x011c
	tagT4Options       = 0x0124
	tagPredictor       = 0x013d
	tagColorMap        = 0x0140
	tagTileWidth       = 0x0142
	tagTileLength      = 0x0143
	tagTileOffsets     = 0x0144
	tagTileByteCounts  = 0x0145
	tagExtraSamples    = 0x0152
	tagSampleFormat    = 0x0153
	tagJPEGTables      = 0x015b
	tagXMP             = 0x02bc
)

// maxTIFFChunks bounds the time that starting decompressors takes: strips and
// tiles may be as small as a pixel and share their bytes.
const maxTIFFChunks = 1 << 18

// maxTIFFExpansion is how many times longer than its pixels a compressed chunk
// can be, apart from what a short one begins with.
const maxTIFFExpansion = 10

// tiffFile is a TIFF whose first directory has been read. The image is stored in
// chunks, which are strips or tiles. They go from left to right and from top to
// bottom; the planes, where bands are apart, follow each other.
type tiffFile struct {
	*ifd
	data        []byte
	w, h        int
	compression int
	reversed    bool // FillOrder 2: the low bit of a byte is the first
	tiffLayout
	tiled          bool
	chunkW, chunkH int    // pixels; the last strip may have fewer rows
	across, down   int    // chunks
	planes         int    // that are read, 1 where pixels are whole
	chunks         int    // across * down * planes
	offsets, sizes uint16 // the tags that place the chunks
	row            []byte // of the chunk that is being read
	spread         *bitSpreader
	inflate        *inflate.Reader
	lzw            *lzwReader
	jpegVisits     int64 // of blocks, by the chunks read so far
}

// decodeTIFF reads the layouts that Pillow reads, in Pillow's modes. It refuses
// those that need a codec or a colour space that is not here, by name. Pillow
// reads uncompressed pixels itself and calls libtiff for others; their rules
// differ, and both are followed. Pillow, for example, ignores StripByteCounts.
//
// 12- and 16-bit gray is mode I;16 in Pillow and mode I here, so that levels above
// 255 saturate as they do in open_clip's convert("RGB").
func decodeTIFF(data []byte, o options) (*Image, error) {
	d, err := readIFD(data)
	if err != nil {
		return nil, damaged(err)
	}
	f := &tiffFile{ifd: d, data: data}
	if f.w, f.h = d.int(tagImageWidth, 0), d.int(tagImageLength, 0); f.w == 0 || f.h == 0 {
		return nil, fmt.Errorf("%w: no image size in its directory, or the file is truncated", ErrCorrupt)
	}
	if err := o.checkSize(f.w, f.h); err != nil {
		return nil, err
	}
	if err := f.readLayout(); err != nil {
		return nil, err
	}
	if err := f.findChunks(o); err != nil {
		return nil, err
	}
	if f.reversed && f.compression != tiffJPEG {
		f.data = reversedBits(data)
	}
	f.inflate = newInflater()
	defer release(f.inflate)
	f.lzw = lzwReaders.Get().(*lzwReader)
	defer f.lzw.release()
	m := o.newImage(f.mode, f.w, f.h)
	if f.mode == modeP {
		if m.palette, err = f.palette(); err != nil {
			return nil, err
		}
	}
	if f.bits < 8 {
		f.spread = f.bitSpreader()
	}
	for i := range f.chunks {
		if err := f.readChunk(m, i, o); err != nil {
			return nil, damaged(err)
		}
	}
	if f.alpha == tiffAssociated {
		clearTransparent(m.pix)
		unpremultiply(m.pix, 4)
	}
	m.taken = d.taken(data)
	return m.oriented(f.orientation(), o.turned), nil
}

var xmpOrientation = regexp.MustCompile(`tiff:Orientation(?:="|>)([0-9])`)

// orientation returns the tag's value or, where there is none, that in XMP.
func (f *tiffFile) orientation() int {
	if f.count(tagOrientation) == 0 {
		if digit := xmpOrientation.FindSubmatch(f.entries[tagXMP].values); digit != nil {
			return int(digit[1][0] - '0')
		}
	}
	return f.int(tagOrientation, 1)
}

// findChunks locates the chunks and refuses those that are too short for their
// pixels, before these have room.
func (f *tiffFile) findChunks(o options) error {
	f.tiled = f.count(tagTileWidth) > 0
	if f.compression == tiffUncompressed {
		f.tiled = f.count(tagStripOffsets) == 0
	}
	f.chunkW, f.chunkH = f.w, f.int(tagRowsPerStrip, f.h)
	if f.chunkH < 0 || f.chunkH > f.h { // a common value is 2^32 - 1
		f.chunkH = f.h
	}
	if f.tiled {
		f.chunkW, f.chunkH = f.int(tagTileWidth, 0), f.int(tagTileLength, 0)
	}
	if err := o.checkSize(f.chunkW, f.chunkH); err != nil {
		return fmt.Errorf("its strips or tiles: %w", err)
	}
	f.across, f.down = ceilDiv(f.w, f.chunkW), ceilDiv(f.h, f.chunkH)
	f.chunks = f.across * f.down * f.planes
	if encoded := f.across * f.chunkW * f.down * f.chunkH; f.chunks > maxTIFFChunks || encoded > 2*o.maxPixels {
		return fmt.Errorf("%w: %d strips or tiles of %dx%d", ErrTooLarge, f.chunks, f.chunkW, f.chunkH)
	}
	f.offsets, f.sizes = tagStripOffsets, tagStripByteCounts
	if f.count(f.offsets) == 0 {
		f.offsets, f.sizes = tagTileOffsets, tagTileByteCounts
	}
	stored := f.count(f.offsets)
	if stored < f.chunks || stored > f.chunks && f.chunks > 1 && f.compression == tiffUncompressed && f.stored == f.samples {
		return fmt.Errorf("%w: %d strips or tiles of %d", ErrCorrupt, stored, f.chunks)
	}
	handed := 0
	for i := range f.chunks {
		chunk, err := f.chunk(i)
		if err != nil {
			return err
		}
		handed += len(chunk)
	}
	return f.checkHanded(handed)
}

// checkHanded refuses files whose chunks share bytes so often that decompressors are
// handed n bytes in all, far more than the file has. Bytes that do nothing, like empty
// blocks of Deflate, would take minutes. Blank chunks that are shared are short.
func (f *tiffFile) checkHanded(n int) error {
	const shared, usualTables = 32 << 20, 640 // bytes, the second of JPEGTables
	limit := 2*len(f.data) + shared
	switch f.compression {
	case tiffUncompressed:
		return nil
	case tiffJPEG:
		n += f.chunks * f.count(tagJPEGTables)
		limit += f.chunks * usualTables
	}
	if n > limit {
		return fmt.Errorf("%w: %d strips or tiles that share bytes have %d to decompress, the limit is %d", ErrTooLarge, f.chunks, n, limit)
	}
	return nil
}

// chunk returns the bytes of chunk i. Without compression its size is that of its
// pixels, and where there are several chunks for the whole image the last one
// counts, as in Pillow. With compression a single strip may lack its size, as in
// libtiff.
func (f *tiffFile) chunk(i int) ([]byte, error) {
	offset, size := f.value(f.offsets, i), f.value(f.sizes, i)
	switch {
	case f.compression == tiffUncompressed:
		_, _, cols, rows := f.chunkBounds(i)
		size = (rows-1)*f.rowBytes(f.chunkW) + f.rowBytes(cols)
		if f.chunks == 1 && f.stored == f.samples {
			offset = f.value(f.offsets, f.count(f.offsets)-1)
		}
	case f.chunks == 1 && (f.count(f.sizes) == 0 || size == 0 && !f.tiled):
		size = max(0, len(f.data)-offset)
	}
	chunk := within(f.data, offset, size)
	if chunk == nil {
		return nil, fmt.Errorf("%w: the file is truncated: a strip or tile of %d bytes at byte %d, the file has %d", ErrCorrupt, size, uint64(offset), len(f.data))
	}
	// Many chunks may reach to the end of the file.
	rows := f.encodedRows(i)
	chunk = chunk[:min(size, maxTIFFExpansion*rows*f.rowBytes(f.chunkW)+1<<16)]
	return chunk, f.checkChunk(chunk, rows)
}

// chunkBounds returns where in the image the pixels of chunk i go, and how many they are.
func (f *tiffFile) chunkBounds(i int) (x, y, cols, rows int) {
	i %= f.across * f.down
	x, y = i%f.across*f.chunkW, i/f.across*f.chunkH
	return x, y, min(f.chunkW, f.w-x), min(f.chunkH, f.h-y)
}

// encodedRows returns how many rows chunk i has. A tile also has those that lie
// below the image; Pillow's own reader does not ask for them.
func (f *tiffFile) encodedRows(i int) int {
	if f.tiled && f.compression != tiffUncompressed {
		return f.chunkH
	}
	_, _, _, rows := f.chunkBounds(i)
	return rows
}

// readChunk puts the pixels of chunk i into m.
func (f *tiffFile) readChunk(m *Image, i int, o options) error {
	chunk, err := f.chunk(i)
	if err != nil {
		return err
	}
	next, err := f.decompressor(chunk, i, o)
	if err != nil {
		return err
	}
	x, y, cols, rows := f.chunkBounds(i)
	f.row = sized(f.row, f.rowBytes(f.chunkW))
	row := f.row
	direct := f.asStored(m.bands()) && f.photometric != tiffWhiteIsZero && cols == f.chunkW
	for dy := range f.encodedRows(i) {
		at := (y+dy)*f.w + x
		if direct && dy < rows {
			if err := next(m.pix[at*f.stored:][:len(row)]); err != nil {
				return err
			}
			continue
		}
		if f.compression == tiffUncompressed && dy == rows-1 {
			row = row[:f.rowBytes(cols)] // the file may end here
		}
		if err := next(row); err != nil {
			return err
		}
		if dy < rows {
			f.unpack(m, at, cols, row, i/(f.across*f.down))
		}
	}
	return nil
}

// palette returns the colours of mode P, of which Pillow keeps the high bytes.
func (f *tiffFile) palette() ([][3]uint8, error) {
	n := f.count(tagColorMap) / 3
	if n == 0 {
		return nil, fmt.Errorf("%w: no ColorMap for its palette", ErrCorrupt)
	}
	if n > 256 {
		return nil, fmt.Errorf("%w: %d colours", ErrUnsupportedFormat, n)
	}
	p, values := make([][3]uint8, n), f.ints(tagColorMap, 3*n)
	for i := range p {
		p[i] = [3]uint8{uint8(values[i] >> 8), uint8(values[n+i] >> 8), uint8(values[2*n+i] >> 8)}
	}
	return p, nil
}
