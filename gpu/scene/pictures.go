package scene

import (
	"errors"
	"image"
	"math"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/gpu/internal/raw"
)

// pictures are those that are on the GPU.
type pictures struct {
	byImage map[*image.RGBA]*texture
	bytes   int64
	frame   int64    // the number of the scene that is being drawn
	blank   *texture // for shapes without a picture
}

// texture is a picture on the GPU.
type texture struct {
	bytes   int64
	drawn   int64 // the frame that had it last
	texture *wgpu.Texture
	view    *wgpu.TextureView
	group   *wgpu.BindGroup
}

// upload returns img's texture. The caller is inside Call.
func (p *Painter) upload(img *image.RGBA) (*texture, error) {
	t := p.pictures.byImage[img]
	if t == nil {
		if err := p.checkSize(img.Rect.Size()); err != nil {
			return nil, err
		}
		var err error
		t, err = p.newPicture(img)
		var full *gpu.MemoryError
		if errors.As(err, &full) && p.pictures.trim(p, 0) {
			t, err = p.newPicture(img)
		}
		if err != nil {
			return nil, err
		}
		p.pictures.byImage[img] = t
		p.pictures.bytes += t.bytes
	}
	t.drawn = p.pictures.frame
	return t, nil
}

// trim frees the pictures that were not drawn for longest, until the others have at most
// so many bytes or are all in this frame, and says whether it freed any. Below 0 it frees
// everything. The caller is inside Call.
func (ps *pictures) trim(p *Painter, bytes int64) (freed bool) {
	for ps.bytes > bytes {
		var oldest *image.RGBA
		frame := ps.frame
		if bytes < 0 {
			frame = math.MaxInt64
		}
		for img, t := range ps.byImage {
			if t.drawn < frame {
				oldest, frame = img, t.drawn
			}
		}
		if oldest == nil {
			break
		}
		t := ps.byImage[oldest]
		delete(ps.byImage, oldest)
		ps.bytes -= t.bytes
		t.release(p.gpu)
		freed = true
	}
	if bytes < 0 && ps.blank != nil {
		ps.blank.release(p.gpu)
		ps.blank = nil
	}
	return freed
}

// blank is a texture that is bound where none is looked at. The caller is inside Call.
func (p *Painter) blank() (*texture, error) {
	if p.pictures.blank != nil {
		return p.pictures.blank, nil
	}
	t, err := p.newPicture(image.NewRGBA(image.Rect(0, 0, 1, 1)))
	p.pictures.blank = t
	return t, err
}

func (p *Painter) newPicture(img *image.RGBA) (*texture, error) {
	size := img.Rect.Size()
	t := &texture{}
	bytes := 4 * int64(size.X) * int64(size.Y)
	if err := p.gpu.Reserve(bytes); err != nil {
		return nil, err
	}
	t.bytes = bytes
	if err := p.fill(t, img); err != nil {
		t.release(p.gpu)
		return nil, err
	}
	return t, nil
}

func (p *Painter) fill(t *texture, img *image.RGBA) (err error) {
	size := img.Rect.Size()
	if t.texture, t.view, err = p.newTexture(size, wgpu.TextureFormat_RGBA8Unorm); err != nil {
		return err
	}
	t.group, err = p.gpu.Device.CreateBindGroup(&wgpu.BindGroupDescriptor{
		Layout:  p.single,
		Entries: []wgpu.BindGroupEntry{{TextureView: t.view}},
	})
	if err != nil {
		return err
	}
	return p.gpu.Queue.WriteTexture(t.texture.AsImageCopy(), img.Pix,
		&wgpu.TextureDataLayout{BytesPerRow: uint32(img.Stride), RowsPerImage: uint32(size.Y)},
		&wgpu.Extent3D{Width: uint32(size.X), Height: uint32(size.Y), DepthOrArrayLayers: 1})
}

// release is to be called inside Call.
func (t *texture) release(d *raw.Device) {
	release(t.group)
	release(t.view)
	release(t.texture)
	d.Free(t.bytes)
}

// newTexture makes a texture that shaders read, for which memory is reserved. The caller is
// inside Call and releases both, the error notwithstanding.
func (p *Painter) newTexture(size image.Point, format wgpu.TextureFormat) (t *wgpu.Texture, v *wgpu.TextureView, err error) {
	t, err = p.gpu.Device.CreateTexture(&wgpu.TextureDescriptor{
		Usage:         wgpu.TextureUsage_TextureBinding | wgpu.TextureUsage_CopyDst,
		Dimension:     wgpu.TextureDimension_2D,
		Size:          wgpu.Extent3D{Width: uint32(size.X), Height: uint32(size.Y), DepthOrArrayLayers: 1},
		Format:        format,
		MipLevelCount: 1,
		SampleCount:   1,
	})
	if err != nil {
		return nil, nil, err
	}
	if err := p.gpu.Fault(); err != nil { // out of memory: the texture is there, but invalid
		return t, nil, err
	}
	v, err = t.CreateView(nil)
	return t, v, err
}
