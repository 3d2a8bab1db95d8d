package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/spf13/cobra"
)

func newEmbedCommand(g *globals) *cobra.Command {
	var e embedding
	cmd := &cobra.Command{
		Use:   "embed [IMAGE|DIR|-]... [--text TEXT]... [--text-file FILE] -o FILE.npy|.jsonl|.safetensors",
		Short: "Write the unit feature vectors of images and texts to a file",
		Long: `embed writes the unit feature vectors of images and texts to a file, a row
each in the order given: images, then --text, then --text-file. Of a folder, the
images in and below it are taken, sorted by name; - reads paths from stdin.

  .npy          a float32 matrix; FILE.npy.ids.jsonl has {"kind":..., "id":...} for each row
  .jsonl        {"kind":..., "id":..., "embedding":[...]} for each row
  .safetensors  the tensor "embeddings"; the metadata has the model and the ids

An id is an image's path as given, or the text. The output appears when it is
whole. After an interrupt it holds the rows that were finished.`,
		Example: `  clip-wgpu embed photos --model ./ViT-B-32 -o photos.npy
  find . -name '*.jpg' | clip-wgpu embed - --skip-errors -o all.safetensors
  clip-wgpu embed --text "a red apple" --text pizza -o texts.jsonl`,
		DisableFlagsInUseLine: true,
		RunE:                  func(cmd *cobra.Command, args []string) error { return e.command(cmd, g, args) },
	}
	f := cmd.Flags()
	f.StringVarP(&e.output, "output", "o", "", "`file` to write; its extension says the format")
	f.StringArrayVar(&e.texts, "text", nil, "`text` to embed; may be given several times")
	f.StringVar(&e.textFile, "text-file", "", "`file` with a text on each line (- is stdin)")
	return cmd
}

// embedding is what one embed command is asked for, and how far it is.
type embedding struct {
	output, textFile string
	texts            []string
	images           []string

	rows    rowWriter
	written int
}

func (e *embedding) command(cmd *cobra.Command, g *globals, args []string) error {
	if err := e.check(cmd, args); err != nil {
		return err
	}
	if err := e.readInputs(cmd, args, !g.skipErrors); err != nil {
		return err
	}
	ids := slices.Concat(rowIDs("image", e.images), rowIDs("text", e.texts))
	if len(ids) == 0 {
		return usageErrorf(cmd, "no images and no texts given")
	}
	var err error
	// Made before the GPU works, to learn now that it cannot be written.
	e.rows, err = newRowWriter(e.output, rowOptions{g.force, cmp.Or(g.model, clip.Embedded), ids})
	if err != nil {
		return err
	}
	defer e.rows.discard()
	var skipped error
	err = withModel(cmd, g, func(ctx context.Context, s *session) error {
		err := e.run(ctx, s)
		skipped = s.result(len(ids))
		return err
	})
	switch interrupted := errors.Is(err, context.Canceled); {
	case err != nil && !interrupted:
		return err
	case e.written == 0:
		return cmp.Or(err, skipped)
	case interrupted:
		skipped = &exitError{exitInterrupted, fmt.Sprintf("interrupted: %d of %d rows are in %s", e.written, len(ids), e.output)}
	}
	if err := e.rows.commit(); err != nil {
		return err
	}
	return skipped
}

func (e *embedding) check(cmd *cobra.Command, args []string) error {
	formats := strings.Join(slices.Sorted(maps.Keys(rowFormats)), ", ")
	switch {
	case len(args) == 0 && e.texts == nil && e.textFile == "":
		return usageErrorf(cmd, "no images and no texts given")
	case e.output == "":
		return usageErrorf(cmd, "no output file given: -o FILE, with extension %s", formats)
	case rowFormats[strings.ToLower(filepath.Ext(e.output))] == nil:
		return usageErrorf(cmd, "output %s: unknown format, the extension must be one of %s", e.output, formats)
	case e.textFile == "-" && slices.Contains(args, "-"):
		return usageErrorf(cmd, "stdin cannot hold both the images' paths and the texts")
	}
	return nil
}

func (e *embedding) readInputs(cmd *cobra.Command, args []string, mustExist bool) (err error) {
	e.images, err = listImages(cmd.Context(), args, cmd.InOrStdin(), mustExist)
	if err != nil || e.textFile == "" {
		return err
	}
	lines, err := readLinesOf(cmd.Context(), e.textFile, cmd.InOrStdin())
	if err != nil {
		return fmt.Errorf("texts: %w", err)
	}
	e.texts = append(e.texts, lines...)
	return nil
}

func (e *embedding) run(ctx context.Context, s *session) error {
	if err := s.encodeImages(ctx, e.images, e.emit("image")); err != nil {
		return err
	}
	return s.encodeTexts(ctx, e.texts, e.emit("text"))
}

// emit stores the rows of a batch of one kind.
func (e *embedding) emit(kind string) func(names []string, features clip.Tensor) error {
	return func(names []string, features clip.Tensor) error {
		dim := features.Shape[1]
		for i, id := range rowIDs(kind, names) {
			if err := e.rows.write(id, features.Data[i*dim:(i+1)*dim]); err != nil {
				return fmt.Errorf("output %s: %w", e.output, cause(err))
			}
			e.written++
		}
		return nil
	}
}

func rowIDs(kind string, names []string) []rowID {
	ids := make([]rowID, len(names))
	for i, name := range names {
		ids[i] = rowID{kind, name}
	}
	return ids
}
