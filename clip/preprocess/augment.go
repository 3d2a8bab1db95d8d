package preprocess

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/clip-wgpu/clip-wgpu/internal/guard"
)

// Augmentation is open_clip's AugmentationCfg, as far as it needs no timm
// (open_clip/transform.py), and what it lacks: Affine and Background.
type Augmentation struct {
	Scale           [2]float64 `json:"scale"`             // least and most share of the picture's area that is kept; zeros: all of it, in the model's shape
	ColorJitter     [4]float64 `json:"color_jitter"`      // brightness, contrast, saturation, hue, as torchvision's ColorJitter takes them
	ColorJitterProb float64    `json:"color_jitter_prob"` // of a picture to get other colours
	GrayScaleProb   float64    `json:"gray_scale_prob"`   // of a picture to become gray

	// Affine, in place of Scale, is the strength g, 0 to 1, of an affine map of the whole
	// picture and of a change of its colours. With u drawn from 0 to 1, and ±x from -x to x,
	// all uniformly: the picture, resized to the model's size, is scaled by 1.1-0.5gu,
	// turned by ±0.2g radians, shifted by ±0.1g of the size each way, and its width ÷ height
	// multiplied by e^(±0.12g); its hue changes by ±0.04g of the circle, and saturation and
	// brightness are multiplied by 1±0.5g. Around the picture the background shows, or
	// black. Strength 0 is the picture resized, and nothing else.
	Affine float64 `json:"affine"`
	// Background is what transparent pictures lie on. Empty: their alpha is dropped, as by
	// open_clip. BackgroundRandom: white in three of five, else a gray or any colour, one as
	// often as the other.
	// Palettes of PNG, GIF and Go's image.Paletted have alpha, too. The one colour that a
	// PNG without a palette may call transparent is not.
	Background string `json:"background"`
}

// BackgroundRandom is a Background of Augmentation.
const BackgroundRandom = "random"

// DefaultAugmentation returns open_clip's defaults: 0.9 to 1 of the area, colours as they
// are.
func DefaultAugmentation() Augmentation { return Augmentation{Scale: [2]float64{0.9, 1}} }

// Validate returns an error wrapping ErrInvalidConfig that names the first field with a
// value out of range.
func (a Augmentation) Validate() error {
	switch whole := a.Scale == [2]float64{}; {
	case !(a.Affine >= 0 && a.Affine <= 1):
		return fmt.Errorf("%w: affine %v, want 0 to 1", ErrInvalidConfig, a.Affine)
	case a.Affine > 0 && !whole:
		return fmt.Errorf("%w: affine %v and scale %v, want one of them", ErrInvalidConfig, a.Affine, a.Scale)
	case a.Background != "" && a.Background != BackgroundRandom:
		return fmt.Errorf("%w: background %q, want %q or none", ErrInvalidConfig, a.Background, BackgroundRandom)
	case !whole && !(a.Scale[0] > 0 && a.Scale[0] <= a.Scale[1] && a.Scale[1] <= 1):
		return fmt.Errorf("%w: scale %v, want two shares, 0 < least <= most <= 1", ErrInvalidConfig, a.Scale)
	}
	for i, name := range [...]string{"brightness", "contrast", "saturation", "hue"} {
		most := math.MaxFloat32
		if name == "hue" {
			most = 0.5
		}
		if !(a.ColorJitter[i] >= 0 && a.ColorJitter[i] <= most) {
			return fmt.Errorf("%w: color_jitter: %s %v, want 0 to %v", ErrInvalidConfig, name, a.ColorJitter[i], most)
		}
	}
	for _, p := range []struct {
		name string
		prob float64
	}{{"color_jitter_prob", a.ColorJitterProb}, {"gray_scale_prob", a.GrayScaleProb}} {
		if !(p.prob >= 0 && p.prob <= 1) {
			return fmt.Errorf("%w: %s %v, want 0 to 1", ErrInvalidConfig, p.name, p.prob)
		}
	}
	return nil
}

// TrainTransform is open_clip's image_transform(is_train=True): a random part of the
// picture, resized, perhaps in other colours or gray, normalised. Of the Config only the
// size, mean and std count. It is immutable and safe for concurrent use.
type TrainTransform struct {
	squash       *Transform // has the size, the kernel and the normalisation
	augmentation Augmentation
}

// NewTrain checks both and returns their transform. The error wraps ErrInvalidConfig.
func NewTrain(cfg Config, a Augmentation) (*TrainTransform, error) {
	cfg.ResizeMode, cfg.Interpolation = "squash", "bicubic"
	t, err := New(cfg)
	if err == nil {
		err = a.Validate()
	}
	if err != nil {
		return nil, err
	}
	return &TrainTransform{t, a}, nil
}

// Config returns the configuration that t was made from, squashing what is kept.
func (t *TrainTransform) Config() Config { return t.squash.Config() }

// ApplyInto writes what the model is to learn from: float32 [3, H, W], normalised. What
// rng gives decides about all that is random, which is the same for pictures of one
// size. The error wraps ErrShape.
func (t *TrainTransform) ApplyInto(dst []float32, img *Image, rng *rand.Rand) error {
	if err := t.squash.fits(dst); err != nil {
		return err
	}
	pix, err := t.Pixels(img, rng)
	if err != nil {
		return err
	}
	t.squash.normalize(dst, pix)
	return nil
}

// Pixels returns the stage before normalisation: RGB [H, W, 3]. The error wraps ErrShape.
func (t *TrainTransform) Pixels(img *Image, rng *rand.Rand) (pix []uint8, err error) {
	defer guard.Catch(&err)
	if err := img.check(); err != nil {
		return nil, err
	}
	if pix, err = t.placed(img, rng); err != nil {
		return nil, err
	}
	if p := t.augmentation.ColorJitterProb; p > 0 && rng.Float64() < p {
		t.augmentation.jitter(pix, rng)
	}
	if p := t.augmentation.GrayScaleProb; p > 0 && rng.Float64() < p {
		saturate(pix, 0)
	}
	return pix, nil
}

// placed is the stage before ColorJitter.
func (t *TrainTransform) placed(img *Image, rng *rand.Rand) ([]uint8, error) {
	a := t.augmentation
	var background [3]uint8 // black
	if a.Background == BackgroundRandom {
		background = drawBackground(rng)
		img = img.over(background)
	}
	if a.Affine > 0 {
		pix := img.warped(a.drawWarp(rng), t.Config().Size, background)
		a.drawColours(rng).apply(pix)
		return pix, nil
	}
	if a.Scale != ([2]float64{}) {
		img = img.crop(a.crop(img.width, img.height, rng))
	}
	return t.squash.Pixels(img)
}

// rect is the part of an image at columns x to x+w, rows y to y+h.
type rect struct{ x, y, w, h int }

// The shapes that RandomResizedCrop gives, as width ÷ height, and how often it draws one
// before it takes the middle of the picture (torchvision/transforms/transforms.py).
const (
	leastRatio, mostRatio = 3.0 / 4, 4.0 / 3
	cropAttempts          = 10
)

// crop draws the part of a picture that is kept (RandomResizedCrop.get_params of
// torchvision/transforms/transforms.py).
func (a Augmentation) crop(width, height int, rng *rand.Rand) rect {
	area := float64(width) * float64(height)
	for range cropAttempts {
		kept := area * uniform(rng, a.Scale[0], a.Scale[1])
		ratio := math.Exp(uniform(rng, math.Log(leastRatio), math.Log(mostRatio)))
		w, h := int(math.RoundToEven(math.Sqrt(kept*ratio))), int(math.RoundToEven(math.Sqrt(kept/ratio)))
		if 0 < w && w <= width && 0 < h && h <= height {
			y := rng.IntN(height - h + 1)
			return rect{rng.IntN(width - w + 1), y, w, h}
		}
	}
	w, h := width, height
	switch ratio := float64(width) / float64(height); {
	case ratio < leastRatio:
		h = max(1, int(math.RoundToEven(float64(w)/leastRatio)))
	case ratio > mostRatio:
		w = max(1, int(math.RoundToEven(float64(h)*mostRatio)))
	}
	return rect{(width - w) / 2, (height - h) / 2, w, h}
}

func uniform(rng *rand.Rand, lo, hi float64) float64 { return lo + float64((hi-lo)*rng.Float64()) }

// crop copies a part of m.
func (m *Image) crop(r rect) *Image {
	if r == (rect{0, 0, m.width, m.height}) {
		return m
	}
	out, n := m.like(r.w, r.h), m.bands()
	for y := range r.h {
		at := (r.y+y)*m.width + r.x
		if m.mode == modeI {
			copy(out.wide[y*r.w:(y+1)*r.w], m.wide[at:])
		} else {
			copy(out.pix[y*r.w*n:(y+1)*r.w*n], m.pix[at*n:])
		}
	}
	return out
}
