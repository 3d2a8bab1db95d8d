//go:build heic

package preprocess

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/guard"
)

// difference is the largest and the mean one of two images' samples.
func difference(t *testing.T, a, b *Image) (largest int, mean float64) {
	require.Equal(t, [2]int{a.width, a.height}, [2]int{b.width, b.height})
	require.Equal(t, a.mode, b.mode)
	sum := 0
	for i := range a.pix {
		d := max(int(a.pix[i])-int(b.pix[i]), int(b.pix[i])-int(a.pix[i]))
		largest, sum = max(largest, d), sum+d
	}
	return largest, float64(sum) / float64(len(a.pix))
}

// Pixels of a HEIC are pillow-heif's within one level, of whatever chroma, depth and colours. An
// AVIF's are Pillow's but where chroma has half the columns, which Pillow scales bilinearly and the
// decoder here by the nearest sample; edges.avif is the worst of that.
func TestHEIFHasPillowsPixels(t *testing.T) {
	for name, most := range map[string]struct {
		largest int
		mean    float64
	}{
		"turned.heic": {1, 0.1}, "bt709.heic": {1, 0.1}, "header.heic": {1, 0.1}, "gray.heic": {0, 0},
		"halved.heic": {1, 0.1}, "edges.heic": {1, 0.1}, "edges422.heic": {1, 0.1}, "small.heic": {1, 0.1},
		"alpha.heic": {1, 0.1}, "ten.heic": {1, 0.1}, "identity.heic": {0, 0}, "grid.heic": {1, 0.1},
		"turned.avif": {1, 0.1}, "gray.avif": {0, 0}, "alpha.avif": {1, 0.1}, "animated.avif": {1, 0.1},
		"halved.avif": {10, 1.5}, "edges.avif": {110, 4},
	} {
		m, err := Decode(bytes.NewReader(readSample(t, "heif/"+name)))
		require.NoError(t, err, name)
		want, err := Decode(bytes.NewReader(readSample(t, "heif/"+name+".png")))
		require.NoError(t, err, name)
		largest, mean := difference(t, m, want)
		t.Logf("%s: %d, mean %.3f", name, largest, mean)
		assert.LessOrEqual(t, largest, most.largest, name)
		assert.LessOrEqual(t, mean, most.mean, name)
	}
}

// A HEIC is upright, as in pillow-heif; an AVIF is where that is asked for.
func TestHEIFOrientation(t *testing.T) {
	taken := time.Date(2021, 2, 3, 4, 5, 6, 0, time.Local)
	for _, c := range []struct {
		name    string
		options []Option
		width   int
		turned  bool
	}{
		{"turned.heic", nil, 60, false}, {"turned.heic", []Option{WithOrientation()}, 60, false},
		{"turned.avif", nil, 81, true}, {"turned.avif", []Option{WithOrientation()}, 60, false},
	} {
		m, err := DecodeFile(filepath.Join(testdata, "heif", c.name), c.options...)
		require.NoError(t, err, c.name)
		assert.Equal(t, c.width, m.Width(), c.name)
		assert.Equal(t, c.turned, m.Turned(), c.name)
		assert.True(t, taken.Equal(m.Taken()), "%s was taken %v", c.name, m.Taken())
	}
}

// The numbers are those that Pillow gives for irot and imir.
func TestHEIFOrientationOfProperties(t *testing.T) {
	for _, c := range []struct {
		properties  []heifBox
		orientation int
	}{
		{nil, 1},
		{[]heifBox{{"irot", []byte{1}}}, 8}, {[]heifBox{{"irot", []byte{2}}}, 3}, {[]heifBox{{"irot", []byte{3}}}, 6},
		{[]heifBox{{"imir", []byte{0}}}, 4}, {[]heifBox{{"imir", []byte{1}}}, 2},
		{[]heifBox{{"irot", []byte{1}}, {"imir", []byte{0}}}, 5}, {[]heifBox{{"irot", []byte{1}}, {"imir", []byte{1}}}, 7},
	} {
		f := &heifFile{primary: 1, properties: c.properties, items: map[int]*heifItem{1: {properties: []int{1, 2}}}}
		assert.Equal(t, c.orientation, f.orientation(), "%v", c.properties)
	}
}

// Of several EXIF items the first one counts that is of the primary image.
func TestHEIFTakesThePrimaryImagesEXIF(t *testing.T) {
	item := func(text string, of ...int) *heifItem {
		return &heifItem{kind: "Exif", data: append(make([]byte, 4), text...), describes: of}
	}
	f := &heifFile{primary: 1, items: map[int]*heifItem{
		1: {kind: "hvc1"}, 2: item("none"), 3: item("another", 7), 4: item("wanted", 7, 1), 5: item("late", 1),
	}}
	f.readEXIF()
	assert.Equal(t, "wanted", string(f.exif))

	data := readSample(t, "heif/turned.heic")
	require.Contains(t, string(data), "cdsc")
	m, err := Decode(bytes.NewReader(bytes.Replace(data, []byte("cdsc"), []byte("none"), 1)))
	require.NoError(t, err)
	assert.Zero(t, m.Taken())
}

// An AVIF with alpha is rewritten before it is decoded. The rewritten file still marks the
// essential properties, since a decoder must refuse a file with one that it does not know.
func TestHEIFKeepsWhatIsEssential(t *testing.T) {
	data := readSample(t, "heif/alpha.avif")
	for _, essential := range []int{0, heifEssential} {
		f, err := parseHEIF(data)
		require.NoError(t, err)
		primary := f.items[f.primary]
		require.Contains(t, primary.properties, 3|heifEssential, "its av1C")
		f.properties = append(f.properties, heifBox{"none", nil})
		primary.properties = append(primary.properties, len(f.properties)|essential)
		file := f.rewritten(data, "avif", f.primary, []string{"auxC"}, nil)
		again, err := parseHEIF(file)
		require.NoError(t, err)
		assert.Equal(t, primary.properties, again.items[f.primary].properties)
		_, err = Decode(bytes.NewReader(file))
		if essential == 0 {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, ErrCorrupt)
		}
	}
}

func TestHEIFRefuses(t *testing.T) {
	heicFile, avifFile := readSample(t, "heif/turned.heic"), readSample(t, "heif/turned.avif")
	sized := func(data []byte, side uint32) []byte {
		data = bytes.Clone(data)
		at := bytes.Index(data, []byte("ispe")) + 8
		binary.BigEndian.PutUint32(data[at:], side)
		binary.BigEndian.PutUint32(data[at+4:], side)
		return data
	}
	gridSized := func(data []byte) []byte {
		return bytes.Replace(data, []byte{0, 0, 1, 1, 0, 118, 0, 100}, []byte{0, 0, 1, 1, 0, 117, 0, 100}, 1)
	}
	windowed := func(data []byte) []byte {
		at := bytes.Index(data, []byte("clap")) + 4
		require.Less(t, 4, at)
		data[at+3]++ // more columns than there are
		data[at+3]++
		return data
	}
	for name, c := range map[string]struct {
		data []byte
		err  error
		says string
	}{
		"large HEIC":        {sized(heicFile, 20000), ErrTooLarge, "20000x20000"},
		"large AVIF":        {sized(avifFile, 20000), ErrTooLarge, "20000x20000"},
		"HEIC of no size":   {sized(heicFile, 0), ErrCorrupt, "0x0"},
		"HEIC's other size": {sized(heicFile, 500), ErrCorrupt, "whose video has"},
		"half a HEIC":       {heicFile[:len(heicFile)/2], ErrCorrupt, "truncated"},
		"half an AVIF":      {avifFile[:len(avifFile)/2], ErrCorrupt, "truncated"},
		"ftyp":              {heicFile[:24], ErrCorrupt, ""},
		"grid's own size":   {gridSized(readSample(t, "heif/grid.heic")), ErrCorrupt, "is a grid of 117x100"},
		"window":            {windowed(readSample(t, "heif/small.heic")), ErrCorrupt, "clean aperture"},
		"other items":       {bytes.ReplaceAll(heicFile, []byte("hvc1"), []byte("jpeg")), ErrUnsupportedFormat, "jpeg"},
	} {
		_, err := Decode(bytes.NewReader(c.data))
		require.ErrorIs(t, err, c.err, name)
		assert.ErrorContains(t, err, c.says, name)
		assert.NotContains(t, err.Error(), "\n", name)
	}
}

// What takes too much memory is refused before the decoder runs.
func TestHEIFMemoryIsBounded(t *testing.T) {
	f := &heifFile{primary: 1, items: map[int]*heifItem{1: {properties: []int{1}}}}
	f.properties = []heifBox{{"ispe", []byte{0, 0, 0, 0, 0, 0, 0x28, 0, 0, 0, 0x28, 0}}, {"av1C", []byte{0x81, 0, 0, 0}}}
	o := options{maxPixels: DefaultMaxPixels}
	need, err := f.memory(o)
	require.NoError(t, err)
	assert.Equal(t, 10240*10240*20+sandboxBase, need)
	f.properties[1].body[2] = 0x40 // ten bits
	_, err = f.memory(o)
	require.ErrorIs(t, err, ErrTooLarge)
	assert.ErrorContains(t, err, "decoding 10240x10240 takes 3200 MiB, the limit is 2048 MiB")
}

// What is decoded at once has a bound, and waiting for it ends with the context.
func TestHEIFSharesMemory(t *testing.T) {
	const all = 4
	m := newSharedMemory(all * memoryPart)
	var taken atomic.Int64
	var group sync.WaitGroup
	for i := range 64 {
		group.Go(func() {
			parts := int64(1 + i%all)
			done, err := m.take(t.Context(), int(parts)*memoryPart)
			if assert.NoError(t, err) {
				assert.LessOrEqual(t, taken.Add(parts), int64(all))
				taken.Add(-parts)
				done()
			}
		})
	}
	group.Wait()
	assert.Empty(t, m.parts)

	done, err := m.take(t.Context(), memoryPart)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error)
	go func() {
		_, err := m.take(ctx, all*memoryPart)
		waiting <- err
	}()
	cancel()
	require.ErrorIs(t, <-waiting, context.Canceled)
	done()
	assert.Empty(t, m.parts, "what was taken while waiting for the rest is given back")

	done, err = sandboxMemory.take(t.Context(), sandboxBytes)
	require.NoError(t, err)
	for _, name := range []string{"turned.heic", "turned.avif"} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			_, err := DecodeFile(filepath.Join(testdata, "heif", name), WithContext(ctx))
			waiting <- err
		}()
		cancel()
		require.ErrorIs(t, <-waiting, context.Canceled)
	}
	done()
	assert.Empty(t, sandboxMemory.parts)
}

// Damaged files give errors or pictures, and no panics.
func TestDamagedHEIF(t *testing.T) {
	for _, name := range []string{"turned.heic", "turned.avif"} {
		data := readSample(t, "heif/"+name)
		for at := 4; at < len(data); at += 1 + at/64 {
			bad := bytes.Clone(data)
			bad[at] ^= 0xff
			_, err := Decode(bytes.NewReader(bad))
			var panicked *guard.PanicError
			require.False(t, errors.As(err, &panicked), "%s, byte %d: %v", name, at, err)
			known := err == nil || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnsupportedFormat) || errors.Is(err, ErrTooLarge)
			require.True(t, known, "%s, byte %d: %v", name, at, err)
		}
	}
}

// Counts that no standard allows cost nothing.
func TestHostileHEIF(t *testing.T) {
	most := strings.Repeat("0", 32) + "1" + strings.Repeat("0", 32) // the largest code
	bits := "00000001" + strings.Repeat("0", 96) + "1" + "010" + "1" + "1" + "0" + "11" + most + "0" + "111" + "111111" + "0" + "00" + "0" + "1" + "1" + most
	var sps []byte
	for len(bits) >= 8 {
		v, err := strconv.ParseUint(bits[:8], 2, 8)
		require.NoError(t, err)
		sps, bits = append(sps, byte(v)), bits[8:]
	}
	_, err := readSPS(sps) // 2^38 steps if the counts were taken at their word
	require.ErrorIs(t, err, ErrCorrupt)
	_, err = boxes(bytes.Repeat([]byte("\x00\x00\x00\x08free"), 1<<20))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}
