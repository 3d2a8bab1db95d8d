package scene

import (
	"context"
	"image"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/gpu/internal/raw"
)

// Render draws a scene into an image. What does not fit the device is a *gpu.LimitError,
// or beyond gpu.Options.MaxMemory a *gpu.MemoryError.
func Render(ctx context.Context, d *gpu.Device, s *Scene) (*image.RGBA, error) {
	borrowed, err := raw.Borrow(d)
	if err != nil {
		return nil, err
	}
	defer borrowed.Close()
	p, err := NewPainter(ctx, borrowed, wgpu.TextureFormat_RGBA8Unorm)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return p.render(ctx, s)
}

// render draws a scene into an image.
func (p *Painter) render(ctx context.Context, s *Scene) (*image.RGBA, error) {
	if err := p.checkSize(s.Size); err != nil {
		return nil, err
	}
	c := canvas{painter: p, size: s.Size}
	defer c.release()
	if err := p.gpu.Call(ctx, c.allocate); err != nil {
		return nil, err
	}
	rows := make([]byte, c.row*s.Size.Y)
	err := p.gpu.Alone(ctx, func() error {
		if err := p.Paint(ctx, s, c.view); err != nil {
			return err
		}
		err := p.gpu.Submit(ctx, c.copy)
		if err == nil {
			err = p.gpu.Read(ctx, c.buffer, rows)
		}
		if finished := p.gpu.Finish(context.WithoutCancel(ctx)); err == nil {
			err = finished
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	img := image.NewRGBA(image.Rectangle{Max: s.Size})
	for y := range s.Size.Y {
		copy(img.Pix[y*img.Stride:][:img.Stride], rows[y*c.row:])
	}
	return img, nil
}

// canvas is a texture to draw on, and a buffer to read it back from.
type canvas struct {
	painter *Painter
	size    image.Point
	row     int // bytes of one in the buffer, as copies to buffers want it
	bytes   int64
	texture *wgpu.Texture
	view    *wgpu.TextureView
	buffer  *wgpu.Buffer
}

// allocate is to be called inside Call.
func (c *canvas) allocate() (err error) {
	d := c.painter.gpu
	c.row = (4*c.size.X + 255) &^ 255
	buffer := int64(c.row) * int64(c.size.Y)
	if limit := int64(min(c.painter.limits.MaxBufferSize, 1<<40)); buffer > limit {
		return &gpu.LimitError{What: "bytes of an image", Value: buffer, Limit: limit}
	}
	if err := d.Reserve(2 * buffer); err != nil {
		return err
	}
	c.bytes = 2 * buffer
	c.texture, err = d.Device.CreateTexture(&wgpu.TextureDescriptor{
		Usage:         wgpu.TextureUsage_RenderAttachment | wgpu.TextureUsage_CopySrc,
		Dimension:     wgpu.TextureDimension_2D,
		Size:          c.extent(),
		Format:        c.painter.format,
		MipLevelCount: 1,
		SampleCount:   1,
	})
	if err != nil {
		return err
	}
	c.buffer, err = d.Device.CreateBuffer(&wgpu.BufferDescriptor{Size: uint64(buffer), Usage: wgpu.BufferUsage_CopySrc | wgpu.BufferUsage_CopyDst})
	if err != nil {
		return err
	}
	if err := d.Fault(); err != nil { // out of memory: both are there, but invalid
		return err
	}
	c.view, err = c.texture.CreateView(nil)
	return err
}

func (c *canvas) extent() wgpu.Extent3D {
	return wgpu.Extent3D{Width: uint32(c.size.X), Height: uint32(c.size.Y), DepthOrArrayLayers: 1}
}

func (c *canvas) copy(e *wgpu.CommandEncoder) error {
	extent := c.extent()
	return e.CopyTextureToBuffer(c.texture.AsImageCopy(), &wgpu.ImageCopyBuffer{
		Buffer: c.buffer,
		Layout: wgpu.TextureDataLayout{BytesPerRow: uint32(c.row), RowsPerImage: extent.Height},
	}, &extent)
}

func (c *canvas) release() {
	_ = c.painter.gpu.Call(context.Background(), func() error { // what is lost is never freed
		release(c.buffer)
		release(c.view)
		release(c.texture)
		c.painter.gpu.Free(c.bytes)
		return nil
	})
}
