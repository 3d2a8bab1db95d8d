package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/generation"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// generated is an entry of generate.json: what generate was given, and what it returned or,
// with Sampling, the number of its tensors in sampling.safetensors.
type generated struct {
	Type              *string         `json:"generation_type"`
	SeqLen            *int            `json:"seq_len"`
	MinSeqLen         *int            `json:"min_seq_len"`
	Temperature       *float64        `json:"temperature"`
	TopK              *int            `json:"top_k"`
	TopP              *float64        `json:"top_p"`
	NumBeams          *int            `json:"num_beams"`
	NumBeamGroups     *int            `json:"num_beam_groups"`
	Pad               *int32          `json:"pad_token_id"`
	Eos               *int32          `json:"eos_token_id"`
	Sot               *int32          `json:"sot_token_id"`
	RepetitionPenalty *float64        `json:"repetition_penalty"`
	FixedOutputLength bool            `json:"fixed_output_length"`
	Config            *huggingFace    `json:"generation_config"`
	OneImage          bool            `json:"one_image"`
	Prompt            json.RawMessage `json:"prompt"` // rows or, of one image, a row
	Output            json.RawMessage `json:"output"`
	Sampling          *int            `json:"sampling"`
}

// huggingFace is a GenerationConfig of transformers.
type huggingFace struct {
	NumBeams           int      `json:"num_beams"`
	LengthPenalty      *float64 `json:"length_penalty"`
	EarlyStopping      any      `json:"early_stopping"` // a bool or "never"
	NumReturnSequences *int     `json:"num_return_sequences"`
	NoRepeatNGram      int      `json:"no_repeat_ngram_size"`
}

// override changes a default where there is something else.
func override[T any](dst *T, v *T) {
	if v != nil {
		*dst = *v
	}
}

// options are the entry's.
func (r *generated) options() generation.Options {
	o := generation.Default()
	override(&o.Type, r.Type)
	override(&o.SeqLen, r.SeqLen)
	override(&o.MinSeqLen, r.MinSeqLen)
	override(&o.Temperature, r.Temperature)
	override(&o.TopK, r.TopK)
	override(&o.TopP, r.TopP)
	override(&o.NumBeams, r.NumBeams)
	override(&o.NumBeamGroups, r.NumBeamGroups)
	override(&o.RepetitionPenalty, r.RepetitionPenalty)
	o.PadID, o.EosID, o.SotID, o.FixedOutputLength = r.Pad, r.Eos, r.Sot, r.FixedOutputLength
	if h := r.Config; h != nil {
		o.NumBeams, o.NumBeamGroups, o.NoRepeatNGram = h.NumBeams, 1, h.NoRepeatNGram
		override(&o.LengthPenalty, h.LengthPenalty)
		override(&o.NumReturnSequences, h.NumReturnSequences)
		if o.NumBeams == 1 {
			o.Type = generation.Greedy
		}
		switch h.EarlyStopping {
		case true:
			o.EarlyStopping = "true"
		case "never":
			o.EarlyStopping = "never"
		}
	}
	o.NumBeamGroups = min(o.NumBeamGroups, o.NumBeams)
	return o
}

// rowsOf decodes rows of token ids, or one row.
func rowsOf(data json.RawMessage) (rows [][]int32, err error) {
	if len(data) == 0 || string(data) == "null" {
		return nil, nil
	}
	if json.Unmarshal(data, &rows) == nil {
		return rows, nil
	}
	row := []int32{}
	err = json.Unmarshal(data, &row)
	return [][]int32{row}, err
}

// compareGenerated makes a row for each entry of generate.json: texts must be the same to the
// token, and the probabilities by which others were drawn within the tolerance.
func (c *testCase) compareGenerated(ctx context.Context, m *clip.Model, in inputs) error {
	var entries []generated
	if err := c.decode("generate.json", &entries); err != nil {
		return err
	}
	for i := range entries {
		r, name := &entries[i], fmt.Sprintf("generate.%d", i)
		o := r.options()
		if r.Sampling != nil {
			if err := c.compareSampling(ctx, m, in, name, *r.Sampling, &o); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			continue
		}
		prompt, err := rowsOf(r.Prompt)
		if err != nil {
			return fmt.Errorf("%s: prompt: %w", name, err)
		}
		want, err := rowsOf(r.Output)
		if err != nil {
			return fmt.Errorf("%s: output: %w", name, err)
		}
		images := *in.images
		if r.OneImage {
			item := len(images.Data) / images.Shape[0]
			images = clip.Array{Shape: append([]int{1}, images.Shape[1:]...), Data: images.Data[:item]}
		}
		got, _, err := m.Generate(ctx, clip.ImageInputs(images), prompt, o)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		c.check(name, slices.EqualFunc(got, want, slices.Equal), fmt.Sprintf("%s, %d texts", o.Type, len(want)))
	}
	return nil
}

// compareSampling compares probabilities of the tokens that follow those drawn, up to the
// end of each text.
func (c *testCase) compareSampling(ctx context.Context, m *clip.Model, in inputs, name string, number int, o *generation.Options) error {
	f, err := c.open("sampling.safetensors")
	if err != nil {
		return err
	}
	defer f.Close()
	got, want, err := probabilities(ctx, m, in, f, fmt.Sprint(number), o)
	if err != nil {
		return err
	}
	tolerance, err := c.tolerance()
	if err != nil {
		return err
	}
	c.compare(name, got, want, tolerance)
	return nil
}

func probabilities(ctx context.Context, m *clip.Model, in inputs, f weights.StateDict, number string, o *generation.Options) (got, want clip.Array, err error) {
	rows, err := readTokens(f, number+".sequences")
	if err != nil {
		return got, want, err
	}
	all, err := readTensor(f, number+".probabilities")
	if err != nil {
		return got, want, err
	}
	vocabulary := all.Shape[len(all.Shape)-1]
	for i, row := range rows {
		row = row[:len(row)-1]
		rows[i] = row
	}
	out, err := m.Forward(ctx, in.byName(), rows)
	if err != nil {
		return got, want, err
	}
	for i, row := range rows {
		for t := range row {
			if slices.Contains(row[:t+1], *o.EosID) {
				break
			}
			at := (i*len(row) + t) * vocabulary
			got.Data = append(got.Data, o.Probabilities(row[:t+1], out.Logits.Data[at:at+vocabulary])...)
			want.Data = append(want.Data, all.Data[at:at+vocabulary]...)
		}
	}
	got.Shape, want.Shape = []int{len(got.Data)}, []int{len(want.Data)}
	return got, want, nil
}
