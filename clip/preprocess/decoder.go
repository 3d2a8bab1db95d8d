package preprocess

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess/internal/jpeg"
)

// Decoder decodes images one after another into the same memory: an Image is valid
// until the next one is decoded. The zero value is ready. It is not safe for concurrent
// use.
type Decoder struct {
	file   bytes.Buffer
	jpeg   jpeg.Memory
	pixels []uint8 // of an image that does not lie in jpeg
	turned []uint8 // of an image that was turned upright
	spent  Reading
}

// spareFile is the most bytes of a file's memory that are kept for a shorter one.
const spareFile = 16 << 20

// sparePixels is the most bytes of an image's memory that are kept for one that needs
// less than a half.
const sparePixels = 64 << 20

// newImage is newImageIn the memory of the image before.
func (o options) newImage(mode string, width, height int) *Image {
	return newImageIn(o.pixels, mode, width, height)
}

// newImageIn is newImage in memory, but for mode I.
func newImageIn(memory *[]uint8, mode string, width, height int) *Image {
	if mode == modeI {
		return newImage(mode, width, height)
	}
	m := &Image{mode: mode, width: width, height: height}
	n := width * height * m.bands()
	if n > cap(*memory) || cap(*memory) > max(2*n, sparePixels) {
		*memory = nil // so that it is free before the next is taken
		*memory = make([]uint8, n)
	} else {
		*memory = (*memory)[:n]
		clear(*memory)
	}
	m.pix = *memory
	return m
}

// Decode is the function Decode.
func (d *Decoder) Decode(r io.Reader, opts ...Option) (*Image, error) {
	if r == nil {
		return nil, fmt.Errorf("%w: no bytes at all: the reader is nil", ErrCorrupt)
	}
	size := 0
	if m, ok := r.(interface{ Len() int }); ok { // of package bytes or strings
		size = max(0, m.Len())
	}
	return d.decode(r, size, opts)
}

// decode decodes what r has, which is about size bytes if it is known.
func (d *Decoder) decode(r io.Reader, size int, opts []Option) (*Image, error) {
	o := options{maxPixels: DefaultMaxPixels, scale: 1, ctx: context.Background(), memory: &d.jpeg, pixels: &d.pixels, turned: &d.turned}
	for _, opt := range opts {
		opt(&o)
	}
	if !slices.Contains([]int{1, 2, 4, 8}, o.scale) {
		return nil, fmt.Errorf("%w: a scale of 1/%d, want 1, 1/2, 1/4 or 1/8", ErrInvalidConfig, o.scale)
	}
	start := time.Now()
	if d.file.Reset(); d.file.Cap() > max(2*size, spareFile) {
		d.file = bytes.Buffer{}
	}
	const head = 32
	if _, err := io.CopyN(&d.file, r, head); err != nil && err != io.EOF {
		return nil, err
	}
	f, err := sniff(d.file.Bytes())
	if err != nil {
		return nil, err
	}
	if size <= maxFileBytes {
		d.file.Grow(size + bytes.MinRead)
		if _, err := d.file.ReadFrom(io.LimitReader(r, maxFileBytes+1-head)); err != nil {
			return nil, err
		}
	}
	if max(size, d.file.Len()) > maxFileBytes {
		return nil, fmt.Errorf("%w: the file has over %d bytes", ErrTooLarge, maxFileBytes)
	}
	if o.content != nil {
		if err := o.content(d.file.Bytes()); err != nil {
			return nil, err
		}
	}
	if err := o.ctx.Err(); err != nil {
		return nil, err
	}
	read := time.Now()
	img, err := f.guarded(d.file.Bytes(), o)
	d.spent.File += read.Sub(start)
	d.spent.Decode += time.Since(read)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	return img, nil
}

// DecodeFile is the function DecodeFile.
func (d *Decoder) DecodeFile(path string, opts ...Option) (*Image, error) {
	// Asked before opening, because opening a FIFO waits for its writer.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "decode", Path: path, Err: fmt.Errorf("%w: not a regular file (%v)", fs.ErrInvalid, info.Mode().Type())}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	img, err := d.decode(f, int(info.Size()), opts)
	if err != nil {
		return nil, &fs.PathError{Op: "decode", Path: path, Err: err}
	}
	return img, nil
}
