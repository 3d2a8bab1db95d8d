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

	// Affine is the strength g, 0 to 1, of an affine map of the whole picture and of a change
	// of its colours. It takes the place of Scale. All is drawn uniformly, u from 0 to 1 and
	// ±x from -x to x:
	//
	//	size            1.1-0.5gu of the model's
	//	angle           ±0.2g radians
	//	shift           ±0.1g of the model's size, across and down
	//	width ÷ height  times e^(±0.12g)
	//	hue             ±0.04g of the circle
	//	saturation      times 1±0.5g
	//	brightness      times 1±0.5g
	//
	// Around the picture the background shows, or black. Strength 0 resizes the picture and
	// does nothing else.
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
	sequence     *Transform // makes patches; nil for models that take images of one size
	augmentation Augmentation
}

// Train returns the training transform of the models that t is for: that of NewTrain or,
// where t has a Sequence, one that makes Patches. The error wraps ErrInvalidConfig.
func (t *Transform) Train(a Augmentation) (*TrainTransform, error) {
	made, err := NewTrain(t.cfg, a)
	if err != nil || t.sequence == nil {
		return made, err
	}
	if a.Affine > 0 {
		return nil, fmt.Errorf("%w: affine %v, want 0 for a model that takes pictures in their own shape", ErrInvalidConfig, a.Affine)
	}
	made.sequence = t
	return made, nil
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
	return &TrainTransform{squash: t, augmentation: a}, nil
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
	t.augmentation.recolour(pix, rng)
	return pix, nil
}

// HasPatches tells whether Patches is there, in place of ApplyInto.
func (t *TrainTransform) HasPatches() bool { return t.sequence != nil }

// Patches are what a model is to learn from that takes pictures as sequences: a random part
// of the picture, of nearly its own shape, as Transform.Patches makes them, perhaps in other
// colours or gray (RandomResizedCropToSequence of timm's naflex_transforms.py; unlike there,
// colours change as often as ColorJitterProb and GrayScaleProb say). The error wraps
// ErrShape, and ErrInvalidConfig without a Sequence.
func (t *TrainTransform) Patches(img *Image, rng *rand.Rand) (p Patched, err error) {
	defer guard.Catch(&err)
	if t.sequence == nil {
		return p, errNoSequence
	}
	if err := img.check(); err != nil {
		return p, err
	}
	img, _ = t.augmentation.behind(img, rng)
	part := t.augmentation.part(img, float64(img.width)/float64(img.height), rng)
	kernel := t.sequence.interpolation()
	if t.sequence.cfg.Interpolation == "random" && rng.IntN(2) == 0 {
		kernel = bilinear
	}
	if p, err = t.sequence.patches(img, part, kernel); err == nil {
		t.augmentation.recolour(p.RGB, rng)
	}
	return p, err
}

// recolour changes the colours of RGB pixels [n, 3], or makes them gray, or neither.
func (a Augmentation) recolour(pix []uint8, rng *rand.Rand) {
	if p := a.ColorJitterProb; p > 0 && rng.Float64() < p {
		a.jitter(pix, rng)
	}
	if p := a.GrayScaleProb; p > 0 && rng.Float64() < p {
		saturate(pix, 0)
	}
}

// placed is the stage before ColorJitter.
func (t *TrainTransform) placed(img *Image, rng *rand.Rand) ([]uint8, error) {
	a := t.augmentation
	img, background := a.behind(img, rng)
	if a.Affine > 0 {
		pix := img.warped(a.drawWarp(rng), t.Config().Size, background)
		a.drawColours(rng).apply(pix)
		return pix, nil
	}
	return t.squash.pixels(img, a.part(img, 1, rng))
}

// behind puts a background behind a transparent picture, and is its colour: black without one.
func (a Augmentation) behind(img *Image, rng *rand.Rand) (*Image, [3]uint8) {
	if a.Background != BackgroundRandom {
		return img, [3]uint8{}
	}
	background := drawBackground(rng)
	return img.over(background), background
}

// part is the random part of a picture that is kept, of nearly a shape (width ÷ height), or
// all of it where Scale asks for none.
func (a Augmentation) part(img *Image, shape float64, rng *rand.Rand) rect {
	if a.Scale == ([2]float64{}) {
		return img.all()
	}
	return a.crop(img.width, img.height, shape, rng)
}

// RandomResizedCrop draws a part whose width ÷ height is leastRatio to mostRatio times the
// shape that is asked for. If none of cropAttempts parts fits the picture, it takes the
// middle (torchvision/transforms/transforms.py).
const (
	leastRatio, mostRatio = 3.0 / 4, 4.0 / 3
	cropAttempts          = 10
)

// crop draws the part of a picture that is kept, whose width ÷ height is around shape: 1, or
// the picture's own (RandomResizedCrop.get_params of torchvision/transforms/transforms.py,
// and RandomResizedCropToSequence.get_params of timm's naflex_transforms.py).
func (a Augmentation) crop(width, height int, shape float64, rng *rand.Rand) rect {
	area := float64(width) * float64(height)
	for range cropAttempts {
		kept := area * uniform(rng, a.Scale[0], a.Scale[1])
		ratio := shape * math.Exp(uniform(rng, math.Log(leastRatio), math.Log(mostRatio)))
		w, h := int(math.RoundToEven(math.Sqrt(kept*ratio))), int(math.RoundToEven(math.Sqrt(kept/ratio)))
		if 0 < w && w <= width && 0 < h && h <= height {
			y := rng.IntN(height - h + 1)
			return rect{rng.IntN(width - w + 1), y, w, h}
		}
	}
	w, h := width, height
	switch ratio := float64(width) / float64(height); {
	case ratio < shape*leastRatio:
		h = max(1, int(math.RoundToEven(float64(w)/(shape*leastRatio))))
	case ratio > shape*mostRatio:
		w = max(1, int(math.RoundToEven(float64(h)*(shape*mostRatio))))
	}
	return rect{(width - w) / 2, (height - h) / 2, w, h}
}

func uniform(rng *rand.Rand, lo, hi float64) float64 { return lo + float64((hi-lo)*rng.Float64()) }
