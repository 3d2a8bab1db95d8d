package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/spf13/cobra"
)

type classifier struct {
	*session
	labels    []string
	templates []string
	top       int
	answers   answerWriter
	show      bool
	slides    *slideshow // with show
}

func newClassifyCommand(g *globals) *cobra.Command {
	var labels string
	var templates []string
	var top count
	var show bool
	cmd := &cobra.Command{
		Use:   "classify IMAGE|DIR|-... --labels a,b,c|FILE",
		Short: "Tell which of some labels fits each image best",
		Long: `classify tells which of some labels fits each image best: the probabilities
over the labels, most probable first. Of models with a logit bias (SigLIP) each
label has a probability of its own.

The embedded model knows emoji and icon drawings by their English names and has
never seen a photograph. It needs no --template; models trained on captions do
better with one such as "a photo of a {}". The features of several templates
are averaged.

Of a folder, the images in and below it are taken; - reads paths from stdin.
--json writes {"image":..., "model":..., "results":[{"label":..., "probability":...}, ...]}
for each image, with "activation":"sigmoid" where the model has a logit bias.

--show then opens a window with an image and its probabilities at a time: space
or the right arrow for the next one, the left arrow for the one before, escape
to end. Programs built with -tags glfw have it.`,
		Example: `  clip-wgpu classify clip/emoji-clip/examples --labels clip/emoji-clip/examples/labels.txt
  clip-wgpu classify cat.jpg dog.jpg --model ./ViT-B-32 --labels cat,dog --template "a photo of a {}"`,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			c := &classifier{templates: templates, top: top.or(3), show: show}
			if g.json {
				c.top = top.or(math.MaxInt)
			}
			return c.command(cmd, g, args, labels)
		},
	}
	cmd.Flags().StringVar(&labels, "labels", "", "labels with commas between, or a `file` with one a line (- is stdin)")
	cmd.Flags().StringArrayVar(&templates, "template", nil, "`text` around a label, with {} for it; may be given several times")
	cmd.Flags().Var(&top, "top", "labels to show of each image (default 3, with --json all)")
	cmd.Flags().BoolVar(&show, "show", false, "then show the images in a window")
	return cmd
}

func (c *classifier) command(cmd *cobra.Command, g *globals, args []string, labels string) error {
	if len(args) == 0 {
		return usageErrorf(cmd, "no images given")
	}
	if c.show && !canShow {
		return usageErrorf(cmd, "--show: this program is built without a window, go build -tags glfw ./cmd/clip-wgpu builds it with one")
	}
	for _, t := range c.templates {
		if !strings.Contains(t, "{}") {
			return usageErrorf(cmd, "--template %q has no {} for the label", t)
		}
	}
	if labels == "-" && slices.Contains(args, "-") {
		return usageErrorf(cmd, "stdin cannot hold both the images' paths and the labels")
	}
	var err error
	if c.labels, err = readLabels(cmd.Context(), labels, cmd.InOrStdin()); err != nil {
		return err
	}
	if len(c.labels) == 0 {
		return usageErrorf(cmd, "--labels gives no labels")
	}
	paths, err := listImages(cmd.Context(), args, cmd.InOrStdin(), !g.skipErrors)
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return usageErrorf(cmd, "no images given")
	}
	return withModel(cmd, g, func(ctx context.Context, s *session) error {
		c.session = s
		if g.json {
			c.answers = newJSONAnswers(cmd.OutOrStdout(), s.model)
		} else {
			c.answers = newTable(cmd.OutOrStdout(), s.model, paths, c.labels)
		}
		if c.show {
			c.slides = &slideshow{answerWriter: c.answers}
			c.answers = c.slides
		}
		return c.run(ctx, paths)
	})
}

// readLabels reads --labels: a file's lines, or a list with commas.
func readLabels(ctx context.Context, value string, stdin io.Reader) ([]string, error) {
	list := strings.Split(value, ",")
	if info, err := os.Stat(value); value == "-" || err == nil && !info.IsDir() {
		lines, err := readLinesOf(ctx, value, stdin)
		if err != nil {
			return nil, fmt.Errorf("labels: %w", err)
		}
		list = lines
	} else if len(list) == 1 && (strings.ContainsRune(value, os.PathSeparator) || strings.HasSuffix(value, ".txt")) {
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

func (c *classifier) run(ctx context.Context, paths []string) error {
	classes, err := await(ctx, func() (clip.Tensor, error) {
		return clip.ZeroShotClassifier(ctx, c.model, c.labels, c.templates)
	})
	if err != nil {
		return err
	}
	err = c.encodeImages(ctx, paths, func(paths []string, features clip.Tensor) error {
		logits, err := await(ctx, func() (clip.Tensor, error) { return c.model.Similarity(ctx, features, classes) })
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
	if c.slides != nil {
		if err := c.slides.show(ctx, c.model.Device()); err != nil {
			return err
		}
	}
	return c.result(len(paths))
}

type answer struct {
	Label       string `json:"label"`
	Probability number `json:"probability"`
}

// best returns the most probable labels first.
func (c *classifier) best(probabilities []float32) []answer {
	answers := make([]answer, len(c.labels))
	for i, label := range c.labels {
		answers[i] = answer{label, number(probabilities[i])}
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

// answerWriter writes what was found about one image.
type answerWriter interface {
	write(image string, results []answer) error
}

type jsonAnswers struct {
	*json.Encoder
	model, activation string
}

func newJSONAnswers(w io.Writer, m clip.Model) *jsonAnswers {
	a := &jsonAnswers{Encoder: newJSONLines(w), model: m.Name()}
	if _, sigmoid := m.LogitBias(); sigmoid {
		a.activation = "sigmoid"
	}
	return a
}

func (a *jsonAnswers) write(image string, results []answer) error {
	return a.Encode(struct {
		Image      string   `json:"image"`
		Model      string   `json:"model"`
		Activation string   `json:"activation,omitempty"`
		Results    []answer `json:"results"`
	}{image, a.model, a.activation, results})
}

// table writes a line an image, in columns, for people to read.
type table struct {
	w                       io.Writer
	heading                 string // until it is written
	imageWidth, answerWidth int
}

func newTable(w io.Writer, m clip.Model, images, labels []string) *table {
	heading := "model: " + m.Name()
	if m.Name() == clip.Embedded {
		heading += " (knows emoji and icon drawings, has never seen a photograph)"
	}
	if _, sigmoid := m.LogitBias(); sigmoid {
		heading += "; it has a logit bias: each label by itself (sigmoid)"
	}
	const maxWidth = 60
	return &table{w, oneLine(heading) + "\n", min(maxWidth, widest(images)), min(maxWidth, widest(labels))}
}

func widest(texts []string) int {
	n := 0
	for _, s := range texts {
		n = max(n, utf8.RuneCountInString(s))
	}
	return n
}

func (t *table) write(image string, results []answer) error {
	line := t.heading + fmt.Sprintf("%-*s", t.imageWidth, oneLine(image))
	t.heading = ""
	for _, a := range results {
		line += fmt.Sprintf("  %5.1f %% %-*s", 100*a.Probability, t.answerWidth, oneLine(a.Label))
	}
	_, err := fmt.Fprintln(t.w, strings.TrimRight(line, " "))
	return err
}
