package preprocess

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/internal/guard"
	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
)

// Mean and standard deviation of OpenAI's training set in RGB order, for
// pixels in [0, 1] (open_clip/constants.py).
var (
	OpenAIDatasetMean = Channels{0.48145466, 0.4578275, 0.40821073}
	OpenAIDatasetStd  = Channels{0.26862954, 0.26130258, 0.27577711}
)

// maxSide bounds a target side: far above any model's, so that a mistyped
// config is refused instead of exhausting memory.
const maxSide = 8192

// Channels holds one value each for R, G and B. In JSON it is a list of three
// numbers or one number for all.
type Channels [3]float64

// Config is open_clip's PreprocessCfg (open_clip/transform.py). Decoding JSON
// into a zero Config starts from the defaults, into any other it overlays what
// is there. null leaves a field as it is, and unknown keys are ignored, as by
// open_clip's merge_preprocess_dict; UnknownKeys lists them.
type Config struct {
	Size          [2]int   `json:"size"`          // height and width, default 224; in JSON one number, [n] or [height, width]
	Mode          string   `json:"mode"`          // "RGB", the only one
	Mean          Channels `json:"mean"`          // default OpenAIDatasetMean
	Std           Channels `json:"std"`           // default OpenAIDatasetStd
	Interpolation string   `json:"interpolation"` // "bicubic" (default), "bilinear"; "random" means bicubic
	ResizeMode    string   `json:"resize_mode"`   // "shortest" (default), "longest", "squash"
	FillColor     int      `json:"fill_color"`    // padding of "longest", in the file's own mode
}

// DefaultConfig returns open_clip's defaults.
func DefaultConfig() Config {
	return Config{
		Size:          [2]int{224, 224},
		Mode:          "RGB",
		Mean:          OpenAIDatasetMean,
		Std:           OpenAIDatasetStd,
		Interpolation: "bicubic",
		ResizeMode:    "shortest",
	}
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *Config) UnmarshalJSON(data []byte) (err error) {
	defer guard.Catch(&err)
	type plain Config
	p := plain(*c)
	if *c == (Config{}) {
		p = plain(DefaultConfig())
	}
	both := struct {
		*plain
		Size *size `json:"size"`
	}{&p, (*size)(&p.Size)}
	values, _, err := splitKeys(data)
	if err == nil {
		err = strictjson.Unmarshal(values, &both)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidConfig, strictjson.At("preprocess_cfg", data, err))
	}
	*c = Config(p)
	return nil
}

// UnknownKeys returns the keys of a preprocess_cfg that Config does not have, in
// ascending order. It returns none for what is no JSON object.
func UnknownKeys(data []byte) []string {
	_, unknown, _ := splitKeys(data)
	return unknown
}

// splitKeys separates the keys that Config has from others. Unlike encoding/json it
// tells upper case from lower.
func splitKeys(data []byte) (known []byte, unknown []string, err error) {
	var values map[string]json.RawMessage
	if err := strictjson.Unmarshal(data, &values); err != nil {
		return nil, nil, err
	}
	names := strictjson.Keys(&Config{})
	for key := range values {
		if !slices.Contains(names, key) {
			unknown = append(unknown, key)
			delete(values, key)
		}
	}
	slices.Sort(unknown)
	known, err = json.Marshal(values)
	return known, unknown, err
}

// Validate returns an error wrapping ErrInvalidConfig that names the first
// field with a value out of range.
func (c Config) Validate() error {
	for i, name := range [...]string{"height", "width"} {
		if c.Size[i] < 1 || c.Size[i] > maxSide {
			return fmt.Errorf("%w: size: %s %d, want 1 to %d", ErrInvalidConfig, name, c.Size[i], maxSide)
		}
	}
	if c.Mode != "RGB" {
		return fmt.Errorf("%w: mode %q, want \"RGB\"", ErrInvalidConfig, c.Mode)
	}
	switch c.Interpolation {
	case "bicubic", "bilinear", "random":
	default:
		return fmt.Errorf("%w: interpolation %q, want bicubic, bilinear or random", ErrInvalidConfig, c.Interpolation)
	}
	switch c.ResizeMode {
	case "shortest", "longest", "squash":
	default:
		return fmt.Errorf("%w: resize_mode %q, want shortest, longest or squash", ErrInvalidConfig, c.ResizeMode)
	}
	for i := range c.Mean {
		if m := c.Mean[i]; math.IsNaN(m) || math.IsInf(m, 0) {
			return fmt.Errorf("%w: mean[%d] is %v, want a finite number", ErrInvalidConfig, i, m)
		}
		if s := c.Std[i]; !(s > 0) || float32(s) == 0 || math.IsInf(s, 0) {
			return fmt.Errorf("%w: std[%d] is %v, want a positive number", ErrInvalidConfig, i, s)
		}
	}
	return nil
}

// size decodes a height and a width.
type size [2]int

// UnmarshalJSON implements json.Unmarshaler.
func (s *size) UnmarshalJSON(data []byte) error {
	v, err := numbers[int](data)
	switch {
	case err != nil || len(v) > 2:
		return strictjson.WantError("a whole number or [height, width]")
	case len(v) == 1:
		*s = size{v[0], v[0]}
	case len(v) == 2:
		*s = size{v[0], v[1]}
	}
	return nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *Channels) UnmarshalJSON(data []byte) error {
	v, err := numbers[float64](data)
	switch {
	case err != nil || len(v) == 2 || len(v) > 3:
		return strictjson.WantError("three numbers")
	case len(v) == 1:
		*c = Channels{v[0], v[0], v[0]}
	case len(v) == 3:
		*c = Channels(v)
	}
	return nil
}

// numbers decodes a number or a list of numbers; null and [] give none, as
// open_clip takes both for "not set".
func numbers[T int | float64](data []byte) ([]T, error) {
	if data = bytes.TrimSpace(data); string(data) == "null" {
		return nil, nil
	}
	if len(data) > 0 && data[0] == '[' {
		var list []T
		err := json.Unmarshal(data, &list)
		return list, err
	}
	var one T
	err := json.Unmarshal(data, &one)
	return []T{one}, err
}
