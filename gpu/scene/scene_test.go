package scene

import (
	"context"
	"image"
	"image/color"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rajveermalviya/go-webgpu/wgpu"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/gpu/internal/raw"
)

var (
	black = color.NRGBA{A: 0xff}
	white = color.NRGBA{0xff, 0xff, 0xff, 0xff}
	red   = color.NRGBA{0xff, 0, 0, 0xff}
	half  = color.NRGBA{0xff, 0xff, 0xff, 0x80}
)

// noise is an opaque picture of random colours.
func noise(size image.Point) *image.RGBA {
	img := image.NewRGBA(image.Rectangle{Max: size})
	r := rand.New(rand.NewPCG(1, uint64(size.X)))
	for i := range img.Pix {
		img.Pix[i] = byte(r.Uint32()) | byte(i%4/3*255)
	}
	return img
}

// open opens a device with the limits that every GPU has, and a painter on it.
func open(t *testing.T, o gpu.Options) (*gpu.Device, *Painter) {
	t.Helper()
	o.DefaultLimits = true
	d, err := gpu.Open(o)
	require.NoError(t, err)
	before := d.MemoryInUse()
	borrowed, err := raw.Borrow(d)
	require.NoError(t, err)
	p, err := NewPainter(t.Context(), borrowed, wgpu.TextureFormat_RGBA8Unorm)
	require.NoError(t, err)
	t.Cleanup(func() {
		p.Close()
		assert.Equal(t, before, d.MemoryInUse(), "all memory given back")
		borrowed.Close()
		require.NoError(t, d.Close())
	})
	return d, p
}

func render(t *testing.T, p *Painter, s *Scene) *image.RGBA {
	t.Helper()
	img, err := p.render(t.Context(), s)
	require.NoError(t, err)
	require.Equal(t, s.Size, img.Rect.Size())
	return img
}

func TestShapesAreWhereTheyAreSaidToBe(t *testing.T) {
	_, p := open(t, gpu.Options{})
	s := &Scene{Size: image.Pt(65, 41), Background: black}
	s.Fill(image.Rect(3, 5, 20, 30), red, 0)
	s.Fill(image.Rect(10, 10, 40, 20), half, 0) // over it
	s.Fill(image.Rect(50, -10, 100, 10), white, 0)
	s.Fill(image.Rect(1, 1, 1, 40), white, 0) // empty
	s.Text(image.Rect(30, 30, 60, 40), Font{Size: 12}, white, "")
	img := render(t, p, s)
	for y := range s.Size.Y {
		for x := range s.Size.X {
			want := black
			at := image.Pt(x, y)
			switch {
			case at.In(image.Rect(10, 10, 20, 20)):
				want = color.NRGBA{0xff, 0x80, 0x80, 0xff}
			case at.In(image.Rect(3, 5, 20, 30)):
				want = red
			case at.In(image.Rect(10, 10, 40, 20)):
				want = color.NRGBA{0x80, 0x80, 0x80, 0xff}
			case at.In(image.Rect(50, 0, 65, 10)):
				want = white
			}
			require.Equal(t, color.RGBA(want), img.RGBAAt(x, y), "%v", at)
		}
	}
}

func TestCornersAreRound(t *testing.T) {
	_, p := open(t, gpu.Options{})
	s := &Scene{Size: image.Pt(60, 60), Background: black}
	s.Fill(image.Rect(10, 10, 50, 50), white, 100) // as round as can be: a circle
	img := render(t, p, s)
	sum := 0.0
	for i := 0; i < len(img.Pix); i += 4 {
		sum += float64(img.Pix[i]) / 255
	}
	assert.InDelta(t, 3.14159265*20*20, sum, 8)
	assert.Zero(t, img.RGBAAt(11, 11).R)
	assert.EqualValues(t, 255, img.RGBAAt(30, 12).R)

	s = &Scene{Size: image.Pt(60, 60), Background: black}
	s.Shadow(image.Rect(20, 20, 40, 40), white, 2, 8)
	img = render(t, p, s)
	assert.EqualValues(t, 255, img.RGBAAt(30, 30).R)
	assert.InDelta(t, 127, img.RGBAAt(20, 30).R, 20, "half at the edge")
	assert.Greater(t, img.RGBAAt(16, 30).R, img.RGBAAt(13, 30).R)
	assert.Zero(t, img.RGBAAt(11, 30).R)
}

func TestPicturesKeepEveryPixel(t *testing.T) {
	_, p := open(t, gpu.Options{})
	for _, size := range []image.Point{{1, 1}, {7, 3}, {65, 197}, {256, 64}} {
		img := noise(size)
		s := &Scene{Size: size}
		s.Picture(img.Rect, img, 0)
		assert.Equal(t, img.Pix, render(t, p, s).Pix, "%v", size)
	}
	part := noise(image.Pt(90, 50)).SubImage(image.Rect(20, 10, 50, 40)).(*image.RGBA)
	s := &Scene{Size: image.Pt(40, 40), Background: black}
	s.Picture(image.Rect(5, 6, 35, 36), part, 0)
	img := render(t, p, s)
	assert.Equal(t, part.RGBAAt(20, 10), img.RGBAAt(5, 6))
	assert.Equal(t, part.RGBAAt(49, 39), img.RGBAAt(34, 35))
	assert.Equal(t, color.RGBA{A: 0xff}, img.RGBAAt(35, 35))
}

func TestPicturesAreStretched(t *testing.T) {
	_, p := open(t, gpu.Options{})
	stripes := image.NewRGBA(image.Rect(0, 0, 64, 64)) // one pixel wide: shrunk they are grey
	for i := range stripes.Pix {
		stripes.Pix[i] = byte(i/4%2*255) | byte(i%4/3*255)
	}
	s := &Scene{Size: image.Pt(96, 128), Background: black}
	s.Picture(image.Rect(0, 0, 32, 32), stripes, 0)
	s.Picture(image.Rect(0, 64, 64, 128), stripes, 8)
	img := render(t, p, s)
	for x := range 32 {
		require.InDelta(t, 127, img.RGBAAt(x, 16).R, 3)
	}
	assert.EqualValues(t, 255, img.RGBAAt(31, 90).R)
	assert.Zero(t, img.RGBAAt(63, 64).R, "a round corner")
}

func TestTextIsDrawnAsWideAsItSays(t *testing.T) {
	_, p := open(t, gpu.Options{})
	for _, f := range []Font{{Size: 11}, {Size: 24, Medium: true}, {Size: 61.5}} {
		for _, text := range []string{"Sunset at the beach", "ПРИВЕТ Ωmega", "日本語 \x00\xff", "iiii"} {
			s := &Scene{Size: image.Pt(900, 100), Background: black}
			at := image.Rect(100, 20, 110, 80)
			s.Text(at, f, white, text)
			img := render(t, p, s)
			var ink image.Rectangle
			for y := range s.Size.Y {
				for x := range s.Size.X {
					if img.RGBAAt(x, y).R > 0 {
						ink = ink.Union(image.Rect(x, y, x+1, y+1))
					}
				}
			}
			width := f.Width(text)
			assert.InDelta(t, 100, ink.Min.X, 0.15*f.Size+1, "%v %q", f, text)
			assert.InDelta(t, 100+width, ink.Max.X, 0.35*f.Size+1, "%v %q", f, text)
			assert.True(t, ink.In(at.Inset(-int(f.Size)/2).Union(image.Rect(0, 20, 900, 80))), "%v %q %v", f, text, ink)
		}
	}
}

func TestShorten(t *testing.T) {
	f := Font{Size: 14}
	assert.Equal(t, "short", f.Shorten("short", 100))
	assert.Empty(t, f.Shorten("long", 3))
	assert.Empty(t, f.Shorten("", 0))
	for width := range 200 {
		cut := f.Shorten(strings.Repeat("Ave Ω ", 20), width)
		assert.LessOrEqual(t, f.Width(cut), width+1)
		assert.True(t, cut == "" && width < 20 || strings.HasSuffix(cut, "…"), "%d %q", width, cut)
	}
}

// An atlas that is too small for a scene grows, and one that is full begins anew.
func TestAtlasGrowsAndBeginsAnew(t *testing.T) {
	_, p := open(t, gpu.Options{})
	for round := range 3 {
		s := &Scene{Size: image.Pt(1000, 400), Background: black}
		for i := range 12 {
			text := ""
			for r := range 30 {
				text += string(rune('A' + 60*round + (r+i)%60))
			}
			s.Text(image.Rect(0, 30*i, 10, 30*i+30), Font{Size: 100 + 10*float64(i)}, white, text)
		}
		img := render(t, p, s)
		q, err := NewPainter(t.Context(), p.gpu, wgpu.TextureFormat_RGBA8Unorm)
		require.NoError(t, err)
		assert.Equal(t, render(t, q, s).Pix, img.Pix, "as a new painter draws it")
		q.Close()
	}
	assert.Greater(t, p.atlas.side, atlasSide)
	p.atlas.begin(maxAtlasSide)
	s := &Scene{Size: image.Pt(8000, 400), Background: black}
	for i := range 256 {
		s.Text(image.Rect(0, 0, 8000, 400), Font{Size: 200 + float64(i)/5}, white, "ABCDEFGHIJKLMNOPQRSTUVW")
	}
	_, err := p.render(t.Context(), s)
	var limit *gpu.LimitError
	require.ErrorAs(t, err, &limit)
}

func TestPicturesStayWhileTheyAreDrawn(t *testing.T) {
	_, p := open(t, gpu.Options{})
	p.PictureBytes = 3 * 4 * 64 * 64
	imgs := make([]*image.RGBA, 6)
	for i := range imgs {
		imgs[i] = noise(image.Pt(64, 64))
	}
	draw := func(which ...int) {
		s := &Scene{Size: image.Pt(64, 64)}
		for _, i := range which {
			s.Picture(image.Rect(0, 0, 64, 64), imgs[i], 0)
		}
		assert.Equal(t, imgs[which[len(which)-1]].Pix, render(t, p, s).Pix)
	}
	has := func() (there []int) {
		for i, img := range imgs {
			if p.pictures.byImage[img] != nil {
				there = append(there, i)
			}
		}
		return there
	}
	draw(0)
	draw(1, 2)
	assert.Equal(t, []int{0, 1, 2}, has())
	texture := p.pictures.byImage[imgs[0]]
	draw(0)
	assert.Same(t, texture, p.pictures.byImage[imgs[0]], "not uploaded again")
	draw(3)
	draw(4)
	assert.Equal(t, []int{0, 3, 4}, has())
	draw(0, 1, 2, 3, 4, 5)
	assert.Len(t, has(), 6, "a scene's own stay")
}

func TestLimits(t *testing.T) {
	d, p := open(t, gpu.Options{MaxMemory: 9 << 20})
	var limit *gpu.LimitError
	for _, size := range []image.Point{{}, {-1, 5}, {8193, 1}, {1, 1 << 40}} {
		_, err := Render(t.Context(), d, &Scene{Size: size})
		require.ErrorAs(t, err, &limit, "%v", size)
	}
	wide := &Scene{Size: image.Pt(8, 8)}
	wide.Picture(image.Rect(0, 0, 8, 8), noise(image.Pt(8193, 1)), 0)
	_, err := p.render(t.Context(), wide)
	require.ErrorAs(t, err, &limit)
	assert.ErrorContains(t, err, "8192")

	big := &Scene{Size: image.Pt(8, 8)}
	big.Picture(image.Rect(0, 0, 8, 8), noise(image.Pt(2048, 2048)), 0)
	_, err = p.render(t.Context(), big)
	var memory *gpu.MemoryError
	require.ErrorAs(t, err, &memory)
	for range 3 { // each pushes the one before out
		s := &Scene{Size: image.Pt(8, 8)}
		s.Picture(image.Rect(0, 0, 8, 8), noise(image.Pt(1024, 1024)), 0)
		render(t, p, s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.render(ctx, &Scene{Size: image.Pt(8, 8)})
	require.ErrorIs(t, err, context.Canceled)
}

func TestLostDevice(t *testing.T) {
	d, err := gpu.Open(gpu.Options{})
	require.NoError(t, err)
	borrowed, err := raw.Borrow(d)
	require.NoError(t, err)
	p, err := NewPainter(t.Context(), borrowed, wgpu.TextureFormat_RGBA8Unorm)
	require.NoError(t, err)
	_ = borrowed.Lose(context.DeadlineExceeded)
	_, err = p.render(t.Context(), &Scene{Size: image.Pt(8, 8)})
	require.ErrorIs(t, err, gpu.ErrLost)
	p.Close()
	borrowed.Close()
	_ = d.Close()
}
