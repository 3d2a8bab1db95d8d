package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// combo is one call of forward_intermediates in combos.json.
type combo struct {
	Flags   json.RawMessage   `json:"flags"`
	Tensors map[string]string `json:"tensors"` // names in outputs.safetensors by key
	Error   string            `json:"error"`   // set where the call must fail
}

// flags are the arguments of open_clip's forward_intermediates.
type flags struct {
	Only                   string          `json:"only"` // image or text; both when empty
	ImageIndices           json.RawMessage `json:"image_indices"`
	TextIndices            json.RawMessage `json:"text_indices"`
	StopEarly              bool            `json:"stop_early"`
	Normalize              *bool           `json:"normalize"`
	NormalizeIntermediates bool            `json:"normalize_intermediates"`
	IntermediatesOnly      bool            `json:"intermediates_only"`
	ImageOutputFmt         string          `json:"image_output_fmt"`
	ImageOutputExtraTokens bool            `json:"image_output_extra_tokens"`
	TextOutputFmt          string          `json:"text_output_fmt"`
	TextOutputExtraTokens  bool            `json:"text_output_extra_tokens"`
	OutputLogits           bool            `json:"output_logits"`
	OutputLogitScaleBias   bool            `json:"output_logit_scale_bias"`
}

// verifyIntermediates makes a call for each combination of flags: the keys
// that come back, every tensor, and the calls that must fail.
func verifyIntermediates(ctx context.Context, c *testCase) error {
	tolerance, err := c.tolerance()
	if err != nil {
		return err
	}
	var combos []combo
	if err := c.decode("combos.json", &combos); err != nil {
		return err
	}
	m, err := c.load(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	in, err := c.inputs("inputs.safetensors")
	if err != nil {
		return err
	}
	want, err := c.open("outputs.safetensors")
	if err != nil {
		return err
	}
	defer want.Close()
	for i, combo := range combos {
		if err := c.compareCombo(ctx, m, in, i, combo, want, tolerance); err != nil {
			return fmt.Errorf("combos.json: call %d: %w", i, err)
		}
	}
	return nil
}

func (c *testCase) compareCombo(ctx context.Context, m *clip.Model, in inputs, number int, call combo, want weights.StateDict, tolerance float64) error {
	var f flags
	d := json.NewDecoder(bytes.NewReader(call.Flags))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return err
	}
	o, err := f.options()
	if err != nil {
		return err
	}
	switch f.Only {
	case "image":
		in.texts = nil
	case "text":
		in.images = nil
	}
	prefix := fmt.Sprintf("%02d.", number)
	out, err := m.ForwardIntermediates(ctx, in.byName(), in.texts, o)
	if call.Error != "" {
		c.check(prefix+"error", err != nil, "an error is right here")
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	got := flatten(m, out)
	for _, key := range slices.Sorted(maps.Keys(call.Tensors)) {
		w, err := readTensor(want, call.Tensors[key])
		if err != nil {
			return err
		}
		t, ok := got[key]
		if !ok {
			c.check(prefix+key, false, "is absent")
			continue
		}
		c.compare(prefix+key, t, w, tolerance)
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, ok := call.Tensors[key]; !ok {
			c.check(prefix+key, false, "should be absent")
		}
	}
	return nil
}

func (f *flags) options() (o clip.IntermediatesOptions, err error) {
	o = clip.IntermediatesOptions{
		StopEarly:              f.StopEarly,
		NoNormalize:            f.Normalize != nil && !*f.Normalize,
		NormalizeIntermediates: f.NormalizeIntermediates,
		IntermediatesOnly:      f.IntermediatesOnly,
		ImageOutputFmt:         f.ImageOutputFmt,
		ImageOutputExtraTokens: f.ImageOutputExtraTokens,
		TextOutputFmt:          f.TextOutputFmt,
		TextOutputExtraTokens:  f.TextOutputExtraTokens,
		OutputLogits:           f.OutputLogits,
		OutputLogitScaleBias:   f.OutputLogitScaleBias,
	}
	if o.ImageIndices, err = indices(f.ImageIndices); err != nil {
		return o, err
	}
	o.TextIndices, err = indices(f.TextIndices)
	return o, err
}

// indices reads a number of last blocks or a list of blocks.
func indices(raw json.RawMessage) (clip.Indices, error) {
	if raw == nil || string(raw) == "null" {
		return nil, nil
	}
	var n int
	if json.Unmarshal(raw, &n) == nil {
		return clip.LastN(n), nil
	}
	var list []int
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("indices %s: want a number or a list", raw)
	}
	return clip.Blocks(list), nil
}

// flatten names the tensors of a result as open_clip's dict does, those of
// lists with their number.
func flatten(m *clip.Model, o *clip.Intermediates) map[string]clip.Array {
	flat := map[string]clip.Array{}
	for key, list := range map[string][]clip.Array{
		"image_intermediates":        o.ImageIntermediates,
		"image_intermediates_prefix": o.ImageIntermediatesPrefix,
		"text_intermediates":         o.TextIntermediates,
		"text_intermediates_suffix":  o.TextIntermediatesSuffix,
	} {
		for i, t := range list {
			flat[fmt.Sprintf("%s.%d", key, i)] = t
		}
	}
	for key, t := range map[string]*clip.Array{
		"image_features": o.ImageFeatures, "text_features": o.TextFeatures,
		"image_logits": o.ImageLogits, "text_logits": o.TextLogits,
	} {
		if t != nil {
			flat[key] = *t
		}
	}
	for key, v := range map[string]*float32{"logit_scale": o.LogitScale, "logit_bias": o.LogitBias} {
		if v != nil {
			flat[key] = logitScalar(m, *v)
		}
	}
	return flat
}
