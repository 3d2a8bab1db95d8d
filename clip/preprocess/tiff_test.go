package preprocess

import (
	"bytes"
	stdlzw "compress/lzw"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const tiffData = testdata + "/tiff"

// tiffMeta is what tests/testdata/tiff/make.py says of its files.
func tiffMeta(t testing.TB) (meta struct{ Modes, Same, Unsupported, Corrupt map[string]string }) {
	data, err := os.ReadFile(tiffData + "/meta.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &meta))
	require.NotEmpty(t, meta.Modes)
	return meta
}

func TestTIFFLayoutsEqualPillow(t *testing.T) {
	outputs := readSafetensors(t, tiffData+"/outputs_u8.safetensors")
	for name, mode := range tiffMeta(t).Modes {
		img, err := DecodeFile(filepath.Join(tiffData, name+".tif"))
		if !assert.NoError(t, err, name) {
			continue
		}
		assert.Equal(t, mode, img.Mode(), name)
		assert.Zero(t, maxDiff(t, outputs[name], img.RGB()), name)
	}
}

// Valid files that Pillow fails on have the pixels of another one that it reads.
func TestTIFFLayoutsThatPillowLacks(t *testing.T) {
	same := tiffMeta(t).Same
	require.NotEmpty(t, same)
	for name, other := range same {
		img, err := DecodeFile(filepath.Join(tiffData, name+".tif"))
		require.NoError(t, err, name)
		want, err := DecodeFile(filepath.Join(tiffData, other+".tif"))
		require.NoError(t, err, other)
		assert.Equal(t, want, img, name)
	}
}

// What is not read is named, and only damaged files are called corrupt.
func TestTIFFNamesWhatItCannotRead(t *testing.T) {
	meta := tiffMeta(t)
	for want, files := range map[error]map[string]string{ErrUnsupportedFormat: meta.Unsupported, ErrCorrupt: meta.Corrupt} {
		require.NotEmpty(t, files)
		for name, says := range files {
			_, err := DecodeFile(filepath.Join(tiffData, name+".tif"))
			assert.ErrorIs(t, err, want, name)
			assert.ErrorContains(t, err, says, name)
		}
	}
}

// tiffField is an entry of a directory: tag, type, number of values, and the
// value or the place of several.
type tiffField [4]int

const long, undefined = 4, 7 // types of fields

// tiffWith is a TIFF whose header is followed by body, from byte 8 on, and that
// by the directory.
func tiffWith(body []byte, fields ...tiffField) []byte {
	out := binary.LittleEndian.AppendUint32([]byte("II*\x00"), uint32(8+len(body)))
	out = append(out, body...)
	out = binary.LittleEndian.AppendUint16(out, uint16(len(fields)))
	for _, f := range fields {
		out = binary.LittleEndian.AppendUint16(out, uint16(f[0]))
		out = binary.LittleEndian.AppendUint16(out, uint16(f[1]))
		out = binary.LittleEndian.AppendUint32(out, uint32(f[2]))
		out = binary.LittleEndian.AppendUint32(out, uint32(f[3]))
	}
	return append(out, 0, 0, 0, 0)
}

// tiffOf is a gray TIFF of side x side pixels in one strip.
func tiffOf(side, bits, compression int, strip []byte, more ...[2]int) []byte {
	var fields []tiffField
	for _, f := range append([][2]int{
		{tagImageWidth, side}, {tagImageLength, side}, {tagBitsPerSample, bits}, {tagCompression, compression},
		{tagPhotometric, tiffBlackIsZero}, {tagStripOffsets, 8}, {tagStripByteCounts, len(strip)},
	}, more...) {
		fields = append(fields, tiffField{f[0], long, 1, f[1]})
	}
	return tiffWith(strip, fields...)
}

// A small file that announces a large image is refused before that has room.
func TestTIFFTooLargeIsRefusedFromItsDirectory(t *testing.T) {
	strip := make([]byte, 1000)
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"raw":           {tiffOf(12000, 8, tiffUncompressed, strip), ErrCorrupt},
		"RLE":           {tiffOf(12000, 1, tiffRLE, strip), ErrCorrupt},
		"Group 3":       {tiffOf(12000, 1, tiffGroup3, strip), ErrCorrupt},
		"Group 4":       {tiffOf(12000, 1, tiffGroup4, strip), ErrCorrupt},
		"LZW":           {tiffOf(12000, 8, tiffLZW, strip), ErrCorrupt},
		"JPEG":          {tiffOf(12000, 8, tiffJPEG, strip), ErrCorrupt},
		"Deflate":       {tiffOf(12000, 8, tiffDeflate, strip), ErrCorrupt},
		"PackBits":      {tiffOf(12000, 8, tiffPackBits, strip), ErrCorrupt},
		"missing strip": {tiffOf(12000, 8, tiffDeflate, strip, [2]int{tagRowsPerStrip, 1}), ErrCorrupt},
		"pixels":        {tiffOf(20000, 8, tiffDeflate, strip), ErrTooLarge},
		"tile":          {tiffOf(10, 8, tiffDeflate, strip, [2]int{tagTileWidth, 1 << 20}, [2]int{tagTileLength, 1 << 20}), ErrTooLarge},
		"long tiles":    {tiffOf(12000, 8, tiffDeflate, strip, [2]int{tagTileWidth, 16}, [2]int{tagTileLength, 1 << 20}), ErrTooLarge},
		"tiles":         {tiffOf(12000, 8, tiffDeflate, strip, [2]int{tagTileWidth, 1}, [2]int{tagTileLength, 1}), ErrTooLarge},
	} {
		var err error
		took := allocated(func() { _, err = Decode(bytes.NewReader(c.data)) })
		assert.ErrorIs(t, err, c.want, name)
		assert.Less(t, took, 1<<20, name)
	}
}

// The shortest strips of an image are no truncated ones.
func TestTIFFOfOneColourIsNotTooShort(t *testing.T) {
	const side = 4000
	var deflated, lzw bytes.Buffer
	for packed, w := range map[*bytes.Buffer]io.WriteCloser{&deflated: zlib.NewWriter(&deflated), &lzw: stdlzw.NewWriter(&lzw, stdlzw.LSB, 8)} {
		_, err := w.Write(make([]byte, side*side))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		require.Less(t, packed.Len(), side*side/500)
	}
	for name, data := range map[string][]byte{
		"Deflate":  tiffOf(side, 8, tiffDeflate, deflated.Bytes()),
		"LZW":      tiffOf(side, 8, tiffLZW, lzw.Bytes()),
		"PackBits": tiffOf(side, 8, tiffPackBits, bytes.Repeat([]byte{0x81, 0}, side*side/128)),
		"Group 4":  tiffOf(side, 1, tiffGroup4, bytes.Repeat([]byte{0xff}, side/8)),
	} {
		img, err := Decode(bytes.NewReader(data))
		if assert.NoError(t, err, name) {
			assert.Zero(t, slices.Max(img.RGB()), name)
		}
	}
}
