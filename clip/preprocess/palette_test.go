package preprocess

import (
	"bytes"
	"compress/lzw"
	"encoding/binary"
	"image"
	"image/color"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// paletteBMP has four pixels in a row, of indices 0 to 3, and no room between
// its palette and them. The header has 12 bytes (OS/2) or 40.
func paletteBMP(header, bits int, entries []uint8) []byte {
	row := []byte{0, 1, 2, 3}
	if bits == 1 {
		row = []byte{0b0101_0000, 0, 0, 0}
	}
	b := append([]byte("BM"), make([]byte, 12)...)
	b[10] = byte(14 + header + len(entries))
	b = binary.LittleEndian.AppendUint32(b, uint32(header))
	if header == 12 {
		b = append(b, 4, 0, 1, 0, 1, 0, byte(bits), 0)
	} else {
		b = append(b, 4, 0, 0, 0, 1, 0, 0, 0, 1, 0, byte(bits), 0)
		b = append(b, make([]byte, 16)...)
		b = append(b, byte(len(entries)/4), 0, 0, 0, 0, 0, 0, 0)
	}
	return append(append(b, entries...), row...)
}

// paletteGIF has the same pixels.
func paletteGIF(t *testing.T, entries []uint8) []byte {
	var codes bytes.Buffer
	w := lzw.NewWriter(&codes, lzw.LSB, 2)
	_, err := w.Write([]byte{0, 1, 2, 3})
	require.NoError(t, err)
	require.NoError(t, w.Close())
	b := append([]byte("GIF89a\x04\x00\x01\x00\x80\x00\x00"), entries...)
	b = append(b, ",\x00\x00\x00\x00\x04\x00\x01\x00\x00\x02"...)
	b = append(b, byte(codes.Len()))
	return append(append(b, codes.Bytes()...), "\x00;"...)
}

// What Pillow 13 gives, for PNG and TIFF too: see TestFormatsEqualPillow and
// the rows of testdata/tiff whose ColorMap has 20 colours.
func TestIndexBeyondPaletteIsBlack(t *testing.T) {
	want := []uint8{9, 8, 7, 60, 50, 40, 0, 0, 0, 0, 0, 0}
	for name, data := range map[string][]byte{
		"GIF": paletteGIF(t, []uint8{9, 8, 7, 60, 50, 40}),
		"BMP": paletteBMP(40, 8, []uint8{7, 8, 9, 0, 40, 50, 60, 0}),
	} {
		img, err := Decode(bytes.NewReader(data))
		require.NoError(t, err, name)
		assert.Equal(t, modeP, img.Mode(), name)
		assert.Equal(t, want, img.RGB(), name)
	}
	src := image.NewPaletted(image.Rect(0, 0, 4, 1), color.Palette{color.RGBA{9, 8, 7, 255}, color.RGBA{60, 50, 40, 255}})
	copy(src.Pix, []uint8{0, 1, 2, 3})
	assert.Equal(t, want, FromImage(src).RGB())
}

// One black colour makes a bilevel picture, whose ones are white.
func TestBMPOfBlackAloneIsBilevel(t *testing.T) {
	img, err := Decode(bytes.NewReader(paletteBMP(40, 1, make([]uint8, 4))))
	require.NoError(t, err)
	assert.Equal(t, modeBilevel, img.Mode())
	assert.Equal(t, []uint8{0, 255, 0, 255}, img.pix)
}

// An offset that is that of the palette means the pixels after it.
func TestBMPOffsetOfPalette(t *testing.T) {
	for header, step := range map[int]int{12: 3, 40: 4} {
		entries := make([]uint8, 256*step)
		for i := range entries {
			entries[i] = uint8(i / step * 5)
		}
		data := paletteBMP(header, 8, entries)
		binary.LittleEndian.PutUint32(data[10:], uint32(14+header))
		img, err := Decode(bytes.NewReader(data))
		require.NoError(t, err)
		assert.Equal(t, []uint8{0, 0, 0, 5, 5, 5, 10, 10, 10, 15, 15, 15}, img.RGB())
	}
}

// A fill_color is an index where the palette has it, and a gray level where not.
func TestPadOfPalette(t *testing.T) {
	m := randomImage(1, modeP, 4, 2)
	for fill, palette := range map[int]int{7: 8, 8: 8, 300: 256, -3: 1, 0: 0} {
		m.palette = randomImage(1, modeP, 1, 1).palette[:palette]
		cfg := DefaultConfig()
		cfg.Size, cfg.ResizeMode, cfg.FillColor = [2]int{4, 4}, "longest", fill
		tr, err := New(cfg)
		require.NoError(t, err)
		got, err := tr.Pixels(m)
		require.NoError(t, err)
		level := max(0, min(fill, 255))
		want := [3]uint8{uint8(level), uint8(level), uint8(level)}
		if level < palette {
			want = m.palette[level]
		}
		assert.Equal(t, want[:], got[:3], fill)
	}
}
