package preprocess

import (
	"bytes"
	"compress/lzw"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// allocated is how many bytes f takes, whether they are freed or not.
func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// flatPNG is a black PNG.
func flatPNG(t *testing.T, side int, bits, colourType byte, samples int) []byte {
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	for range side {
		_, err := w.Write(make([]byte, 1+side*samples*int(bits)/8))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	out := []byte("\x89PNG\r\n\x1a\n")
	be := binary.BigEndian
	chunk := func(name string, body []byte) {
		out = be.AppendUint32(out, uint32(len(body)))
		out = append(append(out, name...), body...)
		out = be.AppendUint32(out, crc32.ChecksumIEEE(out[len(out)-len(body)-4:]))
	}
	chunk("IHDR", append(be.AppendUint32(be.AppendUint32(nil, uint32(side)), uint32(side)), bits, colourType, 0, 0, 0))
	chunk("IDAT", packed.Bytes())
	chunk("IEND", nil)
	return out
}

// spotWebP is a canvas with a frame of a pixel.
func spotWebP(t *testing.T, side int) []byte {
	data := readSample(t, "formats/webp_animated.webp")
	for i := range 3 {
		data[24+i], data[27+i] = byte((side-1)>>(8*i)), byte((side-1)>>(8*i))
	}
	return data
}

func flatGIF(t *testing.T, side int) []byte {
	var packed bytes.Buffer
	w := lzw.NewWriter(&packed, lzw.LSB, 8)
	_, err := w.Write(make([]byte, side*side))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	out := gifOf(uint16(side), uint16(side), uint16(side), uint16(side))
	out = append(out[:bytes.LastIndexByte(out, ',')+10], 8)
	for data := packed.Bytes(); len(data) > 0; {
		n := min(len(data), 255)
		out = append(append(out, byte(n)), data[:n]...)
		data = data[n:]
	}
	return append(out, 0, ';')
}

// runsBMP is a BMP of skipped pixels.
func runsBMP(t *testing.T, side int) []byte {
	out := readSample(t, "formats/bmp_rle8.bmp")
	binary.LittleEndian.PutUint32(out[18:], uint32(side))
	binary.LittleEndian.PutUint32(out[22:], uint32(side))
	out = out[:binary.LittleEndian.Uint32(out[10:])]
	return append(out, strings.Repeat("\x00\x02\xff\xff", side/255+2)...)
}

// Small files of large pictures take the pixels' memory, and little more.
func TestMemoryOfFlatPictures(t *testing.T) {
	const side = 4000
	for name, c := range map[string]struct {
		data  []byte
		bytes float64 // of a pixel
		more  int     // MiB that do not grow with the picture
	}{
		"PNG":           {flatPNG(t, side, 8, 6, 4), 4, 2},
		"gray PNG":      {flatPNG(t, side, 16, 0, 1), 4, 2},
		"lossless WebP": {losslessWebP(side, side), 3, 10}, // the pixels that may be copied
		"lossy WebP":    {readSample(t, "plain/lossy.webp"), 4.5, 2},
		"animated WebP": {spotWebP(t, side), 4, 2},
		"GIF":           {flatGIF(t, side), 1, 24}, // the strings of the codes
		"BMP of runs":   {runsBMP(t, side), 1, 2},
		"TIFF":          {sharingTIFF(0, side, side, 8, tiffPackBits, strings.Repeat("\x81\x00", side/128+1), ""), 1, 2},
	} {
		var m *Image
		var err error
		took := allocated(func() { m, err = Decode(bytes.NewReader(c.data)) })
		if assert.NoError(t, err, name) {
			n := m.Width() * m.Height()
			assert.GreaterOrEqual(t, n, side*side/4, name)
			assert.Less(t, took, int(c.bytes*float64(n))+c.more<<20, name)
		}
	}
}
