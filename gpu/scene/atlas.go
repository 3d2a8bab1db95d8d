package scene

import (
	"image"
	"image/draw"

	"github.com/rajveermalviya/go-webgpu/wgpu"
	"golang.org/x/image/math/fixed"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/gpu/internal/raw"
)

// phases is between how many places within a pixel a glyph's beginning is rounded.
const phases = 4

// glyphKey is a rune as it is drawn in one of the places within a pixel.
type glyphKey struct {
	font  Font
	r     rune
	phase int
}

// glyph is where a glyph lies in the atlas, and how far from its dot it is drawn.
type glyph struct {
	in     image.Rectangle // empty for a space
	offset image.Point
}

// atlas is a texture of glyphs, in rows from the top. It grows when it is full, and begins
// anew when it has its largest size.
type atlas struct {
	pixels  *image.Alpha
	glyphs  map[glyphKey]glyph
	next    image.Point // where the next glyph goes
	row     int         // height of the row that it goes to
	changed image.Rectangle

	texture *wgpu.Texture
	view    *wgpu.TextureView
	side    int // of texture
}

const (
	atlasSide    = 512
	maxAtlasSide = 4096 // every device allows twice as much
)

func newAtlas() *atlas {
	a := &atlas{}
	a.begin(atlasSide)
	return a
}

// begin makes the atlas empty.
func (a *atlas) begin(side int) {
	if a.pixels == nil || a.pixels.Rect.Dx() != side {
		a.pixels = image.NewAlpha(image.Rect(0, 0, side, side))
	}
	a.glyphs, a.next, a.row, a.changed = map[glyphKey]glyph{}, image.Point{}, 0, image.Rectangle{}
}

// place finds room for a glyph with a free pixel beside it; ok is false when there is none.
func (a *atlas) place(size image.Point) (at image.Point, ok bool) {
	side := a.pixels.Rect.Dx()
	if a.next.X+size.X > side {
		a.next, a.row = image.Pt(0, a.next.Y+a.row), 0
	}
	at = a.next
	if at.X+size.X > side || at.Y+size.Y > side {
		return at, false
	}
	a.next.X += size.X + 1
	a.row = max(a.row, size.Y+1)
	return at, true
}

// add draws a glyph, unless there is no room for it. The caller holds the faces' lock.
func (a *atlas) add(k glyphKey) (ok bool) {
	dot := fixed.Point26_6{X: fixed.Int26_6(k.phase * 64 / phases)}
	at, mask, corner, _, _ := k.font.face().Glyph(dot, k.r) // a box where the font lacks it
	if at.Empty() || mask == nil {
		a.glyphs[k] = glyph{}
		return true
	}
	to, ok := a.place(at.Size())
	if !ok {
		return false
	}
	in := image.Rectangle{to, to.Add(at.Size())}
	draw.Draw(a.pixels, in, mask, corner, draw.Src)
	a.glyphs[k] = glyph{in, at.Min}
	a.changed = a.changed.Union(in)
	return true
}

// fill adds all glyphs of a scene, unless there is no room for them.
func (a *atlas) fill(s *Scene) (ok bool) {
	for i := range s.shapes {
		full := false
		if s.shapes[i].text == "" {
			continue
		}
		s.shapes[i].eachGlyph(s.Size.X, func(k glyphKey, _ image.Point) bool {
			if _, ok := a.glyphs[k]; !ok {
				full = !a.add(k)
			}
			return !full
		})
		if full {
			return false
		}
	}
	return true
}

// rasterize brings the scene's glyphs to the GPU. The caller is inside Call.
func (p *Painter) rasterize(s *Scene) error {
	a := p.atlas
	for fresh := false; !a.fill(s); fresh = true {
		side := a.pixels.Rect.Dx()
		if side == maxAtlasSide && fresh {
			return &gpu.LimitError{What: "pixels of a glyph atlas's side, for the letters of one scene,", Value: 2 * maxAtlasSide, Limit: maxAtlasSide}
		}
		a.begin(min(2*side, maxAtlasSide))
	}
	if a.side != a.pixels.Rect.Dx() {
		if err := p.newAtlasTexture(); err != nil {
			return err
		}
	}
	if a.changed.Empty() {
		return nil
	}
	rows := image.Rect(0, a.changed.Min.Y, a.side, a.changed.Max.Y)
	a.changed = image.Rectangle{}
	return p.gpu.Queue.WriteTexture(
		&wgpu.ImageCopyTexture{Texture: a.texture, Origin: wgpu.Origin3D{Y: uint32(rows.Min.Y)}, Aspect: wgpu.TextureAspect_All},
		a.pixels.Pix[rows.Min.Y*a.pixels.Stride:rows.Max.Y*a.pixels.Stride],
		&wgpu.TextureDataLayout{BytesPerRow: uint32(a.pixels.Stride), RowsPerImage: uint32(rows.Dy())},
		&wgpu.Extent3D{Width: uint32(rows.Dx()), Height: uint32(rows.Dy()), DepthOrArrayLayers: 1})
}

// newAtlasTexture makes a texture of the atlas's size. The caller is inside Call.
func (p *Painter) newAtlasTexture() (err error) {
	a := p.atlas
	a.release(p.gpu)
	release(p.group)
	p.group = nil
	side := a.pixels.Rect.Dx()
	if err := p.gpu.Reserve(int64(side * side)); err != nil {
		return err
	}
	a.side = side
	if a.texture, a.view, err = p.newTexture(a.pixels.Rect.Size(), wgpu.TextureFormat_R8Unorm); err != nil {
		return err
	}
	a.changed = image.Rect(0, 0, side, side)
	p.group, err = p.gpu.Device.CreateBindGroup(&wgpu.BindGroupDescriptor{Layout: p.common, Entries: []wgpu.BindGroupEntry{
		{Binding: 0, Buffer: p.uniforms, Size: uniformBytes},
		{Binding: 1, TextureView: a.view},
		{Binding: 2, Sampler: p.sampler},
	}})
	return err
}

// release is to be called inside Call.
func (a *atlas) release(d *raw.Device) {
	release(a.view)
	release(a.texture)
	d.Free(int64(a.side * a.side))
	a.texture, a.view, a.side = nil, nil, 0
}
