package preprocess

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/guard"
)

// A decoder's panic is the error of its input, which is not called corrupt.
func TestPanicOfADecoder(t *testing.T) {
	was := formats
	defer func() { formats = was }()
	formats = append(formats[:len(formats):len(formats)], format{"Planted", "PANIC", func(data []byte, _ options) (*Image, error) {
		return nil, errors.New(string(data[len(data)]))
	}})
	img, err := Decode(bytes.NewReader([]byte("PANIC here")))
	assert.Nil(t, img)
	var caught *guard.PanicError
	require.ErrorAs(t, err, &caught)
	assert.NotErrorIs(t, err, ErrCorrupt)
	assert.Regexp(t, `^Planted: internal error, please report it: .*index out of range.* \(guard_test\.go:\d+\)$`, err.Error())

	path := t.TempDir() + "/planted.png"
	require.NoError(t, os.WriteFile(path, []byte("PANIC"), 0o600))
	_, err = DecodeFile(path)
	require.ErrorAs(t, err, &caught)
	assert.ErrorContains(t, err, path)
}

func TestPanicOfATransform(t *testing.T) {
	tr, err := New(DefaultConfig())
	require.NoError(t, err)
	broken := &Image{mode: modeRGB, width: 9, height: 9} // has no pixels
	var caught *guard.PanicError
	_, err = tr.Pixels(broken)
	assert.ErrorAs(t, err, &caught)
	_, err = tr.Apply(broken)
	assert.ErrorAs(t, err, &caught)
	assert.ErrorAs(t, tr.ApplyInto(make([]float32, 3*224*224), broken), &caught)
}

// panicking is an image of a type that FromImage does not know.
type panicking struct{ image.Rectangle }

func (p panicking) Bounds() image.Rectangle { return p.Rectangle }
func (panicking) ColorModel() color.Model   { return color.GrayModel }
func (panicking) At(x, y int) color.Color   { panic("no such pixel") }

func TestPanicOfAnImage(t *testing.T) {
	tr, err := New(DefaultConfig())
	require.NoError(t, err)
	square := image.Rect(0, 0, 4, 4)
	for _, src := range []image.Image{panicking{square}, (*image.Gray)(nil), &image.RGBA{Rect: square, Stride: 16}} {
		m := FromImage(src)
		assert.Zero(t, m.Width())
		assert.Empty(t, m.RGB())
		_, err := tr.Pixels(m)
		var caught *guard.PanicError
		assert.ErrorAs(t, err, &caught, "%T", src)
	}
}
