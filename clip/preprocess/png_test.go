package preprocess

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/crc32"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pngCase is a PNG and what Pillow 13 makes of it; tests/testdata/png/make.py
// writes them.
type pngCase struct {
	Name, Mode, Refused string
	File, RGB           hexBytes
	Width, Height       int
}

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func pngCases(t testing.TB) []pngCase {
	f, err := os.Open(testdata + "/png/cases.json.gz")
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	var all struct{ Cases []pngCase }
	require.NoError(t, json.NewDecoder(z).Decode(&all))
	require.Greater(t, len(all.Cases), 400)
	return all.Cases
}

// What Pillow opens has its pixels and mode, and what it refuses is refused.
func TestPNGEqualsPillow(t *testing.T) {
	for _, c := range pngCases(t) {
		img, err := Decode(bytes.NewReader(c.File))
		if c.Refused != "" {
			if assert.Error(t, err, "%s: Pillow says %q", c.Name, c.Refused) {
				known := errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnsupportedFormat) || errors.Is(err, ErrTooLarge)
				assert.True(t, known, "%s: %v", c.Name, err)
			}
			continue
		}
		if !assert.NoError(t, err, c.Name) {
			continue
		}
		assert.Equal(t, c.Mode, img.Mode(), c.Name)
		assert.Equal(t, [2]int{c.Width, c.Height}, [2]int{img.Width(), img.Height()}, c.Name)
		assert.Equal(t, []uint8(c.RGB), img.RGB(), c.Name)
	}
}

// What is refused is called by its name, and corrupt only where it is.
func TestPNGErrors(t *testing.T) {
	want := map[string]struct {
		err  error
		says string
	}{
		"depth_3_0":          {ErrUnsupportedFormat, "3 bits of colour type 2"},
		"filter_method_64_0": {ErrUnsupportedFormat, "filter method 64"},
		"zlib_raw_0":         {ErrUnsupportedFormat, "CgBI"},
		"pre_iCCP_method":    {ErrUnsupportedFormat, "compression method 1 in chunk iCCP"},
		"pre_zTXt_bomb":      {ErrTooLarge, "zTXt unpacks to over"},
		"checksum_before_0":  {ErrCorrupt, "bad checksum of chunk tIME"},
		"no_ihdr_0":          {ErrCorrupt, "no chunk IHDR"},
		"filter_5_0":         {ErrCorrupt, "bad row filter 5"},
		"no_rows_0":          {ErrCorrupt, "truncated"},
		"bad_name_before_0":  {ErrCorrupt, `"te t"`},
		"palette_of_257":     {ErrCorrupt, "257 colours"},
		"pre_gAMA_short":     {ErrCorrupt, "chunk gAMA of 1 bytes"},
	}
	for _, c := range pngCases(t) {
		if w, ok := want[c.Name]; ok {
			_, err := Decode(bytes.NewReader(c.File))
			assert.ErrorIs(t, err, w.err, c.Name)
			assert.ErrorContains(t, err, w.says, c.Name)
			delete(want, c.Name)
		}
	}
	assert.Empty(t, want)
}

// A hostile file of many short texts takes little memory and time for each.
func TestPNGTextsShareADecompressor(t *testing.T) {
	data := readSample(t, "formats/png_exif_5.png")
	at := bytes.Index(data, []byte("IDAT")) - 4
	body := "zTXt\x00\x00\x78\x9c\x4b" // no key, the method, the begin of zlib data
	text := binary.BigEndian.AppendUint32([]byte("\x00\x00\x00\x05"+body), crc32.ChecksumIEEE([]byte(body)))
	const texts = 10_000
	data = slices.Concat(data[:at], bytes.Repeat(text, texts), data[at:])
	var err error
	took := allocated(func() { _, err = Decode(bytes.NewReader(data)) })
	require.NoError(t, err)
	assert.Less(t, took, texts*1000)
}

// The orientation counts wherever its chunk is, and with the prefix of JPEG's too.
func TestPNGOrientation(t *testing.T) {
	data := readSample(t, "formats/png_exif_5.png")
	at := bytes.Index(data, []byte("eXIf")) - 4
	size := 12 + int(data[at+3])
	chunk := bytes.Clone(data[at : at+size])
	moved := append(bytes.Clone(data[:at]), data[at+size:len(data)-12]...)
	moved = append(append(moved, chunk...), data[len(data)-12:]...)
	want, err := Decode(bytes.NewReader(data), WithOrientation())
	require.NoError(t, err)
	got, err := Decode(bytes.NewReader(moved), WithOrientation())
	require.NoError(t, err)
	assert.Equal(t, want, got)

	body := append([]byte("eXIfExif\x00\x00"), chunk[8:size-4]...)
	prefixed := binary.BigEndian.AppendUint32(bytes.Clone(data[:at]), uint32(len(body)-4))
	prefixed = binary.BigEndian.AppendUint32(append(prefixed, body...), crc32.ChecksumIEEE(body))
	got, err = Decode(bytes.NewReader(append(prefixed, data[at+size:]...)), WithOrientation())
	require.NoError(t, err)
	assert.Equal(t, want, got)
	assert.Equal(t, 22, got.Width())
}
