package jpeg

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/jpeg"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const testdata = "../../../../tests/testdata"

func readFile(t testing.TB, name string) []byte {
	data, err := os.ReadFile(filepath.Join(testdata, name))
	require.NoError(t, err)
	return data
}

func decode(data []byte, scale int) ([]uint8, error) {
	h, err := ReadHeader(data)
	if err != nil {
		return nil, err
	}
	return h.Decode(&Memory{}, scale)
}

func TestHeader(t *testing.T) {
	for name, want := range map[string]Header{
		"jpeg/files/cmyk.jpg":            {Components: 4},
		"jpeg/files/gray.jpg":            {Components: 1},
		"jpeg/files/progressive_420.jpg": {Components: 3, Progressive: true, Buffered: true, YCC: true},
		"jpeg2/files/055_rgb.jpg":        {Components: 3},
		"jpeg2/files/071_nojfif.jpg":     {Components: 3, YCC: true},
		"jpeg2/files/058_cmyk_2.jpg":     {Components: 4},
		"jpeg2/files/041_scans_1x1.jpg":  {Components: 3, Buffered: true, YCC: true},
		"jpeg2/files/002_2x1_base.jpg":   {Components: 3, YCC: true},
	} {
		h, err := ReadHeader(readFile(t, name))
		require.NoError(t, err, name)
		got := Header{Components: h.Components, Progressive: h.Progressive, Buffered: h.Buffered, YCC: h.YCC}
		assert.Equal(t, want, got, name)
		assert.Positive(t, h.Blocks(), name)
	}
}

// libjpeg reads past what is between segments and after the end, and refuses what is
// there twice or not at all.
func TestOddSegments(t *testing.T) {
	plain := readFile(t, "jpeg/files/q5.jpg")
	want, err := decode(plain, 1)
	require.NoError(t, err)
	sof, dqt := bytes.Index(plain, []byte("\xff\xc0")), bytes.Index(plain, []byte("\xff\xdb"))
	with := func(at int, more string) []byte {
		return append(append(bytes.Clone(plain[:at]), more...), plain[at:]...)
	}
	sos := bytes.Index(plain, []byte("\xff\xda"))
	set := func(pairs ...int) []byte {
		data := bytes.Clone(plain)
		for ; len(pairs) > 0; pairs = pairs[2:] {
			data[pairs[0]] = byte(pairs[1])
		}
		return data
	}
	frame := string(plain[sof : sof+2+17])
	for name, data := range map[string][]byte{
		"fill bytes": with(sof, "\xff\xff\xff"), "stray bytes": with(sof, "\x01\x02\xff\x00\x03"), "RST": with(sof, "\xff\xd3"),
		"DNL": with(sof, "\xff\xdc\x00\x04\x00\x01"), "empty comment": with(sof, "\xff\xfe\x00\x00"), "DRI of 0": with(sof, "\xff\xdd\x00\x04\x00\x00"),
		"a thumbnail":    with(2, "\xff\xe1"+string(binary.BigEndian.AppendUint16(nil, uint16(8+len(plain))))+"Exif\x00\x00"+string(plain)),
		"MPO":            with(len(plain), string(plain)),
		"TEM before EOI": with(len(plain)-2, "\xff\x01"), "a DNL of one byte": with(sof, "\xff\xdc\x00\x01"), "one id": set(sof+10, 7, sof+13, 7, sof+16, 7, sos+5, 7, sos+7, 7, sos+9, 7),
		"behind EOI": with(len(plain), "\xff\xd8\xff\xda more"), "stray bytes before EOI": with(len(plain)-2, "\x01\x02"), "no EOI, but more": append(bytes.Clone(plain[:len(plain)-2]), "\xff\xfe"...),
	} {
		got, err := decode(data, 1)
		assert.NoError(t, err, name)
		assert.Equal(t, want, got, name)
	}
	for name, data := range map[string][]byte{
		"two SOI": with(sof, "\xff\xd8"), "two frames": with(sof, frame), "unknown marker": with(sof, "\xff\xf0\x00\x02"),
		"TEM": with(sof, "\xff\x01"), "9 bits a sample": set(sof+4, 9), "an MCU of 18 blocks": set(sof+11, 0x44),
		"components out of order": set(sos+5, 2, sos+7, 1), "a component twice": set(sos+9, 2),
		"a long DRI": with(sof, "\xff\xdd\x00\x05\x00\x01\x02"), "a short DQT": with(sof, "\xff\xdb\x00\x10\x00\x01"),
		"a DHT of too many codes": with(sof, "\xff\xc4\x00\x14\x00\x03"+string(make([]byte, 15))+"\x00"),
		"another scan":            with(len(plain)-2, "\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\x00"),
		"no frame":                append(bytes.Clone(plain[:sof]), plain[sof+2+17:]...),
		"no width":                append(append(bytes.Clone(plain[:sof+7]), 0, 0), plain[sof+9:]...),
		"no DQT":                  append(bytes.Clone(plain[:dqt]), plain[sof:]...),
		"a scan of a component that is not there": bytes.Replace(plain, []byte("\xff\xda\x00\x0c\x03\x01"), []byte("\xff\xda\x00\x0c\x03\x07"), 1),
	} {
		_, err := decode(data, 1)
		assert.Error(t, err, name)
	}
	_, err = decode(plain, 3)
	assert.ErrorContains(t, err, "1/3")
}

// The markers say by libjpeg's rules whether components are Y, Cb and Cr.
func TestColoursByMarkers(t *testing.T) {
	const adobe = "\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
	const jfif = "\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
	file := readFile(t, "jpeg2/files/055_rgb.jpg")
	require.Equal(t, adobe+"\x00", string(file[2:18]))
	for markers, want := range map[string]bool{
		"": false, adobe + "\x00": false, adobe + "\x01": true,
		adobe + "\x00" + adobe + "\x01": true, adobe + "\x01" + adobe + "\x00": false, // the last one counts
		"\xff\xe0\x00\x10JFIF" + jfif: true, "\xff\xe0\x00\x0fJFIF" + jfif[1:]: false, "\xff\xe0\x00\x0fJFIF" + jfif[:9]: false,
		"\xff\xe0\x00\x10JFIF" + jfif + adobe + "\x00": true,
	} {
		h, err := ReadHeader([]byte(string(file[:2]) + markers + string(file[18:])))
		require.NoError(t, err)
		assert.Equal(t, want, h.YCC, "%x", markers)
	}
}

// Of two EXIF segments the first counts.
func TestFirstEXIF(t *testing.T) {
	file := string(readFile(t, "jpeg/files/q5.jpg"))
	h, err := ReadHeader([]byte(file[:2] + "\xff\xe1\x00\x0bExif\x00\x00one" + "\xff\xe1\x00\x0bExif\x00\x00two" + file[2:]))
	require.NoError(t, err)
	assert.Equal(t, "one", string(h.EXIF))
}

// A table counts as it is when a component is first in a scan.
func TestTablesBetweenScans(t *testing.T) {
	data := readFile(t, "jpeg2/files/041_scans_1x1.jpg")
	want, err := decode(data, 1)
	require.NoError(t, err)
	first := bytes.Index(data, []byte("\xff\xda"))
	second := first + 2 + bytes.Index(data[first+2:], []byte("\xff\xda"))
	dqt := "\xff\xdb\x00\x43\x00" + string(bytes.Repeat([]byte{200}, 64)) // of the component that is done
	changed := append(append(bytes.Clone(data[:second]), dqt...), data[second:]...)
	got, err := decode(changed, 1)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

// Every cut and every changed byte gives pixels or an error.
func TestDamagedFiles(t *testing.T) {
	for _, name := range []string{"jpeg/files/4_5x3_420.jpg", "jpeg2/files/018_3x2_base.jpg", "jpeg2/files/011_1x4_prog.jpg", "jpeg2/files/044_scans_2x1.jpg"} {
		data := readFile(t, name)
		for i := range data {
			_, err := decode(data[:i], 1)
			if i < len(data)-16 {
				assert.Error(t, err, "%s cut to %d", name, i)
			}
			for _, v := range []byte{0, 0xff, data[i] ^ 0x10} {
				changed := bytes.Clone(data)
				changed[i] = v
				if h, err := ReadHeader(changed); err == nil && h.Width*h.Height < 1<<16 {
					_, _ = decode(changed, 1+i%2)
				}
			}
		}
	}
}

// photo is a JPEG of 4:2:0 with some detail.
func photo(t testing.TB, w, h int) []byte {
	src := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
	for y := range h {
		for x := range w {
			src.Y[src.YOffset(x, y)] = uint8(128 + 60*math.Sin(float64(x)/31)*math.Cos(float64(y)/17) + float64(x*y%7)*4)
			src.Cb[src.COffset(x, y)] = uint8(x / 8)
			src.Cr[src.COffset(x, y)] = uint8(y / 8)
		}
	}
	var buf bytes.Buffer
	require.NoError(t, jpeg.Encode(&buf, src, &jpeg.Options{Quality: 90}))
	return buf.Bytes()
}

// A baseline file takes no planes, only rows of MCUs.
func TestMemoryOfBaseline(t *testing.T) {
	h, err := ReadHeader(photo(t, 2000, 1500))
	require.NoError(t, err)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	pix, err := h.Decode(&Memory{}, 1)
	require.NoError(t, err)
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(len(pix)+256<<10))
}

func BenchmarkDecode(b *testing.B) {
	data := photo(b, 2000, 1500)
	b.SetBytes(2000 * 1500 * 3)
	for b.Loop() {
		if _, err := decode(data, 1); err != nil {
			b.Fatal(err)
		}
	}
}

// A large file's memory is let go for small ones, and coefficients begin as zero.
func TestMemoryIsReused(t *testing.T) {
	var m Memory
	large, _ := m.reserve(spareBlocks+1, 0)
	large[spareBlocks].put(1, 7)
	again, pix := m.reserve(spareBlocks, 3)
	assert.Equal(t, kept{}, again[spareBlocks-1])
	assert.Same(t, &large[0], &again[0])
	assert.Len(t, pix, 3)
	_, _ = m.reserve(1, 300)
	assert.Equal(t, 3, cap(m.blocks)) // for 300 bytes
}
