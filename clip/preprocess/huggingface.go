package preprocess

import (
	"encoding/json"
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/internal/guard"
	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
)

// hfProcessor is the preprocessor_config.json of a CLIP or SigLIP image
// processor of transformers.
type hfProcessor struct {
	DoResize      *bool     `json:"do_resize"`
	DoCenterCrop  *bool     `json:"do_center_crop"`
	DoRescale     *bool     `json:"do_rescale"`
	DoNormalize   *bool     `json:"do_normalize"`
	RescaleFactor *float64  `json:"rescale_factor"`
	Size          hfSize    `json:"size"`
	CropSize      hfSize    `json:"crop_size"`
	Resample      *int      `json:"resample"`
	ImageMean     *Channels `json:"image_mean"`
	ImageStd      *Channels `json:"image_std"`
}

// hfSize is a number, {"shortest_edge": n} or {"height": h, "width": w}.
type hfSize struct {
	given, shortest bool
	size            [2]int
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *hfSize) UnmarshalJSON(data []byte) error {
	var n int
	if json.Unmarshal(data, &n) == nil {
		*s = hfSize{n > 0, true, [2]int{n, n}}
		return nil
	}
	var o struct {
		ShortestEdge  int `json:"shortest_edge"`
		Height, Width int
	}
	if err := json.Unmarshal(data, &o); err != nil || o.ShortestEdge == 0 && (o.Height == 0 || o.Width == 0) {
		return strictjson.WantError("a number, shortest_edge, or height and width")
	}
	*s = hfSize{true, false, [2]int{o.Height, o.Width}}
	if o.ShortestEdge > 0 {
		*s = hfSize{true, true, [2]int{o.ShortestEdge, o.ShortestEdge}}
	}
	return nil
}

// resamples are Pillow's numbers of the interpolations that Config has.
var resamples = map[int]string{2: "bilinear", 3: "bicubic"}

// FromHuggingFace translates a preprocessor_config.json of transformers: resizing
// by the shortest edge with a crop to the same size, or to a height and width.
// Anything else is an error wrapping ErrInvalidConfig that names it.
func FromHuggingFace(data []byte) (c Config, err error) {
	defer guard.Catch(&err)
	c = DefaultConfig()
	var p hfProcessor
	if err := strictjson.Unmarshal(data, &p); err != nil {
		return c, fmt.Errorf("%w: %w", ErrInvalidConfig, err)
	}
	for name, flag := range map[string]*bool{"do_resize": p.DoResize, "do_rescale": p.DoRescale, "do_normalize": p.DoNormalize} {
		if flag != nil && !*flag {
			return c, fmt.Errorf("%w: %s false is not supported", ErrInvalidConfig, name)
		}
	}
	if f := p.RescaleFactor; f != nil && (*f*255 < 0.9999 || *f*255 > 1.0001) {
		return c, fmt.Errorf("%w: rescale_factor %v is not supported, 1/255 expected", ErrInvalidConfig, *f)
	}
	if p.Resample != nil {
		var ok bool
		if c.Interpolation, ok = resamples[*p.Resample]; !ok {
			return c, fmt.Errorf("%w: resample %d is not supported, 2 (bilinear) or 3 (bicubic) expected", ErrInvalidConfig, *p.Resample)
		}
	}
	if p.ImageMean != nil {
		c.Mean = *p.ImageMean
	}
	if p.ImageStd != nil {
		c.Std = *p.ImageStd
	}
	if !p.Size.given {
		p.Size = hfSize{true, true, c.Size}
	}
	crop := p.Size.shortest
	if p.DoCenterCrop != nil {
		crop = *p.DoCenterCrop
	}
	switch {
	case p.Size.shortest && !crop:
		return c, fmt.Errorf("%w: size of the shortest edge with do_center_crop false is not supported", ErrInvalidConfig)
	case crop && p.CropSize.given && p.CropSize.size != p.Size.size:
		return c, fmt.Errorf("%w: crop_size %v with size %v is not supported", ErrInvalidConfig, p.CropSize.size, p.Size.size)
	case !p.Size.shortest:
		c.ResizeMode = "squash"
	}
	c.Size = p.Size.size
	return c, c.Validate()
}
