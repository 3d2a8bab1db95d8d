package gallery

import (
	"errors"
	"image"
	"image/color"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/gpu/scene"
	"github.com/clip-wgpu/clip-wgpu/gpu/window"
)

func resize(width, height int, scale float64) window.Resize {
	return window.Resize{Size: image.Pt(width, height), Scale: scale}
}

// colorOf is a colour for each picture.
func colorOf(id int64) color.RGBA {
	return color.RGBA{byte(7 * id), byte(50 + 3*id), byte(200 - id), 0xff}
}

// thumbnail is a picture of one colour.
func thumbnail(id int64, size image.Point) Thumbnail {
	img := image.NewRGBA(image.Rectangle{Max: size})
	c := colorOf(id)
	for i := range img.Pix {
		img.Pix[i] = [4]byte{c.R, c.G, c.B, c.A}[i%4]
	}
	return Thumbnail{ID: id, Image: img}
}

func drawn(t *testing.T, d *gpu.Device, g *Gallery) *image.RGBA {
	t.Helper()
	img, err := scene.Render(t.Context(), d, g.Scene())
	require.NoError(t, err)
	return img
}

// What is drawn: the pictures' pixels are where the layout says, in the order of the hits.
func TestPicturesAreDrawnInTheirTiles(t *testing.T) {
	d, err := gpu.Open(gpu.Options{DefaultLimits: true})
	require.NoError(t, err)
	defer d.Close()
	for _, size := range []window.Resize{resize(1000, 720, 1), resize(640, 480, 1), resize(1500, 900, 1.75)} {
		g := opened(t, 40)
		g.Handle(size)
		g.Handle(window.Scroll(1))
		wanted := g.Wanted()
		first, end := g.inSight()
		require.Greater(t, end, first)
		require.Equal(t, g.found.Hits[first].ID, wanted[0])
		for i, id := range wanted {
			g.Handle(thumbnail(id, []image.Point{{256, 256}, {256, 120}, {90, 256}}[i%3]))
		}
		assert.Empty(t, g.Wanted())
		img := drawn(t, d, g)
		seen := 0
		for i := first; i < end; i++ {
			tile := g.Tile(i)
			middle := tile.Min.Add(tile.Size().Div(2))
			if middle.In(g.gridBox().Inset(8)) {
				seen++
				assert.Equal(t, colorOf(g.found.Hits[i].ID), img.RGBAAt(middle.X, middle.Y), "%v: hit %d", size, i)
			}
		}
		assert.Greater(t, seen, 2)
		next := g.Tile(first + 1)
		assert.NotEqual(t, colorOf(g.found.Hits[first+1].ID), img.RGBAAt(next.Min.X-2, next.Min.Y+next.Dy()/2), "beside it")
		other := opened(t, 40)
		other.Handle(size)
		assert.Equal(t, color.RGBA(tileColor), drawn(t, d, other).RGBAAt(other.Tile(0).Min.X+40, other.Tile(0).Min.Y+40), "nothing came yet")
	}
}

// Bars are as long as the scores say, from the best one's to the worst one's.
func TestBarsShowScores(t *testing.T) {
	d, err := gpu.Open(gpu.Options{})
	require.NoError(t, err)
	defer d.Close()
	g := opened(t, 5)
	img := drawn(t, d, g)
	for i, want := range []float64{1, 0.75, 0.5, 0.25, 0} {
		cell := g.cell(i)
		length := 0
		for x := cell.Min.X; x < cell.Max.X; x++ {
			if img.RGBAAt(x, cell.Max.Y-2) == color.RGBA(accentColor) {
				length++
			}
		}
		assert.InDelta(t, want*float64(cell.Dx()), float64(length), 4, "hit %d", i)
	}
}

// Any size, and anything in the texts, makes a scene that can be drawn.
func TestEverythingCanBeDrawn(t *testing.T) {
	d, err := gpu.Open(gpu.Options{DefaultLimits: true})
	require.NoError(t, err)
	defer d.Close()
	long := strings.Repeat("Ω日\x00\xff\n", 2000)
	for _, size := range []window.Resize{resize(1, 1, 1), resize(30, 900, 1), resize(900, 30, 3), resize(300, 200, 0.1), resize(120, 90, 4)} {
		g := New(About{long, long, 1234567})
		g.Handle(size)
		drawn(t, d, g)
		g.Handle(window.Text(long))
		g.picture = long
		list := hits(30)
		for i := range list {
			list[i].Path = long
		}
		g.Handle(Found{Query: 2, Hits: list, Ranked: true})
		g.Handle(Thumbnail{ID: list[0].ID, Err: errors.New("gone")})
		g.Handle(thumbnail(list[1].ID, image.Pt(1, 256)))
		for _, e := range []any{window.Click{At: size.Size.Div(2)}, press(window.KeyDown), press(window.KeyEnd), window.Scroll(3), press(window.KeyPageUp),
			Progress{Folder: long, Total: 5, Rate: 1}, Found{Query: 3, Err: errors.New(long)}} {
			g.Handle(e)
			drawn(t, d, g)
		}
	}
}

// Thumbnails that are long out of sight are forgotten, and asked for again.
func TestThumbnailsAreBounded(t *testing.T) {
	g := opened(t, 40)
	g.Scene()
	g.Handle(thumbnail(g.found.Hits[0].ID, image.Pt(2, 2)))
	for id := range int64(maxThumbs) {
		g.Scene()
		g.Handle(thumbnail(10000+id, image.Pt(2, 2)))
	}
	assert.Len(t, g.thumbs.byID, maxThumbs)
	assert.NotContains(t, g.Wanted(), g.found.Hits[0].ID, "in sight all the time")
	g.Handle(thumbnail(g.found.Hits[1].ID, image.Pt(2, 2)))
	assert.NotContains(t, g.thumbs.byID, int64(10000))
}
