package preprocess

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/jpeg"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// exifData is EXIF data with an orientation and a directory of texts.
func exifData(order binary.AppendByteOrder, orientation uint16, texts map[uint16]string) []byte {
	data := []byte(map[bool]string{true: "II*\x00", false: "MM\x00*"}[order == binary.LittleEndian])
	entry := func(tag, kind uint16, count, value uint32) {
		data = order.AppendUint16(order.AppendUint16(data, tag), kind)
		data = order.AppendUint32(order.AppendUint32(data, count), value)
	}
	const below = 8 + 2 + 2*12 + 4
	data = order.AppendUint16(order.AppendUint32(data, 8), 2)
	data = order.AppendUint16(order.AppendUint16(data, tagOrientation), 3)
	data = order.AppendUint16(order.AppendUint16(order.AppendUint32(data, 1), orientation), 0)
	entry(tagEXIF, 4, 1, below)
	data = order.AppendUint32(data, 0)
	data = order.AppendUint16(data, uint16(len(texts)))
	at := below + 2 + 12*len(texts) + 4
	var values []byte
	for _, tag := range []uint16{tagOriginal, tagOriginalZone} {
		if text, is := texts[tag]; is {
			entry(tag, typeASCII, uint32(len(text)), uint32(at+len(values)))
			values = append(values, text...)
		}
	}
	return append(order.AppendUint32(data, 0), values...)
}

// withEXIFData puts EXIF data into a JPEG.
func withEXIFData(file, exif []byte) []byte {
	segment := binary.BigEndian.AppendUint16([]byte("\xff\xe1"), uint16(2+6+len(exif)))
	return slices.Concat(file[:2], segment, []byte("Exif\x00\x00"), exif, file[2:])
}

func TestTaken(t *testing.T) {
	var plain bytes.Buffer
	require.NoError(t, jpeg.Encode(&plain, image.NewGray(image.Rect(0, 0, 40, 20)), nil))
	local := time.Date(2019, 8, 31, 12, 34, 56, 0, time.Local)
	zone := time.Date(2019, 8, 31, 12, 34, 56, 0, time.FixedZone("", 5*3600+1800))
	for name, c := range map[string]struct {
		texts map[uint16]string
		want  time.Time
	}{
		"local":     {map[uint16]string{tagOriginal: "2019:08:31 12:34:56\x00"}, local},
		"zone":      {map[uint16]string{tagOriginal: "2019:08:31 12:34:56\x00", tagOriginalZone: "+05:30\x00"}, zone},
		"bad zone":  {map[uint16]string{tagOriginal: "2019:08:31 12:34:56\x00", tagOriginalZone: "   :  \x00"}, local},
		"no clock":  {map[uint16]string{tagOriginal: "0000:00:00 00:00:00\x00"}, time.Time{}},
		"blank":     {map[uint16]string{tagOriginal: "    :  :     :  :  \x00"}, time.Time{}},
		"no date":   {map[uint16]string{}, time.Time{}},
		"only zone": {map[uint16]string{tagOriginalZone: "+05:30\x00"}, time.Time{}},
	} {
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			file := withEXIFData(plain.Bytes(), exifData(order, 6, c.texts))
			img, err := Decode(bytes.NewReader(file))
			require.NoError(t, err)
			assert.True(t, c.want.Equal(img.Taken()), "%s: %v", name, img.Taken())
			assert.True(t, img.Turned())
			upright, err := Decode(bytes.NewReader(file), WithOrientation(), WithScale(4))
			require.NoError(t, err)
			assert.True(t, c.want.Equal(upright.Taken()), name)
			width, height := upright.FullSize()
			assert.Equal(t, [4]int{5, 10, 20, 40}, [4]int{upright.Width(), upright.Height(), width, height})
		}
	}
}

// EXIF data that are cut or point anywhere tell nothing and do no harm.
func TestTakenOfDamagedEXIF(t *testing.T) {
	whole := exifData(binary.LittleEndian, 6, map[uint16]string{tagOriginal: "2019:08:31 12:34:56\x00"})
	for n := range whole {
		exifIn(whole[:n])
		for _, b := range []byte{0, 8, 0x7f, 0xff} {
			data := slices.Clone(whole)
			data[n] = b
			exifIn(data)
		}
	}
	assert.False(t, exifIn(whole).taken.IsZero())
}

func TestWithContent(t *testing.T) {
	const path = "../../tests/testdata/formats/jpeg_exif_6.jpg"
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	var seen []byte
	_, err = DecodeFile(path, WithContent(func(data []byte) error { seen = slices.Clone(data); return nil }))
	require.NoError(t, err)
	assert.Equal(t, file, seen)
	stop := errors.New("enough")
	_, err = DecodeFile(path, WithContent(func([]byte) error { return stop }))
	require.ErrorIs(t, err, stop)
}

func TestThumbnail(t *testing.T) {
	for mode, img := range map[string]*Image{
		modeRGB: newImage(modeRGB, 600, 300), modeP: newImage(modeP, 600, 300), modeI: newImage(modeI, 600, 300), modeRGBA: newImage(modeRGBA, 600, 300),
	} {
		for i := range img.pix {
			img.pix[i] = 0x80
			if mode == modeRGBA && i%4 == 3 {
				img.pix[i] = 0xff
			}
		}
		for i := range img.wide {
			img.wide[i] = 0x80
		}
		if mode == modeP {
			img.palette = make([][3]uint8, 129)
			img.palette[128] = [3]uint8{0x80, 0x80, 0x80}
		}
		small := img.Thumbnail(256)
		require.Equal(t, image.Pt(256, 128), small.Bounds().Size(), mode)
		assert.True(t, bytes.Equal(bytes.Repeat([]byte{0x80, 0x80, 0x80, 0xff}, 256*128), small.Pix), mode)
		assert.Equal(t, image.Pt(600, 300), img.Thumbnail(600).Bounds().Size(), "not larger")
	}
	assert.Equal(t, image.Pt(100, 1), newImage(modeL, 10000, 3).Thumbnail(100).Bounds().Size())
}
