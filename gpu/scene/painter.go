package scene

import (
	"context"
	_ "embed"
	"errors"
	"image"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/gpu/internal/raw"
)

//go:embed scene.wgsl
var source string

// Painter draws scenes on textures of one format. It keeps on the GPU what scenes
// have in common: glyphs, and the pictures that were drawn last, as many as fit
// PictureBytes, but at least those of one scene. It belongs to one goroutine.
type Painter struct {
	PictureBytes int64

	gpu    *raw.Device
	format wgpu.TextureFormat
	limits wgpu.Limits

	module         *wgpu.ShaderModule
	common, single *wgpu.BindGroupLayout // of what all shapes share, and of a picture
	layout         *wgpu.PipelineLayout
	pipeline       *wgpu.RenderPipeline
	sampler        *wgpu.Sampler
	uniforms       *wgpu.Buffer
	group          *wgpu.BindGroup // of common, nil until the atlas has a texture

	atlas     *atlas
	pictures  pictures
	instances vertices
	draws     []drawCall
}

// drawCall is a run of instances that need no other picture.
type drawCall struct {
	first, n int
	picture  *texture
}

// NewPainter makes a painter, which the caller closes. The caller is not inside Call.
func NewPainter(ctx context.Context, d *raw.Device, format wgpu.TextureFormat) (*Painter, error) {
	p := &Painter{PictureBytes: 128 << 20, gpu: d, format: format, atlas: newAtlas()}
	p.pictures.byImage = map[*image.RGBA]*texture{}
	err := d.Call(ctx, func() error {
		p.limits = d.Device.GetLimits().Limits
		return errors.Join(p.compile(), d.Fault())
	})
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Paint draws a scene on a texture of its size, the format of the painter. The caller is
// inside Alone, and waits with Finish before it paints again or closes the painter.
func (p *Painter) Paint(ctx context.Context, s *Scene, target *wgpu.TextureView) error {
	if err := p.checkSize(s.Size); err != nil {
		return err
	}
	if err := p.gpu.Call(ctx, func() error { return p.prepare(s) }); err != nil {
		return err
	}
	return p.gpu.Submit(ctx, func(e *wgpu.CommandEncoder) error { return p.record(e, s, target) })
}

// checkSize refuses textures that the device does not allow.
func (p *Painter) checkSize(size image.Point) error {
	limit := int64(p.limits.MaxTextureDimension2D)
	for _, side := range []int{size.X, size.Y} {
		if side < 1 || int64(side) > limit {
			return &gpu.LimitError{What: "pixels of a picture's side", Value: int64(side), Limit: limit}
		}
	}
	return nil
}

// prepare brings to the GPU what the scene needs. The caller is inside Call, and the GPU
// is done with the scene before.
func (p *Painter) prepare(s *Scene) error {
	p.pictures.frame++
	p.instances.data, p.draws = p.instances.data[:0], p.draws[:0]
	blank, err := p.blank()
	if err != nil {
		return err
	}
	if err := p.rasterize(s); err != nil {
		return err
	}
	for i := range s.shapes {
		sh, picture := &s.shapes[i], (*texture)(nil)
		if sh.picture != nil {
			if picture, err = p.upload(sh.picture); err != nil {
				return err
			}
		}
		first := p.instances.len()
		p.appendShape(s, sh)
		n := p.instances.len() - first
		if n == 0 {
			continue
		}
		if last := len(p.draws) - 1; last >= 0 && (picture == nil || p.draws[last].picture == picture) {
			p.draws[last].n += n
		} else {
			if picture == nil {
				picture = blank
			}
			p.draws = append(p.draws, drawCall{first, n, picture})
		}
	}
	p.pictures.trim(p, p.PictureBytes)
	if err := p.writeUniforms(s.Size); err != nil {
		return err
	}
	return p.instances.upload(p)
}

// record encodes the drawing.
func (p *Painter) record(e *wgpu.CommandEncoder, s *Scene, target *wgpu.TextureView) error {
	c := premultiplied(s.Background)
	pass := e.BeginRenderPass(&wgpu.RenderPassDescriptor{
		ColorAttachments: []wgpu.RenderPassColorAttachment{{
			View:       target,
			LoadOp:     wgpu.LoadOp_Clear,
			StoreOp:    wgpu.StoreOp_Store,
			ClearValue: wgpu.Color{R: float64(c[0]), G: float64(c[1]), B: float64(c[2]), A: float64(c[3])},
		}},
	})
	defer pass.Release()
	if p.instances.len() > 0 {
		pass.SetPipeline(p.pipeline)
		pass.SetBindGroup(0, p.group, nil)
		pass.SetVertexBuffer(0, p.instances.buffer, 0, uint64(4*len(p.instances.data)))
		for _, d := range p.draws {
			pass.SetBindGroup(1, d.picture.group, nil)
			pass.Draw(6, uint32(d.n), 0, uint32(d.first))
		}
	}
	return pass.End()
}

// Close frees what the painter has on the GPU, which is done with it.
func (p *Painter) Close() {
	_ = p.gpu.Call(context.Background(), func() error { // what is lost is never freed
		p.pictures.trim(p, -1)
		p.instances.release(p.gpu)
		p.atlas.release(p.gpu)
		for _, object := range []interface{ Release() }{p.group, p.uniforms, p.sampler, p.pipeline, p.layout, p.single, p.common, p.module} {
			release(object)
		}
		return nil
	})
}
