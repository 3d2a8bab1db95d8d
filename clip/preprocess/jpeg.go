package preprocess

import (
	"errors"
	"fmt"
	"image"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess/internal/jpeg"
)

func decodeJPEG(data []byte, o options) (*Image, error) {
	h, err := jpeg.ReadHeader(data)
	if err != nil {
		return nil, damagedJPEG(err)
	}
	exif := exifIn(h.EXIF)
	if o.draft != nil {
		width, height := h.Width, h.Height
		if o.orient && transposes(exif.orientation) {
			width, height = height, width
		}
		o.scale = o.draft(width, height)
	}
	m, err := pixelsOfJPEG(h, o)
	if err != nil {
		return nil, err
	}
	m.fullWidth, m.fullHeight = h.Width, h.Height
	if m.mode == modeCMYK { // Pillow takes every one to be inverted, as Adobe's are
		invert(m.pix)
	}
	return m.withEXIF(exif, o), nil
}

// pixelsOfJPEG decodes what follows h. CMYK is as stored.
func pixelsOfJPEG(h *jpeg.Header, o options) (*Image, error) {
	if err := checkJPEG(h, o); err != nil {
		return nil, err
	}
	pix, err := h.Decode(o.memory, o.scale)
	if err != nil {
		return nil, damagedJPEG(err)
	}
	w, height := h.Size(o.scale)
	mode := map[int]string{1: modeL, 3: modeRGB, 4: modeCMYK}[h.Components]
	if o.scale > 1 && h.Buffered {
		// They lie where the coefficients were, which take up to 136 times as much. An
		// image that outlives its Decoder must not keep that.
		m := o.newImage(mode, w, height)
		copy(m.pix, pix)
		return m, nil
	}
	return &Image{mode: mode, width: w, height: height, pix: pix}, nil
}

func damagedJPEG(err error) error {
	var u jpeg.Unsupported
	if errors.As(err, &u) {
		return fmt.Errorf("%w: %w", ErrUnsupportedFormat, err)
	}
	return damaged(err)
}

func invert(pix []uint8) {
	for i, v := range pix {
		pix[i] = 255 - v
	}
}

// fromYCbCr converts planes of the JFIF colour space to RGB.
func fromYCbCr(s *image.YCbCr) *Image {
	return &Image{mode: modeRGB, width: s.Rect.Dx(), height: s.Rect.Dy(), pix: jpeg.FromYCbCr(s)}
}

// Limits of JPEG.
const (
	// maxJPEGVisits is how often all scans of a file together may visit a block:
	// a progressive scan says in a few bytes that it leaves thousands as they are.
	maxJPEGVisits = 1 << 28
	// sequentialBlock is the visits that a block counts for in a sequential scan,
	// each of which may have all of its coefficients.
	sequentialBlock = 10
	// arithmeticBlock is the same with arithmetic coding, where no data bound how long
	// coefficients are.
	arithmeticBlock = 40
	// maxJPEGCoefficients is the bytes of coefficients that are kept between scans: a
	// file of a few MB could ask for 4 GiB.
	maxJPEGCoefficients = 544 << 20
)

// jpegVisits is how often the scans visit a block, at most. A file can make it more
// than 32 bits hold.
func jpegVisits(h *jpeg.Header) int64 {
	return int64(h.ScanCount()) * int64(h.Blocks()) * visitsOfBlock(h)
}

// visitsOfBlock is how many visits a block counts for in each scan.
func visitsOfBlock(h *jpeg.Header) int64 {
	switch {
	case h.Arithmetic:
		return arithmeticBlock
	case h.Progressive:
		return 1
	}
	return sequentialBlock
}

// checkJPEG refuses what would take too much time or memory, before it has any. The
// only scan of a file with Huffman's codes has two bits or more for each block, so that
// the length of the file bounds it.
func checkJPEG(h *jpeg.Header, o options) error {
	if err := o.checkSize(h.Width, h.Height); err != nil {
		return err
	}
	if err := checkLength(h.Scans, h.Width*h.Height, maxJPEG); err != nil {
		return err
	}
	if (h.Buffered || h.Arithmetic) && jpegVisits(h) > maxJPEGVisits {
		return fmt.Errorf("%w: %d scans of %d blocks of 8x8 samples, the limit is %d blocks in all", ErrTooLarge, h.ScanCount(), h.Blocks(), maxJPEGVisits/visitsOfBlock(h))
	}
	if n := int64(h.Blocks()) * int64(jpeg.BlockBytes); h.Buffered && n > maxJPEGCoefficients {
		return fmt.Errorf("%w: %d bytes of coefficients of a JPEG of several scans and %dx%d, the limit is %d", ErrTooLarge, n, h.Width, h.Height, maxJPEGCoefficients)
	}
	return nil
}
