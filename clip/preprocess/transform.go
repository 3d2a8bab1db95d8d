package preprocess

import (
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/internal/guard"
)

// Transform is open_clip's image_transform(is_train=False) for one Config:
// resize, crop or pad, convert to RGB, scale to [0, 1], normalise.
// It is immutable and safe for concurrent use.
type Transform struct {
	cfg    Config
	kernel filter
	levels [3][256]float32 // normalised value of each pixel level

	sequence *Sequence // nil for models of images of one size
}

// New checks cfg and returns its transform. The error wraps ErrInvalidConfig.
func New(cfg Config) (*Transform, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t := &Transform{cfg: cfg, kernel: bicubic}
	// With "shortest" and a target that is not square, open_clip builds its
	// resize without passing the interpolation on.
	ignored := cfg.ResizeMode == "shortest" && cfg.Size[0] != cfg.Size[1]
	if cfg.Interpolation == "bilinear" && !ignored {
		t.kernel = bilinear
	}
	for c := range t.levels {
		mean, std := float32(cfg.Mean[c]), float32(cfg.Std[c])
		for v := range t.levels[c] {
			t.levels[c][v] = (float32(v)/255 - mean) / std
		}
	}
	return t, nil
}

// Config returns the configuration that t was made from.
func (t *Transform) Config() Config { return t.cfg }

// Levels are the values of the bytes of each channel after normalisation: [3, 256].
func (t *Transform) Levels() []float32 {
	return slices.Concat(t.levels[0][:], t.levels[1][:], t.levels[2][:])
}

// Apply returns the model's input for img: float32 [3, H, W], normalised.
// The error wraps ErrShape.
func (t *Transform) Apply(img *Image) ([]float32, error) {
	x := make([]float32, 3*t.cfg.Size[0]*t.cfg.Size[1])
	return x, t.ApplyInto(x, img)
}

// ApplyInto is Apply into dst, whose length must be 3*H*W.
func (t *Transform) ApplyInto(dst []float32, img *Image) error {
	if err := t.fits(dst); err != nil {
		return err
	}
	pix, err := t.Pixels(img)
	if err != nil {
		return err
	}
	t.normalize(dst, pix)
	return nil
}

// fits checks the length of a destination.
func (t *Transform) fits(dst []float32) error {
	if h, w := t.cfg.Size[0], t.cfg.Size[1]; len(dst) != 3*h*w {
		return fmt.Errorf("%w: destination has %d values, want 3x%dx%d", ErrShape, len(dst), h, w)
	}
	return nil
}

// normalize turns RGB [H, W, 3] into dst [3, H, W].
func (t *Transform) normalize(dst []float32, pix []uint8) {
	plane := len(dst) / 3
	r, g, b := dst[:plane], dst[plane:2*plane], dst[2*plane:]
	for i := range r {
		px := pix[3*i : 3*i+3 : 3*i+3]
		r[i], g[i], b[i] = t.levels[0][px[0]], t.levels[1][px[1]], t.levels[2][px[2]]
	}
}

// Pixels returns the stage before normalisation: RGB [H, W, 3].
// The error wraps ErrShape.
func (t *Transform) Pixels(img *Image) (pix []uint8, err error) {
	defer guard.Catch(&err)
	if err := img.check(); err != nil {
		return nil, err
	}
	return t.pixels(img, img.all())
}

// pixels is Pixels of a part of img, as if img were that part. The bytes are nobody else's.
func (t *Transform) pixels(img *Image, part rect) ([]uint8, error) {
	h, w, err := t.resizedSize(part.h, part.w)
	if err != nil {
		return nil, err
	}
	// Only what the crop keeps is computed: the rest of an elongated image can
	// be larger than memory.
	y, top := window(part.y, part.h, h, t.cfg.Size[0])
	x, left := window(part.x, part.w, w, t.cfg.Size[1])
	out := img.resize(x, y, t.kernel)
	if out.width != t.cfg.Size[1] || out.height != t.cfg.Size[0] {
		out = t.pad(out, left, top)
	}
	return out.inRGB().pix, nil
}

// check tells why m cannot be transformed.
func (m *Image) check() error {
	switch {
	case m != nil && m.err != nil:
		return m.err
	case m == nil || m.width == 0 || m.height == 0:
		return fmt.Errorf("%w: the image has no pixels", ErrShape)
	}
	return nil
}

// resizedSize is the size that the resize mode gives an h by w image before
// cropping or padding. The roundings are torchvision's Resize for a square
// target with "shortest", and timm's ResizeKeepRatio otherwise.
func (t *Transform) resizedSize(h, w int) (rh, rw int, err error) {
	th, tw := t.cfg.Size[0], t.cfg.Size[1]
	switch {
	case t.cfg.ResizeMode == "squash":
		return th, tw, nil
	case t.cfg.ResizeMode == "shortest" && th == tw:
		long := int(float64(th) * float64(max(h, w)) / float64(min(h, w)))
		rh, rw = th, long
		if w <= h {
			rh, rw = long, tw
		}
	default:
		ratioH, ratioW := float64(h)/float64(th), float64(w)/float64(tw)
		ratio := min(ratioH, ratioW)
		if t.cfg.ResizeMode == "longest" {
			ratio = max(ratioH, ratioW)
		}
		rh = int(math.RoundToEven(float64(h) / ratio))
		rw = int(math.RoundToEven(float64(w) / ratio))
	}
	if rh < 1 || rw < 1 || rh > math.MaxInt32 || rw > math.MaxInt32 {
		return 0, 0, fmt.Errorf("%w: %dx%d is too elongated: resize_mode %q would make it %dx%d", ErrShape, w, h, t.cfg.ResizeMode, rw, rh)
	}
	return rh, rw, nil
}

// window places the target's extent on a resized axis, centred: the part of
// the axis that is kept, and the padding before it. The odd pixel of padding
// goes after, that of a crop where rounding half to even puts it.
func window(at, n, resized, target int) (a axis, before int) {
	if resized <= target {
		return scaled(at, n, resized), (target - resized) / 2
	}
	lo := int(math.RoundToEven(float64(resized-target) / 2))
	return axis{at, n, resized, lo, lo + target}, 0
}

// pad puts m on a canvas of the target size, filled in m's own mode: fill_color
// is a level of every band, the index of a palette. An index that the palette
// lacks is a gray level, as with Pillow 9.4; with 13 it is black.
func (t *Transform) pad(m *Image, left, top int) *Image {
	fill := 0
	if t.cfg.ResizeMode == "longest" {
		fill = t.cfg.FillColor
	}
	level := uint8(max(0, min(fill, 255)))
	if m.mode == modeP && int(level) >= len(m.palette) {
		m = m.inRGB()
	}
	out := m.like(t.cfg.Size[1], t.cfg.Size[0])
	for i := range out.wide {
		out.wide[i] = int32(max(math.MinInt32, min(fill, math.MaxInt32)))
	}
	if level != 0 {
		for i := range out.pix {
			out.pix[i] = level
		}
	}
	n := m.bands()
	for y := range m.height {
		at := (top+y)*out.width + left
		if m.mode == modeI {
			copy(out.wide[at:], m.wide[y*m.width:(y+1)*m.width])
		} else {
			copy(out.pix[at*n:], m.pix[y*m.width*n:(y+1)*m.width*n])
		}
	}
	return out
}
