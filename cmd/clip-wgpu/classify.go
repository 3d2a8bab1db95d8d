package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/internal/walk"
	"github.com/spf13/cobra"
)

type classifier struct {
	*session
	labels, templates []string
	top               int
	format            string
	search            imageSearch
	answers           answerWriter
	show              bool
	slides            *slideshow // with show
}

const classifyHelp = `classify tells which of some labels fits each image best: it gives each label a
probability and writes the most probable first. The probabilities of an image add
up to 1. With models that have a logit bias (SigLIP) they do not: there each label
is judged by itself.

The embedded model knows emoji and icon drawings by their English names and has
never seen a photograph. It needs no --template; models trained on captions do
better with one such as "a photo of a {}". The features of several templates
are averaged. A file of labels has one on each line. It is UTF-8, or UTF-16 that
begins with a byte-order mark. Labels longer than the model's context are cut, as
open_clip does; a note on stderr counts them.

--format says how the answers are written:

  table     a line for each image, for people; names that would break the line, or
            are not UTF-8, are in Go's quotes
  jsonl     {"image":..., "model":..., "results":[{"label":..., "probability":...}, ...]}
            for each image, with "activation":"sigmoid" where the model has a logit
            bias; --json means the same
  csv, tsv  a heading, then columns image, label, probability for each label of an
            image

` + recordsHelp + `

` + imageHelp + `

When all images are done, --show opens a window with one image and its
probabilities. Space and the right arrow show the next image, the left arrow the
one before; escape closes the window. On Linux only programs built with -tags
glfw have --show.`

func newClassifyCommand(g *globals) *cobra.Command {
	var c classifier
	var labels []string
	var top count
	cmd := &cobra.Command{
		Use:   "classify IMAGE|DIR|-... --labels a,b,c|FILE",
		Short: "Tell which of some labels fits each image best",
		Long:  classifyHelp,
		Example: `  clip-wgpu classify clip/emoji-clip/examples --labels clip/emoji-clip/examples/labels.txt
  clip-wgpu classify cat.jpg dog.jpg --model ./ViT-B-32 --labels cat,dog --template "a photo of a {}"`,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if g.json && c.format == "" {
				c.format = "jsonl"
			}
			c.format = cmp.Or(c.format, "table")
			c.top = top.or(math.MaxInt)
			if c.format == "table" {
				c.top = top.or(3)
			}
			return c.command(cmd, g, args, labels)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&labels, "labels", nil, "labels with commas between, or a `file` with one a line (- is stdin); given several times, they add up")
	f.StringArrayVar(&c.templates, "template", nil, "`text` around a label, with {} for it; may be given several times")
	f.Var(&top, "top", "labels to show of each image (default 3 in a table, else all)")
	f.StringVar(&c.format, "format", "", "`format` of the answers: csv, jsonl, table (default) or tsv")
	f.BoolVar(&c.show, "show", false, "show the images in a window when all are done")
	c.search.addFlags(cmd)
	g.languageFlag(cmd)
	return cmd
}

func (c *classifier) command(cmd *cobra.Command, g *globals, args, labels []string) error {
	if err := c.check(cmd, g, args, labels); err != nil {
		return err
	}
	for _, value := range labels {
		list, err := readLabels(cmd.Context(), value, cmd.InOrStdin())
		if err != nil {
			return err
		}
		c.labels = append(c.labels, list...)
	}
	if len(c.labels) == 0 {
		return usageErrorf(cmd, "--labels gives no labels")
	}
	c.search.mustExist = !g.skipErrors
	c.search.hint = func(name string) string {
		if !isWord(name) {
			return ""
		}
		return `; if it belongs to --labels or --template: --labels "cat,red dog" --template "a photo of a {}"`
	}
	images, err := c.search.some(cmd, args)
	if err != nil {
		return err
	}
	return withModel(cmd, g, func(ctx context.Context, s *session) error {
		c.session = s
		if err := s.mustEncode(imageTower, textTower); err != nil {
			return err
		}
		c.answers = c.newAnswers(cmd.OutOrStdout(), images)
		if c.show {
			c.slides = &slideshow{answerWriter: c.answers, options: c.search.stored()}
			c.answers = c.slides
		}
		return c.run(ctx, images)
	})
}

func (c *classifier) check(cmd *cobra.Command, g *globals, args, labels []string) error {
	if len(args) == 0 {
		return usageErrorf(cmd, "no images given")
	}
	if err := checkAnswers(cmd, g, c.format); err != nil {
		return err
	}
	if c.show && !canShow {
		return usageErrorf(cmd, "--show: this program is built without a window, go build -tags glfw ./cmd/clip-wgpu builds it with one")
	}
	for _, t := range c.templates {
		if !strings.Contains(t, "{}") {
			return usageErrorf(cmd, `--template %q has no {} for the label; quotes hold it together: --template "a photo of a {}"`, t)
		}
	}
	if readsStdin(args, labels) > 1 {
		return usageErrorf(cmd, "stdin cannot hold several of the images' paths and labels")
	}
	return c.search.check(cmd)
}

// checkAnswers refuses a format that answers about images cannot have.
func checkAnswers(cmd *cobra.Command, g *globals, format string) error {
	if !slices.Contains([]string{"csv", "jsonl", "table", "tsv"}, format) {
		return usageErrorf(cmd, "--format %q: want csv, jsonl, table or tsv", format)
	}
	if g.json && format != "jsonl" {
		return usageErrorf(cmd, "--json and --format %s", format)
	}
	return nil
}

// readLabels reads a value of --labels: a file's lines, or a list with commas.
func readLabels(ctx context.Context, value string, stdin io.Reader) ([]string, error) {
	list, extension := strings.Split(value, ","), strings.ToLower(filepath.Ext(value))
	switch info, err := os.Stat(value); {
	case value == "-" || err == nil && !info.IsDir():
		if slices.Contains(walk.Extensions, extension) {
			return nil, fmt.Errorf("labels: %s is an image, which is an argument of its own: classify %s --labels cat,dog", value, value)
		}
		if list, err = readLinesOf(ctx, value, stdin); err != nil {
			return nil, fmt.Errorf("labels: %w", err)
		}
		for i, line := range list {
			if err := checkText(line); err != nil {
				return nil, fmt.Errorf("labels: line %d of %s %w", i+1, value, err)
			}
		}
	case len(list) == 1 && (strings.ContainsRune(value, os.PathSeparator) || slices.Contains(fileExtensions, extension)):
		if err == nil {
			err = errors.New("is a folder")
		}
		return nil, fmt.Errorf("labels: %s: %w", value, cause(err))
	}
	for i, label := range list {
		list[i] = strings.TrimSpace(label)
	}
	return slices.DeleteFunc(list, func(label string) bool { return label == "" }), nil
}

// fileExtensions are those of values that mean a file, not a label.
var fileExtensions = append([]string{".txt", ".csv", ".tsv", ".json"}, walk.Extensions...)

func (c *classifier) run(ctx context.Context, images []input) error {
	if err := c.countTruncated(ctx); err != nil {
		return err
	}
	classes, err := interruptible(ctx, func() (clip.Array, error) {
		return clip.ZeroShotClassifier(ctx, c.model, c.labels, c.templates)
	})
	if err != nil {
		return err
	}
	err = c.encodeImages(ctx, images, c.search.options(c.model.Preprocess()), func(paths []string, features clip.Array) error {
		logits, err := interruptible(ctx, func() (clip.Array, error) { return c.model.Similarity(ctx, features, classes) })
		if err != nil {
			return err
		}
		clip.Probabilities(c.model, logits)
		c.clear()
		for i, path := range paths {
			n := len(c.labels)
			if err := c.answers.write(path, c.best(logits.Data[i*n:(i+1)*n])); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.noteOddities(c.search.leftOut)
	if c.slides != nil {
		if err := c.slides.show(ctx, c.model.Device()); err != nil {
			return err
		}
	}
	return c.result(len(images))
}

// countTruncated counts the labels, in their templates, that are too long.
func (c *classifier) countTruncated(ctx context.Context) error {
	t := c.model.Tokenizer()
	prompts, err := clip.Prompts(c.labels, c.templates)
	if err != nil {
		return err
	}
	for p := range tokenizeEach(ctx, t, c.model.Config().TextCfg.ContextLength, textInputs(prompts)) {
		if p.err != nil {
			return fmt.Errorf("label %w", &inputError{p.id, p.err})
		}
		c.truncated.count(p)
	}
	return ctx.Err()
}

// best returns the most probable labels first.
func (c *classifier) best(probabilities []float32) []answer {
	answers := make([]answer, len(c.labels))
	for i, label := range c.labels {
		answers[i] = answer{label, probabilities[i]}
	}
	slices.SortStableFunc(answers, func(a, b answer) int {
		switch {
		case a.Probability > b.Probability:
			return -1
		case a.Probability < b.Probability:
			return 1
		}
		return 0
	})
	return answers[:min(c.top, len(answers))]
}
