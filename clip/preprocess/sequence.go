package preprocess

import (
	"fmt"
	"math"

	"github.com/clip-wgpu/clip-wgpu/internal/guard"
)

// Sequence is how NaFlex models take a picture: of any size and shape, as a sequence of
// patches (get_image_size_for_seq of timm's naflex_transforms.py).
type Sequence struct {
	PatchSize [2]int `json:"patch_size"`  // height and width
	MaxLength int    `json:"max_seq_len"` // the most patches
}

// Validate returns an error wrapping ErrInvalidConfig that names the first field with a
// value out of range.
func (s Sequence) Validate() error {
	for _, side := range s.PatchSize {
		if side < 1 || side > maxSide {
			return fmt.Errorf("%w: patch_size: %d, want 1 to %d", ErrInvalidConfig, side, maxSide)
		}
	}
	if s.MaxLength < 1 || s.MaxLength > maxSide {
		return fmt.Errorf("%w: max_seq_len: %d, want 1 to %d", ErrInvalidConfig, s.MaxLength, maxSide)
	}
	return nil
}

// Patched is a picture as a sequence of patches.
type Patched struct {
	RGB  []uint8 // [patches, PatchSize[0], PatchSize[1], 3], as Patches gives it
	Grid [2]int  // rows and columns of patches
}

// Len is how many patches p has.
func (p Patched) Len() int { return p.Grid[0] * p.Grid[1] }

// sizeEps is how close the scale of a picture is to the largest.
const sizeEps = 1e-5

// Size is what a picture of a height and a width is resized to: the largest size, up to 100
// times its own, that MaxLength patches can hold. Each side is rounded up to whole patches,
// so that the shape changes a little. The error wraps ErrShape.
func (s Sequence) Size(height, width int) (h, w int, err error) {
	if height < 1 || width < 1 {
		return 0, 0, fmt.Errorf("%w: %dx%d pixels", ErrShape, width, height)
	}
	rows := func(scale float64) int { return max(1, int(math.Ceil(float64(height)*scale/float64(s.PatchSize[0])))) }
	columns := func(scale float64) int { return max(1, int(math.Ceil(float64(width)*scale/float64(s.PatchSize[1])))) }
	lo, hi := sizeEps/10, 100.0
	for hi-lo >= sizeEps {
		if mid := (lo + hi) / 2; rows(mid) <= s.MaxLength/columns(mid) {
			lo = mid
		} else {
			hi = mid
		}
	}
	if lo <= sizeEps {
		return 0, 0, fmt.Errorf("%w: %dx%d pixels are too many for %d patches", ErrShape, width, height, s.MaxLength)
	}
	return rows(lo) * s.PatchSize[0], columns(lo) * s.PatchSize[1], nil
}

// WithSequence is t for models that take pictures as sequences: Patches is there. The error
// wraps ErrInvalidConfig.
func (t *Transform) WithSequence(s Sequence) (*Transform, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	with := *t
	with.sequence = &s
	return &with, nil
}

// Sequence is what WithSequence was given; false where nothing was.
func (t *Transform) Sequence() (s Sequence, ok bool) {
	if t.sequence == nil {
		return s, false
	}
	return *t.sequence, true
}

var errNoSequence = fmt.Errorf("%w: patches want a transform with a sequence", ErrInvalidConfig)

// Patches resizes img as Sequence has it, in RGB, and takes it apart. Its bytes are those
// before normalisation. The error wraps ErrShape, and ErrInvalidConfig without a Sequence.
func (t *Transform) Patches(img *Image) (p Patched, err error) {
	defer guard.Catch(&err)
	if t.sequence == nil {
		return p, errNoSequence
	}
	if err := img.check(); err != nil {
		return p, err
	}
	return t.patches(img, img.all(), t.interpolation())
}

// interpolation is the kernel of patches.
func (t *Transform) interpolation() filter {
	if t.cfg.Interpolation == "bilinear" {
		return bilinear
	}
	return bicubic
}

// patches is Patches of a part of img, as if img were that part.
func (t *Transform) patches(img *Image, part rect, f filter) (p Patched, err error) {
	h, w, err := t.sequence.Size(part.h, part.w)
	if err != nil {
		return p, err
	}
	pix := img.inRGB().resizeAs13(part, h, w, f).pix
	patch := t.sequence.PatchSize
	p.RGB = make([]uint8, 0, len(pix))
	for top := 0; top < h; top += patch[0] {
		for left := 0; left < w; left += patch[1] {
			for y := top; y < top+patch[0]; y++ {
				p.RGB = append(p.RGB, pix[3*(y*w+left):3*(y*w+left+patch[1])]...)
			}
		}
	}
	p.Grid = [2]int{h / patch[0], w / patch[1]}
	return p, nil
}

// resizeAs13 is resize of a part in the order of Pillow 13, with which NaFlex was recorded: an image
// that loses much more of its height than of its width is resized vertically first. Pixels
// of the two orders differ by a level.
func (m *Image) resizeAs13(part rect, h, w int, f filter) *Image {
	if lost := part.h - h; lost > 0 && lost > 2*(part.w-w) {
		m = m.resize(scaled(part.x, part.w, part.w), scaled(part.y, part.h, h), f)
		part = m.all()
	}
	return m.resize(scaled(part.x, part.w, w), scaled(part.y, part.h, h), f)
}

// Normalized are the normalised values of bytes of RGB, in their order.
func (t *Transform) Normalized(rgb []uint8) []float32 {
	x := make([]float32, len(rgb))
	for i, v := range rgb {
		x[i] = t.levels[i%3][v]
	}
	return x
}
