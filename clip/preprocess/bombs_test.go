package preprocess

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"image"
	stdjpeg "image/jpeg"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess/internal/jpeg"
)

// sharingTIFF is a gray TIFF of across x down tiles of side x side pixels, or of
// down strips of one row of that width where across is 0. Its chunks, two or more,
// share their bytes.
func sharingTIFF(across, down, side, bits, compression int, chunk, jpegTables string) []byte {
	n, w, h, offsets, sizes := down, side, down, tagStripOffsets, tagStripByteCounts
	if across > 0 {
		n, w, h, offsets, sizes = across*down, across*side, down*side, tagTileOffsets, tagTileByteCounts
	}
	const chunkAt = 8 // behind the header
	body := []byte(chunk + jpegTables)
	offsetsAt := chunkAt + len(body)
	fields := []tiffField{
		{tagImageWidth, long, 1, w}, {tagImageLength, long, 1, h}, {tagBitsPerSample, long, 1, bits},
		{tagCompression, long, 1, compression}, {tagPhotometric, long, 1, tiffBlackIsZero},
		{offsets, long, n, offsetsAt}, {sizes, long, n, offsetsAt + 4*n}, {tagRowsPerStrip, long, 1, 1},
	}
	if across > 0 {
		fields = append(fields, tiffField{tagTileWidth, long, 1, side}, tiffField{tagTileLength, long, 1, side})
	}
	if jpegTables != "" {
		fields = append(fields, tiffField{tagJPEGTables, undefined, len(jpegTables), chunkAt + len(chunk)})
	}
	for _, v := range []int{chunkAt, len(chunk)} {
		for range n {
			body = binary.LittleEndian.AppendUint32(body, uint32(v))
		}
	}
	return tiffWith(body, fields...)
}

// grayJPEG is the tables and the scan of one of side x side pixels, both with
// SOI and EOI.
func grayJPEG(t *testing.T, side int) (tables, scan string) {
	var buf bytes.Buffer
	require.NoError(t, stdjpeg.Encode(&buf, image.NewGray(image.Rect(0, 0, side, side)), nil))
	data := buf.String()
	sof, dht, sos := strings.Index(data, "\xff\xc0"), strings.Index(data, "\xff\xc4"), strings.Index(data, "\xff\xda")
	return data[:sof] + data[dht:sos] + "\xff\xd9", "\xff\xd8" + data[sof:dht] + data[sos:]
}

// Strips that share bytes which do nothing are refused before any is read.
func TestTIFFStripsThatShareBytesThatDoNothing(t *testing.T) {
	const strips, size = 4096, 60000
	tables, scan := grayJPEG(t, 1)
	dht := "\xff\xc4\x00\x14\x13\x01" + strings.Repeat("\x00", 16)
	for name, c := range map[string]struct {
		bits, compression int
		chunk, tables     string
	}{
		"empty blocks of Deflate": {8, tiffDeflate, "\x78\x9c" + strings.Repeat("\x00\x00\x00\xff\xff", size/5) + "\x01\x01\x00\xfe\xff\x07", ""},
		"LZW clear codes":         {8, tiffLZW, strings.Repeat("\x80\x40\x20\x10\x08\x04\x02\x01\x00", size/9) + "\x80\x01\xc0\x40", ""},
		"PackBits no-operations":  {8, tiffPackBits, strings.Repeat("\x80", size) + "\x00\x07", ""},
		"fill bits":               {1, tiffGroup3, strings.Repeat("\x00", size) + "\x01\x1c\x00", ""},
		"bytes between markers":   {8, tiffJPEG, tables[:2] + strings.Repeat("\x00", size) + tables[2:len(tables)-2] + scan[2:], ""},
		"DHT of the JPEG":         {8, tiffJPEG, tables[:2] + strings.Repeat(dht, size/len(dht)) + tables[2:len(tables)-2] + scan[2:], ""},
		"DHT of JPEGTables":       {8, tiffJPEG, scan, tables[:2] + strings.Repeat(dht, size/len(dht)) + tables[2:]},
	} {
		_, err := Decode(bytes.NewReader(sharingTIFF(0, 2, 1, c.bits, c.compression, c.chunk, c.tables)))
		assert.NoError(t, err, "two strips with %s", name)
		_, err = Decode(bytes.NewReader(sharingTIFF(0, strips, 1, c.bits, c.compression, c.chunk, c.tables)))
		assert.ErrorIs(t, err, ErrTooLarge, name)
		assert.ErrorContains(t, err, "4096 strips or tiles that share bytes", name)
	}
}

// Blank strips and tiles may share their bytes, and small ones their tables.
func TestTIFFSharesBlankChunks(t *testing.T) {
	deflated := func(n int) string {
		var buf bytes.Buffer
		w := zlib.NewWriter(&buf)
		_, err := w.Write(make([]byte, n))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		return buf.String()
	}
	tables, scan := grayJPEG(t, 16)
	for name, data := range map[string][]byte{
		"strips of a row":          sharingTIFF(0, 16384, 100, 8, tiffDeflate, deflated(100), ""),
		"tiles of 16x16":           sharingTIFF(128, 128, 16, 8, tiffDeflate, deflated(16*16), ""),
		"PackBits tiles":           sharingTIFF(128, 128, 16, 8, tiffPackBits, strings.Repeat("\x81\x00", 2), ""),
		"JPEG tiles":               sharingTIFF(320, 320, 16, 8, tiffJPEG, scan, tables),
		"JPEG tiles without a DHT": sharingTIFF(128, 128, 16, 8, tiffJPEG, scan, tables[:strings.Index(tables, "\xff\xc4")]+"\xff\xd9"),
	} {
		_, err := Decode(bytes.NewReader(data))
		assert.NoError(t, err, name)
	}
	_, err := Decode(bytes.NewReader(sharingTIFF(2, 2, 16, 8, tiffJPEG, scan, tables[2:])))
	assert.ErrorIs(t, err, ErrCorrupt, "tables that do not begin as a JPEG")
}

// progressiveJPEG has components of side x side samples, of one value each. Its
// scans after the first change nothing, in two bytes for 32766 blocks.
func progressiveJPEG(side, components, scans int) []byte {
	const zeros14 = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	be, n := binary.BigEndian, byte(components)
	blocks := (side + 7) / 8 * ((side + 7) / 8)
	const length1, length2 = "\x01\x00" + zeros14, "\x00\x01" + zeros14 // of the only code
	out := []byte("\xff\xd8\xff\xdb\x00\x43\x00" + strings.Repeat("\x01", 64))
	out = append(out, "\xff\xc4\x00\x14\x00"+length1+"\x00"...) // no difference
	out = append(out, "\xff\xc4\x00\x14\x10"+length2+"\xe0"...) // end of band in 16384 blocks and more
	out = append(out, 0xff, 0xc2, 0, 8+3*n, 8)
	out = be.AppendUint16(be.AppendUint16(out, uint16(side)), uint16(side))
	out = append(out, n)
	first := []byte{0xff, 0xda, 0, 6 + 2*n, n}
	for i := range n {
		out = append(out, i+1, 0x11, 0)
		first = append(first, i+1, 0)
	}
	out = append(append(out, first...), 0, 0, 0)
	out = append(out, make([]byte, components*blocks/8+1)...)
	unchanged := "\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00" + strings.Repeat("\x3f\xfe", (blocks+32765)/32766)
	return append(out, strings.Repeat(unchanged, scans-1)+"\xff\xd9"...)
}

func TestJPEGOfTooManyScans(t *testing.T) {
	img, err := Decode(bytes.NewReader(progressiveJPEG(2048, 3, 16)))
	if assert.NoError(t, err) {
		assert.Equal(t, 2048, img.Width())
	}
	_, err = Decode(bytes.NewReader(progressiveJPEG(256, 1, 300)))
	assert.NoError(t, err)
	_, err = Decode(bytes.NewReader(progressiveJPEG(2048, 1, 5000)))
	assert.ErrorIs(t, err, ErrTooLarge)
	assert.ErrorContains(t, err, "5000 scans of 65536 blocks")
}

// The blocks of arithmetic coding may take long without many bits.
func TestJPEGOfTooManyArithmeticBlocks(t *testing.T) {
	file := readSample(t, "jpeg_arithmetic/files/02_gray.jpg")
	sof := bytes.Index(file, []byte("\xff\xc9"))
	binary.BigEndian.PutUint32(file[sof+5:], 13000<<16|13000)
	file = append(file, make([]byte, 13000*13000/maxJPEG)...)
	h, err := jpeg.ReadHeader(file)
	require.NoError(t, err)
	assert.NoError(t, checkJPEG(h, options{maxPixels: DefaultMaxPixels}))
	file[sof+9] = 3 // components
	colour := append(file[:sof+10:sof+10], "\x01\x11\x00\x02\x11\x00\x03\x11\x00"...)
	colour[sof+3] = 17
	h, err = jpeg.ReadHeader(append(colour, file[sof+13:]...))
	require.NoError(t, err)
	err = checkJPEG(h, options{maxPixels: DefaultMaxPixels})
	assert.ErrorIs(t, err, ErrTooLarge)
	assert.ErrorContains(t, err, "1 scans of 7921875 blocks of 8x8 samples, the limit is 6710886 blocks")
}

// What one strip or tile may do is not done by each of many.
func TestTIFFOfTooManyJPEGScans(t *testing.T) {
	f := &tiffFile{ifd: &ifd{}, w: 16, h: 16, chunkW: 16, chunkH: 16, across: 1, down: 1, tiffLayout: tiffLayout{stored: 1}}
	_, err := f.decodeJPEGChunk(progressiveJPEG(16, 1, 10), 0, options{maxPixels: DefaultMaxPixels, scale: 1, memory: &jpeg.Memory{}})
	require.NoError(t, err)
	assert.EqualValues(t, 10*4, f.jpegVisits)
	f.jpegVisits = maxJPEGVisits - 39
	_, err = f.decodeJPEGChunk(progressiveJPEG(16, 1, 10), 0, options{maxPixels: DefaultMaxPixels, scale: 1, memory: &jpeg.Memory{}})
	assert.ErrorIs(t, err, ErrTooLarge)
	assert.ErrorContains(t, err, "JPEG scans of over")
}

// Pixels, and coefficients of progressive pictures, are bounded before they have room.
func TestJPEGOfTooManyCoefficients(t *testing.T) {
	huge := readSample(t, "jpeg/files/q5.jpg")
	binary.BigEndian.PutUint32(huge[bytes.Index(huge, []byte("\xff\xc0"))+5:], 65500<<16|65500)
	for name, c := range map[string]struct {
		data []byte
		says string
	}{
		"pixels": {huge, "65500x65500, the limit is"},
		"colour": {progressiveJPEG(13370, 3, 10), "1140598272 bytes of coefficients"},
		"CMYK":   {progressiveJPEG(9000, 4, 10), "688500000 bytes of coefficients"},
	} {
		var err error
		took := allocated(func() { _, err = Decode(bytes.NewReader(c.data)) })
		assert.ErrorIs(t, err, ErrTooLarge, name)
		assert.ErrorContains(t, err, c.says, name)
		assert.Less(t, took, 8<<20, name)
	}
	large, err := jpeg.ReadHeader(progressiveJPEG(9000, 3, 16)) // 81 megapixels, 4:4:4
	require.NoError(t, err)
	assert.NoError(t, checkJPEG(large, options{maxPixels: DefaultMaxPixels, scale: 1}))
}

// Motion JPEG has no tables where they are the standard ones.
func TestJPEGWithoutHuffmanTables(t *testing.T) {
	rgb := image.NewYCbCr(image.Rect(0, 0, 50, 40), image.YCbCrSubsampleRatio420)
	for i := range rgb.Y {
		rgb.Y[i] = uint8(i * i)
	}
	for i := range rgb.Cb {
		rgb.Cb[i], rgb.Cr[i] = uint8(7*i), uint8(3*i)
	}
	var buf bytes.Buffer
	require.NoError(t, stdjpeg.Encode(&buf, rgb, nil)) // with the standard tables
	data := buf.String()
	want, err := Decode(&buf)
	require.NoError(t, err)
	dht, sos := strings.Index(data, "\xff\xc4"), strings.Index(data, "\xff\xda")
	const luminance = (17 + 12) + (17 + 162)
	for name, tables := range map[string]string{
		"none":        "",
		"luminance":   "\xff\xc4\x00\xd2" + data[dht+4:dht+4+luminance],
		"chrominance": "\xff\xc4\x00\xd2" + data[dht+4+luminance:sos],
	} {
		img, err := Decode(strings.NewReader(data[:dht] + tables + data[sos:]))
		if assert.NoError(t, err, name) {
			assert.Equal(t, want, img, name)
		}
	}
	progressive := string(progressiveJPEG(16, 1, 2))
	dht, sof := strings.Index(progressive, "\xff\xc4"), strings.Index(progressive, "\xff\xc2")
	_, err = Decode(strings.NewReader(progressive[:dht] + progressive[sof:]))
	assert.ErrorIs(t, err, ErrCorrupt)
}

// libjpeg skips the segment after a scan that defines the number of lines; the
// frame header counts.
func TestJPEGSkipsNumberOfLines(t *testing.T) {
	plain := string(readSample(t, "jpeg/files/q5.jpg"))
	want, err := Decode(strings.NewReader(plain))
	require.NoError(t, err)
	sos, end := strings.Index(plain, "\xff\xda"), strings.LastIndex(plain, "\xff\xd9")
	for _, at := range []int{sos, end} {
		img, err := Decode(strings.NewReader(plain[:at] + "\xff\xdc\x00\x04\x00\x30" + plain[at:]))
		if assert.NoError(t, err) {
			assert.Equal(t, want, img)
		}
	}
}
