//go:build glfw || darwin || windows

package window

import (
	"context"
	"image"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"github.com/clip-wgpu/clip-wgpu/gpu/internal/raw"
)

// paintSource copies a texture to a target of the same size, texel by pixel.
const paintSource = `
@group(0) @binding(0) var picture: texture_2d<f32>;

// One triangle that covers the target: (-1, -1), (3, -1), (-1, 3).
@vertex
fn corner(@builtin(vertex_index) i: u32) -> @builtin(position) vec4<f32> {
	return vec4<f32>(f32((i & 1u) << 2u) - 1.0, f32((i & 2u) << 1u) - 1.0, 0.0, 1.0);
}

@fragment
fn pixel(@builtin(position) at: vec4<f32>) -> @location(0) vec4<f32> {
	return textureLoad(picture, vec2<i32>(at.xy), 0);
}
`

// painter draws pictures on textures of one format.
type painter struct {
	gpu      *raw.Device
	format   wgpu.TextureFormat
	module   *wgpu.ShaderModule
	bindings *wgpu.BindGroupLayout
	layout   *wgpu.PipelineLayout
	pipeline *wgpu.RenderPipeline
}

// newPainter makes a painter, which the caller releases. The caller is inside Call.
func newPainter(d *raw.Device, format wgpu.TextureFormat) (*painter, error) {
	p := &painter{gpu: d, format: format}
	if err := p.compile(); err != nil {
		p.release()
		return nil, err
	}
	return p, nil
}

func (p *painter) compile() (err error) {
	device := p.gpu.Device
	p.module, err = device.CreateShaderModule(&wgpu.ShaderModuleDescriptor{
		Label:          "paint",
		WGSLDescriptor: &wgpu.ShaderModuleWGSLDescriptor{Code: paintSource},
	})
	if err != nil {
		return err
	}
	p.bindings, err = device.CreateBindGroupLayout(&wgpu.BindGroupLayoutDescriptor{
		Entries: []wgpu.BindGroupLayoutEntry{{
			Visibility: wgpu.ShaderStage_Fragment,
			Texture: wgpu.TextureBindingLayout{
				SampleType:    wgpu.TextureSampleType_Float,
				ViewDimension: wgpu.TextureViewDimension_2D,
			},
		}},
	})
	if err != nil {
		return err
	}
	p.layout, err = device.CreatePipelineLayout(&wgpu.PipelineLayoutDescriptor{
		BindGroupLayouts: []*wgpu.BindGroupLayout{p.bindings},
	})
	if err != nil {
		return err
	}
	p.pipeline, err = device.CreateRenderPipeline(&wgpu.RenderPipelineDescriptor{
		Label:       "paint",
		Layout:      p.layout,
		Vertex:      wgpu.VertexState{Module: p.module, EntryPoint: "corner"},
		Primitive:   wgpu.PrimitiveState{Topology: wgpu.PrimitiveTopology_TriangleList},
		Multisample: wgpu.MultisampleState{Count: 1, Mask: ^uint32(0)},
		Fragment: &wgpu.FragmentState{
			Module:     p.module,
			EntryPoint: "pixel",
			Targets:    []wgpu.ColorTargetState{{Format: p.format, WriteMask: wgpu.ColorWriteMask_All}},
		},
	})
	return err
}

// release is to be called inside Call.
func (p *painter) release() {
	if p.pipeline != nil {
		p.pipeline.Release()
	}
	if p.layout != nil {
		p.layout.Release()
	}
	if p.bindings != nil {
		p.bindings.Release()
	}
	if p.module != nil {
		p.module.Release()
	}
}

// picture is an image on the GPU.
type picture struct {
	gpu     *raw.Device
	size    int64 // in bytes
	texture *wgpu.Texture
	view    *wgpu.TextureView
	group   *wgpu.BindGroup
}

// upload brings img to the GPU; the caller is inside Alone and releases the picture.
func (p *painter) upload(ctx context.Context, img *image.RGBA) (*picture, error) {
	pic := &picture{gpu: p.gpu}
	err := p.gpu.Call(ctx, func() error { return p.fill(pic, img) })
	if err != nil {
		pic.release()
		return nil, err
	}
	return pic, nil
}

func (p *painter) fill(pic *picture, img *image.RGBA) (err error) {
	width, height := uint32(img.Rect.Dx()), uint32(img.Rect.Dy())
	bytes := 4 * int64(width) * int64(height)
	if err := p.gpu.Reserve(bytes); err != nil {
		return err
	}
	pic.size = bytes
	size := wgpu.Extent3D{Width: width, Height: height, DepthOrArrayLayers: 1}
	pic.texture, err = p.gpu.Device.CreateTexture(&wgpu.TextureDescriptor{
		Label:         "frame",
		Usage:         wgpu.TextureUsage_TextureBinding | wgpu.TextureUsage_CopyDst,
		Dimension:     wgpu.TextureDimension_2D,
		Size:          size,
		Format:        wgpu.TextureFormat_RGBA8Unorm,
		MipLevelCount: 1,
		SampleCount:   1,
	})
	if err != nil {
		return err
	}
	if err := p.gpu.Fault(); err != nil { // out of memory: the texture is there, but invalid
		return err
	}
	if pic.view, err = pic.texture.CreateView(nil); err != nil {
		return err
	}
	pic.group, err = p.gpu.Device.CreateBindGroup(&wgpu.BindGroupDescriptor{
		Layout:  p.bindings,
		Entries: []wgpu.BindGroupEntry{{TextureView: pic.view}},
	})
	if err != nil {
		return err
	}
	layout := &wgpu.TextureDataLayout{BytesPerRow: uint32(img.Stride), RowsPerImage: height}
	return p.gpu.Queue.WriteTexture(pic.texture.AsImageCopy(), img.Pix, layout, &size)
}

// release wants the GPU to be done with the picture.
func (p *picture) release() {
	_ = p.gpu.Call(context.Background(), func() error { // what is lost is never freed
		if p.group != nil {
			p.group.Release()
		}
		if p.view != nil {
			p.view.Release()
		}
		if p.texture != nil {
			p.texture.Release()
		}
		p.gpu.Free(p.size)
		return nil
	})
}

// paint encodes the drawing of pic on a target of its size.
func (p *painter) paint(e *wgpu.CommandEncoder, pic *picture, target *wgpu.TextureView) error {
	pass := e.BeginRenderPass(&wgpu.RenderPassDescriptor{
		ColorAttachments: []wgpu.RenderPassColorAttachment{{
			View:    target,
			LoadOp:  wgpu.LoadOp_Clear,
			StoreOp: wgpu.StoreOp_Store,
		}},
	})
	defer pass.Release()
	pass.SetPipeline(p.pipeline)
	pass.SetBindGroup(0, pic.group, nil)
	pass.Draw(3, 1, 0, 0)
	return pass.End()
}
