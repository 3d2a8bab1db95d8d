package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/generation"
	"github.com/spf13/cobra"
)

const captionHelp = `caption writes what a model says of each image. The model must have a decoder, as those
of the family CoCa have (clip-wgpu models --family CoCa); the embedded one has none.

Captions are chosen as by open_clip's generate: --generation-type beam_search keeps the
--num-beams best texts, greedy always takes the most probable token, top_k and top_p
draw by --seed among the most probable ones. Lengths are in tokens, with the start of
the text and --prompt, which every caption begins with. A prompt that leaves no room for
a token is an error.

--format says how captions are written:

  table     a line for each caption, for people; names that would break the line, or
            are not UTF-8, are in Go's quotes
  jsonl     {"image":..., "model":..., "captions":[...]} for each image; --json means
            the same
  csv, tsv  a heading, then columns image, caption for each caption of an image

` + recordsHelp + `

` + imageHelp

// captioner is what one caption command is asked for.
type captioner struct {
	options clip.CaptionOptions
	format  string
	search  imageSearch
}

func newCaptionCommand(g *globals) *cobra.Command {
	c := captioner{options: clip.CaptionOptions{Options: generation.Default()}}
	cmd := &cobra.Command{
		Use:   "caption IMAGE|DIR|-...",
		Short: "Say in words what is on each image",
		Long:  captionHelp,
		Example: `  clip-wgpu caption photos --model coca_ViT-L-14:mscoco_finetuned_laion2b_s13b_b90k
  clip-wgpu caption cat.jpg --model ./coca --prompt "a photo of" --num-return-sequences 3`,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if g.json {
				c.format = cmp.Or(c.format, "jsonl")
			}
			c.format = cmp.Or(c.format, "table")
			return c.command(cmd, g, args)
		},
	}
	f, o := cmd.Flags(), &c.options
	o.NumBeamGroups = 1
	f.StringVar(&o.Prompt, "prompt", "", "`text` that every caption begins with")
	f.StringVar(&o.Type, "generation-type", o.Type, "`way` to choose tokens: beam_search, greedy, top_k or top_p")
	f.IntVar(&o.SeqLen, "seq-len", o.SeqLen, "most tokens of a caption")
	f.IntVar(&o.MinSeqLen, "min-seq-len", o.MinSeqLen, "tokens before which no caption ends")
	f.IntVar(&o.NumBeams, "num-beams", o.NumBeams, "texts that beam_search keeps")
	f.Float64Var(&o.LengthPenalty, "length-penalty", o.LengthPenalty, "above 0, beam_search prefers long captions, below 0 short ones")
	f.IntVar(&o.TopK, "top-k", o.TopK, "most probable tokens that top_k draws among")
	f.Float64Var(&o.TopP, "top-p", o.TopP, "probability of all tokens that top_p draws among")
	f.Float64Var(&o.Temperature, "temperature", o.Temperature, "above 1, top_k and top_p draw more freely, below 1 less")
	f.Float64Var(&o.RepetitionPenalty, "repetition-penalty", o.RepetitionPenalty, "above 1, tokens come again less often")
	f.IntVar(&o.NoRepeatNGram, "no-repeat-ngram-size", 0, "tokens of which no sequence comes twice (default: any may)")
	f.IntVar(&o.NumReturnSequences, "num-return-sequences", o.NumReturnSequences, "captions of each image")
	f.Uint64Var(&o.Seed, "seed", 0, "what top_k and top_p draw by")
	f.StringVar(&c.format, "format", "", "`format` of the captions: csv, jsonl, table (default) or tsv")
	c.search.addFlags(cmd)
	return cmd
}

func (c *captioner) command(cmd *cobra.Command, g *globals, args []string) error {
	if err := c.check(cmd, g, args); err != nil {
		return err
	}
	c.search.mustExist = !g.skipErrors
	images, err := c.search.some(cmd, args)
	if err != nil {
		return err
	}
	return withModel(cmd, g, func(ctx context.Context, s *session) error {
		return c.run(ctx, s, images, c.writer(cmd.OutOrStdout(), s.model, images))
	})
}

func (c *captioner) check(cmd *cobra.Command, g *globals, args []string) error {
	if len(args) == 0 {
		return usageErrorf(cmd, "no images given")
	}
	if err := checkAnswers(cmd, g, c.format); err != nil {
		return err
	}
	o, id := c.options.Options, new(int32) // some ids of some vocabulary: the model's are not known yet
	o.PadID, o.EosID, o.SotID = id, id, id
	if err := o.Check(1 << 24); err != nil {
		return usageErrorf(cmd, "%v", err)
	}
	return c.search.check(cmd)
}

func (c *captioner) run(ctx context.Context, s *session, images []input, write captionWriter) error {
	done := 0
	for p, err := range s.model.CaptionPictures(ctx, picturesOf(images, filesOf(images, c.search.options(s.model.Preprocess()))), s.batch, c.options) {
		if err != nil {
			return err
		}
		id := images[done].id
		done++
		if p.Turned {
			s.turned++
		}
		if p.Err != nil {
			if err := s.skip(prepared{input: input{id, p.Err}}); err != nil {
				return err
			}
			continue
		}
		s.cancelStartNote()
		s.clear()
		if err := write(id, p.Captions); err != nil {
			return err
		}
		s.update("%d of %d images", done, len(images))
	}
	s.noteOddities(c.search.leftOut)
	return s.result(len(images))
}

// captionWriter writes the captions of one image.
type captionWriter func(image string, captions []string) error

func (c *captioner) writer(w io.Writer, m *clip.Model, images []input) captionWriter {
	switch c.format {
	case "jsonl":
		return jsonCaptions(newJSONLines(w), m.Name())
	case "csv":
		return recordCaptions(w, writeCSV)
	case "tsv":
		return recordCaptions(w, writeTSV)
	}
	width := 0
	for _, image := range images {
		width = min(60, max(width, utf8.RuneCountInString(shown(image.id))))
	}
	return func(image string, captions []string) error {
		for _, text := range captions {
			if _, err := fmt.Fprintf(w, "%-*s  %s\n", width, shown(image), oneLine(text)); err != nil {
				return err
			}
		}
		return nil
	}
}

func jsonCaptions(lines *json.Encoder, model string) captionWriter {
	return func(image string, captions []string) error {
		return lines.Encode(struct {
			Image    rawText  `json:"image"`
			Model    rawText  `json:"model"`
			Captions []string `json:"captions"`
		}{rawText(image), rawText(model), captions})
	}
}

// recordCaptions writes a record for each caption of an image.
func recordCaptions(w io.Writer, records recordWriter) captionWriter {
	begun := false
	return func(image string, captions []string) error {
		var rows [][]string
		if !begun {
			rows, begun = append(rows, []string{"image", "caption"}), true
		}
		for _, text := range captions {
			rows = append(rows, []string{image, text})
		}
		return records(w, rows...)
	}
}
