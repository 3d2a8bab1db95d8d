// Package generation chooses the tokens of texts one by one, by what a model says of the
// token that comes next: open_clip's generate (coca_model.py) over that of transformers
// 4.57. It needs no device.
package generation

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
)

// The ways to choose, generation_type in open_clip.
const (
	BeamSearch = "beam_search"
	TopK       = "top_k"
	TopP       = "top_p"
	Greedy     = "greedy" // always the most probable token
)

// Options are the arguments of open_clip's generate and those of transformers'
// GenerationConfig that it passes on. Default gives open_clip's.
type Options struct {
	Type        string
	SeqLen      int     // tokens of a text with its prompt, at most
	MinSeqLen   int     // as many have no end before
	Temperature float64 // divides the logits; of TopK and TopP
	TopP        float64 // the most probable tokens that together have this probability
	TopK        int     // as many of the most probable tokens
	// The ids of padding, of the end of a text and of its start. nil: the model's.
	PadID, EosID, SotID *int32
	NumBeams            int
	// NumBeamGroups above 1 falls back to 1, as in open_clip.
	NumBeamGroups      int
	RepetitionPenalty  float64 // above 1 makes tokens that a text has less probable; of log-probabilities in beam search
	NoRepeatNGram      int     // no sequence of so many tokens comes twice; 0 allows it
	LengthPenalty      float64 // beam search divides scores by the length to its power
	EarlyStopping      string  // of beam search: "" by a guess, "true" with as many texts as beams, "never" before nothing better can come
	NumReturnSequences int     // texts of each image: the best beams, or so many draws
	FixedOutputLength  bool    // texts are padded to SeqLen
	Seed               uint64  // of TopK and TopP: the same draws the same, whatever other images there are
}

// Default returns open_clip's defaults.
func Default() Options {
	return Options{
		Type: BeamSearch, SeqLen: 30, MinSeqLen: 5, Temperature: 1, TopP: 0.1, TopK: 1,
		NumBeams: 6, NumBeamGroups: 3, RepetitionPenalty: 1, LengthPenalty: 1, NumReturnSequences: 1,
	}
}

// Check refuses options that mean nothing, of a model of so many token ids.
func (o *Options) Check(vocabulary int) error {
	err := check.First(
		o.checkRange("seq_len", o.SeqLen, 2, check.MaxSide),
		o.checkRange("min_seq_len", o.MinSeqLen, 0, o.SeqLen-1),
		o.checkRange("num_return_sequences", o.NumReturnSequences, 1, check.MaxSide),
		o.checkRange("no_repeat_ngram_size", o.NoRepeatNGram, 0, o.SeqLen),
		checkPositive("repetition_penalty", o.RepetitionPenalty),
	)
	for name, id := range map[string]*int32{"pad_token_id": o.PadID, "eos_token_id": o.EosID, "sot_token_id": o.SotID} {
		if id == nil {
			err = check.First(err, fmt.Errorf("%w: %s is missing", check.ErrInput, name))
			continue
		}
		err = check.First(err, o.checkRange(name, int(*id), 0, vocabulary-1))
	}
	switch {
	case err != nil:
	case math.IsNaN(o.LengthPenalty) || math.IsInf(o.LengthPenalty, 0):
		err = fmt.Errorf("%w: length_penalty is %v", check.ErrInput, o.LengthPenalty)
	case o.Type == Greedy && o.NumReturnSequences > 1:
		err = fmt.Errorf("%w: num_return_sequences is %d, and greedy makes one text", check.ErrInput, o.NumReturnSequences)
	case o.Type == BeamSearch:
		err = check.First(
			o.checkRange("num_beams", o.NumBeams, 1, vocabulary/2),
			o.checkRange("num_return_sequences", o.NumReturnSequences, 1, o.NumBeams),
			o.checkRange("num_beam_groups", o.NumBeamGroups, 1, o.NumBeams),
		)
		if err == nil && !slices.Contains([]string{"", "true", "never"}, o.EarlyStopping) {
			err = fmt.Errorf("%w: early_stopping is %q, want nothing, \"true\" or \"never\"", check.ErrInput, o.EarlyStopping)
		}
	case o.Type == TopK:
		err = check.First(checkPositive("temperature", o.Temperature), o.checkRange("top_k", o.TopK, 1, vocabulary))
	case o.Type == TopP:
		err = checkPositive("temperature", o.Temperature)
		if err == nil && !(o.TopP > 0 && o.TopP <= 1) {
			err = fmt.Errorf("%w: top_p is %v, want more than 0 and at most 1", check.ErrInput, o.TopP)
		}
	case o.Type != Greedy:
		err = fmt.Errorf("%w: generation_type is %q, want one of %q", check.ErrInput, o.Type, []string{BeamSearch, TopK, TopP, Greedy})
	}
	return err
}

func (o *Options) checkRange(name string, v, lo, hi int) error {
	if v < lo || v > hi {
		return fmt.Errorf("%w: %s is %d, want %d to %d", check.ErrInput, name, v, lo, hi)
	}
	return nil
}

func checkPositive(name string, v float64) error {
	if !(v > 0 && v < math.Inf(1)) {
		return fmt.Errorf("%w: %s is %v, want more than 0", check.ErrInput, name, v)
	}
	return nil
}

// Rows is how many texts are written of an image at a time.
func (o *Options) Rows() int {
	switch o.Type {
	case BeamSearch:
		return o.NumBeams
	case Greedy:
		return 1
	}
	return o.NumReturnSequences
}

// Fill is the id with which texts that are shorter than others are filled. In beam search
// it is the end's where padding is 0, as in transformers.
func (o *Options) Fill() int32 {
	if o.Type == BeamSearch && *o.PadID == 0 {
		return *o.EosID
	}
	return *o.PadID
}

// Next gives the logits of the token that follows each of some rows, side by side. Row i
// is, but for its last token, row from[i] of the call before. In the first call from is nil.
type Next func(ctx context.Context, rows [][]int32, from []int) ([]float32, error)

// Run continues the prompts of some images, of which the first is number first, and returns
// NumReturnSequences texts of each, which Pad makes of one length. Check has passed, and
// the prompts are of one length below SeqLen.
func (o *Options) Run(ctx context.Context, first int, prompts [][]int32, next Next) ([][]int32, error) {
	if o.Type == BeamSearch {
		return o.beamSearch(ctx, prompts, next)
	}
	return o.sample(ctx, first, prompts, next)
}

// Pad fills rows to one length: that of the longest, or SeqLen with FixedOutputLength.
func (o *Options) Pad(rows [][]int32) [][]int32 {
	longest := 0
	for _, row := range rows {
		longest = max(longest, len(row))
	}
	for i, row := range rows {
		rows[i] = append(row, slices.Repeat([]int32{o.Fill()}, longest-len(row))...)
		if o.FixedOutputLength && longest < o.SeqLen {
			rows[i] = append(rows[i], slices.Repeat([]int32{*o.PadID}, o.SeqLen-longest)...)
		}
	}
	return rows
}
