package scene

import (
	"image"
	"image/color"
	"unsafe"

	"github.com/rajveermalviya/go-webgpu/wgpu"
	"golang.org/x/image/math/fixed"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/gpu/internal/raw"
)

// instanceFloats is the size of Instance in scene.wgsl.
const instanceFloats = 16

// The kinds of Instance.
const (
	kindColor = iota
	kindPicture
	kindGlyph
)

// vertices are the instances of a scene, on both sides.
type vertices struct {
	data   []float32
	buffer *wgpu.Buffer
	bytes  int64
}

func (v *vertices) len() int { return len(v.data) / instanceFloats }

func (v *vertices) add(at image.Rectangle, from image.Point, step [2]float32, c [4]float32, radius, blur float32, kind int) {
	v.data = append(v.data,
		float32(at.Min.X), float32(at.Min.Y), float32(at.Dx()), float32(at.Dy()),
		float32(from.X), float32(from.Y), step[0], step[1],
		c[0], c[1], c[2], c[3],
		radius, blur, float32(kind), 0)
}

// upload fills the buffer, a larger one where it is too small. The caller is inside Call.
func (v *vertices) upload(p *Painter) error {
	need := int64(4 * len(v.data))
	if need == 0 {
		return nil
	}
	if limit := int64(min(p.limits.MaxBufferSize, 1<<40)); need > limit {
		return &gpu.LimitError{What: "bytes of a scene's shapes", Value: need, Limit: limit}
	}
	if need > v.bytes {
		v.release(p.gpu)
		if err := p.gpu.Reserve(need); err != nil {
			return err
		}
		v.bytes = need
		var err error
		v.buffer, err = p.gpu.Device.CreateBuffer(&wgpu.BufferDescriptor{Size: uint64(need), Usage: wgpu.BufferUsage_Vertex | wgpu.BufferUsage_CopyDst})
		if err != nil {
			return err
		}
		if err := p.gpu.Fault(); err != nil { // out of memory: the buffer is there, but invalid
			return err
		}
	}
	return p.gpu.Queue.WriteBuffer(v.buffer, 0, unsafe.Slice((*byte)(unsafe.Pointer(&v.data[0])), need))
}

// release is to be called inside Call.
func (v *vertices) release(d *raw.Device) {
	release(v.buffer)
	d.Free(v.bytes)
	v.buffer, v.bytes = nil, 0
}

// appendShape adds the instances of a shape whose glyphs are in the atlas.
func (p *Painter) appendShape(s *Scene, sh *shape) {
	c := premultiplied(sh.color)
	switch {
	case sh.picture != nil:
		size := sh.picture.Rect.Size()
		step := [2]float32{float32(size.X) / float32(sh.at.Dx()), float32(size.Y) / float32(sh.at.Dy())}
		p.instances.add(sh.at, image.Point{}, step, c, sh.radius, sh.blur, kindPicture)
	case sh.text != "":
		sh.eachGlyph(s.Size.X, func(k glyphKey, at image.Point) bool {
			if g := p.atlas.glyphs[k]; !g.in.Empty() {
				p.instances.add(image.Rectangle{Max: g.in.Size()}.Add(at).Add(g.offset), g.in.Min, [2]float32{1, 1}, c, 0, 0, kindGlyph)
			}
			return true
		})
	default:
		p.instances.add(sh.at, image.Point{}, [2]float32{}, c, sh.radius, sh.blur, kindColor)
	}
}

// eachGlyph calls f with the glyphs of a text and the pixels where their dots are, as far
// as the target reaches and until f returns false.
func (sh *shape) eachGlyph(width int, f func(k glyphKey, at image.Point) bool) {
	faces.lock.Lock()
	defer faces.lock.Unlock()
	face := sh.font.face()
	x, y, before := fixed.I(sh.at.Min.X), baseline(face, sh.at), rune(-1)
	for _, r := range sh.text {
		if before >= 0 {
			x += face.Kern(before, r)
		}
		place := (x + fixed.Int26_6(32/phases)) & ^fixed.Int26_6(64/phases-1)
		if place.Floor() > width || !f(glyphKey{sh.font, r, int(place&63) * phases / 64}, image.Pt(place.Floor(), y)) {
			return
		}
		x += advance(face, -1, r)
		before = r
	}
}

// premultiplied is c from 0 to 1, as textures have it.
func premultiplied(c color.NRGBA) [4]float32 {
	a := float32(c.A) / 255
	return [4]float32{float32(c.R) / 255 * a, float32(c.G) / 255 * a, float32(c.B) / 255 * a, a}
}
