package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/spf13/cobra"
)

func newEmbedCommand(g *globals) *cobra.Command {
	var e embedding
	cmd := &cobra.Command{
		Use:   "embed [IMAGE|DIR|-]... [--text TEXT]... [--text-file FILE]... -o FILE|-",
		Short: "Write the unit feature vectors of images and texts to a file",
		Long: `embed writes the unit feature vectors of images and texts to a file, a row for
each: first the images, then --text, then --text-file, in the order given. The
extension of the file's name says the format, or --format where it says none:

  npy          a float32 matrix; FILE.npy.ids.jsonl has {"kind":..., "id":...}
               for each row
  jsonl        {"kind":..., "id":..., "embedding":[...]} for each row
  csv, tsv     a heading, then columns kind, id, e0, e1 ... for each row
  safetensors  the float32 tensor "embeddings"; the metadata has what the rows
               depend on (model, the fingerprint of its config and parameters,
               weights and, as JSON, preprocessing with orient and draft) and, as
               JSON, the kind and id of each row

The kind is image or text, the id an image's path as given or the text itself.
The file appears when it is whole. After an interrupt it holds the rows that were
finished.

-o - writes to stdout, in jsonl unless --format says another. Rows of csv, jsonl
and tsv come as they are finished, npy and safetensors at the end. npy on stdout
has no ids, only rows in the order of the inputs. With --skip-errors it is
refused, since nobody could tell which rows are missing.

` + recordsHelp + `

` + imageHelp + `

A file of texts has a text on each line; an empty line is an empty text. The file
is UTF-8, or UTF-16 that begins with a byte-order mark. Texts longer than the
model's context are cut, as open_clip does; a note on stderr counts them.`,
		Example: `  clip-wgpu embed photos --model ./ViT-B-32 -o photos.npy
  find . -name '*.jpg' | clip-wgpu embed - --skip-errors -o all.safetensors
  clip-wgpu embed --text "a red apple" --text pizza -o - --format csv`,
		DisableFlagsInUseLine: true,
		RunE:                  func(cmd *cobra.Command, args []string) error { return e.command(cmd, g, args) },
	}
	f := cmd.Flags()
	f.StringVarP(&e.output, "output", "o", "", "`file` to write, - is stdout")
	f.StringVar(&e.format, "format", "", "`format` of the output: "+formatNames())
	f.StringArrayVar(&e.texts, "text", nil, "`text` to embed; may be given several times")
	f.StringArrayVar(&e.textFiles, "text-file", nil, "`file` with a text on each line (- is stdin); may be given several times")
	e.search.addFlags(cmd)
	g.languageFlag(cmd)
	return cmd
}

func formatNames() string { return strings.Join(slices.Sorted(maps.Keys(rowFormats)), ", ") }

// embedding is what one embed command is asked for, and how far it is.
type embedding struct {
	output, format   string
	texts, textFiles []string
	search           imageSearch

	rows    rowWriter
	written int
}

func (e *embedding) command(cmd *cobra.Command, g *globals, args []string) error {
	if err := e.check(cmd, g, args); err != nil {
		return err
	}
	images, texts, err := e.readInputs(cmd, g, args)
	if err != nil {
		return err
	}
	ids := slices.Concat(rowIDs("image", images), rowIDs("text", texts))
	if len(ids) == 0 {
		return usageErrorf(cmd, "no images and no texts given")
	}
	made := map[string]string{"model": cmp.Or(g.model, checkpoint.Embedded)}
	// Made before the GPU works, to learn now that it cannot be written.
	e.rows, err = newRowWriter(e.output, rowOptions{e.format, g.force, made, ids, cmd.OutOrStdout()})
	if err != nil {
		return err
	}
	defer e.rows.discard()
	var skipped error
	err = withModel(cmd, g, func(ctx context.Context, s *session) error {
		if err := s.mustEncode(towersFor(images, texts)...); err != nil {
			return err
		}
		options := e.search.options(s.model.Preprocess())
		err := e.identify(ctx, s.model, options, made)
		if err == nil {
			err = s.encodeImages(ctx, images, options, e.emit("image"))
		}
		if err == nil {
			err = s.encodeTexts(ctx, texts, e.emit("text"))
		}
		if err == nil {
			s.noteOddities(e.search.leftOut)
		}
		skipped = s.result(len(ids))
		return err
	})
	switch interrupted := errors.Is(err, context.Canceled); {
	case err != nil && !interrupted:
		return err
	case e.written == 0:
		return cmp.Or(err, skipped)
	case interrupted:
		skipped = &exitError{exitInterrupted, fmt.Sprintf("interrupted: %d of %d rows are in %s", e.written, len(ids), e.outputName())}
	}
	if err := e.rows.commit(); err != nil {
		return err
	}
	return skipped
}

// towersFor are those that have something to encode.
func towersFor(images, texts []input) (of []string) {
	if len(images) > 0 {
		of = append(of, imageTower)
	}
	if len(texts) > 0 {
		of = append(of, textTower)
	}
	return of
}

// identify adds to made what the vectors depend on, where the output can say so.
func (e *embedding) identify(ctx context.Context, m *clip.Model, options []preprocess.Option, made map[string]string) error {
	if !rowFormats[cmp.Or(e.format, formatOf(e.output))].identifies {
		return nil
	}
	id, err := m.Identity(ctx, options...)
	if err != nil {
		return err
	}
	made["fingerprint"], made["weights"], made["preprocessing"] = id.Fingerprint, string(id.Weights), id.Preprocessing
	return nil
}

func (e *embedding) outputName() string {
	if e.output == stdoutPath {
		return "stdout"
	}
	return e.output
}

func (e *embedding) check(cmd *cobra.Command, g *globals, args []string) error {
	named := formatOf(e.output)
	if e.output == stdoutPath || g.json && named == "" {
		e.format = cmp.Or(e.format, "jsonl")
	}
	_, known := rowFormats[e.format]
	switch {
	case len(args) == 0 && e.texts == nil && e.textFiles == nil:
		return usageErrorf(cmd, "no images and no texts given")
	case e.output == "":
		return usageErrorf(cmd, "no output given: -o FILE, with extension .%s; or -o -, which is stdout", strings.ReplaceAll(formatNames(), ", ", ", ."))
	case e.format != "" && !known:
		return usageErrorf(cmd, "--format %q: want one of %s", e.format, formatNames())
	case e.format == "" && named == "":
		return usageErrorf(cmd, "output %s: its name says no format; give --format or one of the extensions .%s", e.output, strings.ReplaceAll(formatNames(), ", ", ", ."))
	case g.json && cmp.Or(e.format, named) != "jsonl":
		return usageErrorf(cmd, "--json writes jsonl, and the output is to be %s", cmp.Or(e.format, named))
	case e.format != "" && named != "" && e.format != named:
		return usageErrorf(cmd, "output %s: its name says %s, and --format %s", e.output, named, e.format)
	case e.output == stdoutPath && e.format == "npy" && g.skipErrors:
		return usageErrorf(cmd, "npy on stdout has no ids, so that with --skip-errors nobody could tell which rows are missing; safetensors has them")
	case readsStdin(args, e.textFiles) > 1:
		return usageErrorf(cmd, "stdin cannot hold several of the images' paths and texts")
	}
	return e.search.check(cmd)
}

func (e *embedding) readInputs(cmd *cobra.Command, g *globals, args []string) (images, texts []input, err error) {
	e.search.mustExist = !g.skipErrors
	e.search.hint = func(name string) string {
		if e.texts == nil || !isWord(name) {
			return ""
		}
		return `; if it belongs to --text: --text "red cat" --text dog`
	}
	if images, err = e.search.list(cmd.Context(), args, cmd.InOrStdin()); err != nil {
		return nil, nil, err
	}
	for _, text := range e.texts {
		if info, err := os.Stat(text); err == nil && info.Mode().IsRegular() {
			g.console().note("--text %s is taken as a text, though it is the name of a file: images are arguments, files of texts --text-file", shown(text))
		}
		texts = append(texts, input{id: text})
	}
	for _, file := range e.textFiles {
		lines, err := readTexts(cmd.Context(), file, cmd.InOrStdin(), g.skipErrors)
		if err != nil {
			return nil, nil, fmt.Errorf("texts: %w", err)
		}
		texts = append(texts, lines...)
	}
	return images, texts, nil
}

// readTexts reads a file with a text on each line.
func readTexts(ctx context.Context, file string, stdin io.Reader, skipErrors bool) ([]input, error) {
	lines, err := readLinesOf(ctx, file, stdin)
	var whole *inputError
	switch {
	case err == nil:
	case skipErrors && ctx.Err() == nil && errors.As(err, &whole):
		return []input{{whole.id, whole.err}}, nil
	default:
		return nil, err
	}
	texts := make([]input, len(lines))
	for i, line := range lines {
		texts[i].id = line
		if err := checkText(line); err != nil {
			texts[i].err = fmt.Errorf("line %d of %s %w", i+1, file, err)
			if !skipErrors {
				return nil, fmt.Errorf("%w%s", texts[i].err, skipHint)
			}
		}
	}
	return texts, nil
}

// isWord tells what looks more like a text than like the name of a file.
func isWord(name string) bool {
	return filepath.Ext(name) == "" && !strings.ContainsAny(name, string(filepath.Separator)+"/")
}

// emit stores the rows of a batch of one kind.
func (e *embedding) emit(kind string) func(names []string, features clip.Array) error {
	return func(names []string, features clip.Array) error {
		dim := features.Shape[1]
		for i, name := range names {
			if err := e.rows.write(rowID{kind, rawText(name)}, features.Data[i*dim:(i+1)*dim]); err != nil {
				return outputError(e.outputName(), err)
			}
			e.written++
		}
		return nil
	}
}

func rowIDs(kind string, inputs []input) []rowID {
	ids := make([]rowID, len(inputs))
	for i, in := range inputs {
		ids[i] = rowID{kind, rawText(in.id)}
	}
	return ids
}
