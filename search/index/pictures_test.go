package index

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWhatIsKnownOfPictures(t *testing.T) {
	x, folder := newIndex(t), t.TempDir()
	const exif = "\xff\xe1\x00\x5cExif\x00\x00II*\x00\x08\x00\x00\x00\x02\x00" +
		"\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00" + "\x69\x87\x04\x00\x01\x00\x00\x00\x26\x00\x00\x00" + "\x00\x00\x00\x00" +
		"\x02\x00" + "\x03\x90\x02\x00\x14\x00\x00\x00\x40\x00\x00\x00" + "\x11\x90\x02\x00\x01\x00\x00\x00\x00\x00\x00\x00" +
		"2019:08:31 12:34:56\x00"
	data := picture(t, 10)
	path := put(t, slices.Concat(data[:2], []byte(exif), data[2:]), folder, "Föö.jpg")
	put(t, picture(t, 20), folder, "2020", "b.jpg")
	_, err := x.Update(t.Context(), []string{folder}, encoder(new(int)), UpdateOptions{})
	require.NoError(t, err)
	var p Picture
	for _, one := range all(t, x) {
		if one.Paths[0] == path {
			p = one
		}
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.True(t, info.ModTime().Equal(p.Modified))
	assert.Equal(t, info.Size(), p.Size)
	assert.Equal(t, [2]int{20, 40}, [2]int{p.Width, p.Height}, "upright")
	assert.Equal(t, time.Date(2019, 8, 31, 12, 34, 56, 0, time.Local), p.Taken)

	for name, f := range map[string]Filter{
		"time":    {Until: time.Date(2019, 9, 1, 0, 0, 0, 0, time.Local)},
		"name":    {Names: []string{"fÖ", ".JPG"}},
		"exclude": {Exclude: []string{filepath.Join(folder, "2020")}},
	} {
		ids, err := x.Select(t.Context(), f)
		require.NoError(t, err)
		assert.Equal(t, []int64{p.ID}, ids, name)
	}
	for name, f := range map[string]Filter{
		"since": {Since: time.Date(2020, 1, 1, 0, 0, 0, 0, time.Local)},
		"under": {Under: []string{filepath.Join(folder, "2020")}},
	} {
		ids, err := x.Select(t.Context(), f)
		require.NoError(t, err)
		assert.Len(t, ids, 1, name)
		assert.NotContains(t, ids, p.ID, name)
	}
	both, err := x.Select(t.Context(), Filter{})
	require.NoError(t, err)
	assert.Len(t, both, 2)
	none, err := x.Select(t.Context(), Filter{Under: []string{strings.TrimSuffix(filepath.Join(folder, "2020"), "0")}})
	require.NoError(t, err)
	assert.Empty(t, none)
}

func TestThumbnails(t *testing.T) {
	x, folder := newIndex(t), t.TempDir()
	img := image.NewRGBA(image.Rect(0, 0, 600, 300))
	for i := range 600 * 300 {
		img.Set(i%600, i/600, color.RGBA{uint8(i), uint8(i / 600), 100, 255})
	}
	var data bytes.Buffer
	require.NoError(t, jpeg.Encode(&data, img, nil))
	path := put(t, data.Bytes(), folder, "a.jpg")
	for i := range 40 {
		put(t, picture(t, uint8(6*i)), folder, "small", string(rune('0'+i))+".jpg")
	}
	updated(t, x, folder)
	for _, p := range all(t, x) {
		if p.Paths[0] == path {
			made, err := x.Thumbnail(t.Context(), p.ID)
			require.NoError(t, err)
			small, err := jpeg.Decode(bytes.NewReader(made))
			require.NoError(t, err)
			assert.Equal(t, image.Pt(256, 128), small.Bounds().Size())
			require.NoError(t, os.Remove(thumbnailsPath(x.Path())))
			require.NoError(t, x.cache.Close())
			x.cache = nil
			again, err := x.Thumbnail(t.Context(), p.ID)
			require.NoError(t, err, "made from the file")
			assert.NotEmpty(t, again)
			require.NoError(t, os.Remove(path))
			_, err = x.Thumbnail(t.Context(), p.ID)
			require.ErrorIs(t, err, os.ErrNotExist)
		}
	}
	_, err := x.Thumbnail(t.Context(), 12345)
	require.ErrorIs(t, err, os.ErrNotExist)
}
