package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// pixelTolerance is for normalised pixels, given the same bytes.
const pixelTolerance = 1e-6

// preprocessing is a case of kind preprocess.
type preprocessing struct {
	*testCase
	base     preprocess.Config // what a key leaves open
	pictures string
	decoded  map[string]*preprocess.Image
}

// verifyPreprocess compares preprocessed pictures, bytes and normalised floats.
// The tensors' names are their settings: picture, size, resize mode,
// interpolation, separated by "|".
func verifyPreprocess(ctx context.Context, c *testCase) error {
	var more struct {
		Mean   json.RawMessage   `json:"mean"`
		Std    json.RawMessage   `json:"std"`
		Errors map[string]string `json:"errors"` // by key
	}
	if err := c.decode("meta.json", &more); err != nil {
		return err
	}
	p := &preprocessing{testCase: c, base: preprocess.DefaultConfig(), pictures: "png", decoded: map[string]*preprocess.Image{}}
	for dst, raw := range map[*preprocess.Channels]json.RawMessage{&p.base.Mean: more.Mean, &p.base.Std: more.Std} {
		if raw == nil {
			continue
		}
		if err := json.Unmarshal(raw, dst); err != nil {
			return fmt.Errorf("meta.json: %w", err)
		}
	}
	if err := p.compareFile(ctx, "outputs_u8.safetensors", p.compareBytes); err != nil {
		return err
	}
	if err := p.compareFile(ctx, "outputs_f32.safetensors", p.compareFloats); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(more.Errors)) {
		_, _, err := p.transform(key)
		c.check(key, err != nil, "an error is right here")
	}
	return nil
}

// compareFile calls compare for every tensor of a file, if the case has it.
func (p *preprocessing) compareFile(ctx context.Context, file string, compare func(src weights.StateDict, key string) error) error {
	if !p.has(file) {
		return nil
	}
	f, err := p.open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, key := range f.Names() {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := compare(f, key)
		if errors.Is(err, errKey) {
			p.notBuilt(key, err.Error())
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// compareBytes compares with pixels [3, height, width].
func (p *preprocessing) compareBytes(src weights.StateDict, key string) error {
	t, img, err := p.transform(key)
	if err != nil {
		return err
	}
	got, err := t.Pixels(img)
	if err != nil {
		return err
	}
	shape, want, err := readInts(src, key)
	if err != nil {
		return err
	}
	size := t.Config().Size
	if !slices.Equal(shape, []int{3, size[0], size[1]}) {
		return fmt.Errorf("shape %v, want [3 %d %d]", shape, size[0], size[1])
	}
	plane := size[0] * size[1]
	worst := levels(len(want), func(i int) int64 { return want[i] - int64(got[i%plane*3+i/plane]) })
	p.add(key, worst, 0, "levels of 255")
	return nil
}

func (p *preprocessing) compareFloats(src weights.StateDict, key string) error {
	tolerance, err := p.tolerance()
	if err != nil {
		return err
	}
	t, img, err := p.transform(key)
	if err != nil {
		return err
	}
	got, err := t.Apply(img)
	if err != nil {
		return err
	}
	want, err := readTensor(src, key)
	if err != nil {
		return err
	}
	if len(got) != len(want.Data) {
		return fmt.Errorf("shape %v, want [3 %d %d]", want.Shape, t.Config().Size[0], t.Config().Size[1])
	}
	p.add(key, deviation(got, want.Data), tolerance, "")
	return nil
}

// transform reads a key.
func (p *preprocessing) transform(key string) (*preprocess.Transform, *preprocess.Image, error) {
	parts := strings.Split(key, "|")
	cfg := p.base
	for i, setting := range parts[1:] {
		if err := set(&cfg, i == 0, setting); err != nil {
			return nil, nil, err
		}
	}
	t, err := preprocess.New(cfg)
	if err != nil {
		return nil, nil, err
	}
	img, ok := p.decoded[parts[0]]
	if !ok {
		file, err := findFile(p.path(p.pictures), parts[0])
		if err != nil {
			return nil, nil, err
		}
		if img, err = preprocess.DecodeFile(file); err != nil {
			return nil, nil, err
		}
		p.decoded[parts[0]] = img
	}
	return t, img, nil
}

// errKey is returned for settings in a tensor's name that have no meaning here.
var errKey = errors.New("unknown setting")

// set applies one setting of a key to cfg. The first setting is the size, N or HxW.
// The others are resize_mode, interpolation, fillN, meanMstdS, or default and f32,
// which change nothing.
func set(cfg *preprocess.Config, first bool, s string) (err error) {
	unknown := fmt.Errorf("%w %q", errKey, s)
	fill, isFill := strings.CutPrefix(s, "fill")
	moments, isMoments := strings.CutPrefix(s, "mean")
	switch {
	case first:
		h, w, pair := strings.Cut(s, "x")
		if !pair {
			w = h
		}
		for i, side := range []string{h, w} {
			if cfg.Size[i], err = strconv.Atoi(side); err != nil {
				return unknown
			}
		}
	case s == "default", s == "f32":
	case s == "shortest", s == "longest", s == "squash":
		cfg.ResizeMode = s
	case s == "bicubic", s == "bilinear", s == "random":
		cfg.Interpolation = s
	case isFill:
		if cfg.FillColor, err = strconv.Atoi(fill); err != nil {
			return unknown
		}
	case isMoments:
		mean, std, ok := strings.Cut(moments, "std")
		if !ok || channels(&cfg.Mean, mean) != nil || channels(&cfg.Std, std) != nil {
			return unknown
		}
	default:
		return unknown
	}
	return nil
}

// channels reads one number for all channels, or three separated by commas.
func channels(dst *preprocess.Channels, s string) error {
	if s == "" {
		return errKey // an empty list would leave dst as it is
	}
	return json.Unmarshal([]byte("["+s+"]"), dst)
}

// levels is the largest magnitude of n differences of bytes.
func levels(n int, difference func(i int) int64) float64 {
	worst := int64(0)
	for i := range n {
		d := difference(i)
		worst = max(worst, d, -d)
	}
	return float64(worst)
}
