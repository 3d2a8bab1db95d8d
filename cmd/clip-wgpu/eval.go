package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/train/data"
	"github.com/clip-wgpu/clip-wgpu/train/eval"
	"github.com/spf13/cobra"
)

const evalHelp = `eval measures how well a model knows pictures whose classes or captions are known.

Pictures with classes are classified without training: the shares of pictures whose own
class has the highest score (top-1), and one of the five highest (top-5), as
open_clip_train reports them for ImageNet. The features of several templates are averaged.

Pictures with captions are searched by each other: how often a picture's caption is among
the first 1, 5 and 10 of all captions (R@1, R@5, R@10), and the same for a caption's
picture. Where a picture has several captions, the first of them counts.

DATA is one of these, or several of a kind.

` + datasetHelp

// evaluation is what one eval command is asked for.
type evaluation struct {
	datasetFlags
	*session
	set *data.Dataset
}

func newEvalCommand(g *globals) *cobra.Command {
	var e evaluation
	cmd := &cobra.Command{
		Use:   "eval DATA...",
		Short: "Measure zero-shot classification or retrieval on pictures with classes or captions",
		Long:  evalHelp,
		Example: `  clip-wgpu eval imagenet/val --class-names names.txt --template "a photo of a {}." --model ViT-B-32:laion2b_s34b_b79k
  clip-wgpu eval captions.csv --json`,
		DisableFlagsInUseLine: true,
		RunE:                  func(cmd *cobra.Command, args []string) error { return e.command(cmd, g, args) },
	}
	e.addFlags(cmd)
	g.languageFlag(cmd)
	return cmd
}

func (e *evaluation) command(cmd *cobra.Command, g *globals, args []string) error {
	if err := e.check(cmd, args); err != nil {
		return err
	}
	set, err := e.open(cmd, args, true)
	if err != nil {
		return err
	}
	if err := e.nameClasses(cmd.Context(), cmd.InOrStdin(), set); err != nil {
		return err
	}
	e.set = set
	return withModel(cmd, g, func(ctx context.Context, s *session) error {
		e.session = s
		if err := s.mustEncode(imageTower, textTower); err != nil {
			return err
		}
		for _, bad := range set.Bad {
			if err := s.skip(prepared{input: input{id: bad.Where, err: bad.Err}}); err != nil {
				return err
			}
		}
		report, err := e.measure(ctx)
		if err != nil {
			return err
		}
		s.clear()
		if g.json {
			err = report.writeJSON(cmd.OutOrStdout(), s.model.Name())
		} else {
			err = report.write(cmd.OutOrStdout(), s.model.Name())
		}
		if err != nil {
			return err
		}
		e.noteEmpty()
		s.noteOddities(nil)
		return s.result(set.Len() + len(set.Bad))
	})
}

// noteEmpty tells how many classes no picture is of.
func (e *evaluation) noteEmpty() {
	shown := map[int]bool{}
	for i := range e.set.Len() {
		shown[e.set.Class(i)] = true
	}
	if n := len(e.set.Classes) - len(shown); n > 0 {
		e.note("%d of %d classes have no pictures", n, len(e.set.Classes))
	}
}

// images encodes those of samples that can be read. It returns their places among samples
// and their unit features.
func (e *evaluation) images(ctx context.Context, samples []int) (places []int, features clip.Array, err error) {
	inputs := make([]input, len(samples))
	for i, sample := range samples {
		inputs[i].id = e.set.Name(sample)
	}
	options := e.search.options(e.model.Preprocess())
	open := func(i int) preprocess.Picture { return e.set.Picture(samples[i], options...) }
	next := 0
	err = e.encodePictures(ctx, inputs, open, func(ids []string, rows clip.Array) error {
		for _, id := range ids { // in order, without those that were skipped
			for inputs[next].id != id {
				next++
			}
			places = append(places, next)
			next++
		}
		features = appendRows(features, rows)
		return nil
	})
	if err == nil && len(places) == 0 {
		err = e.result(e.skipped)
	}
	return places, features, err
}

func appendRows(all, rows clip.Array) clip.Array {
	if all.Shape == nil {
		return rows
	}
	all.Shape[0] += rows.Shape[0]
	all.Data = append(all.Data, rows.Data...)
	return all
}

// measure classifies or retrieves what the data has.
func (e *evaluation) measure(ctx context.Context) (evalReport, error) {
	if e.set.Classes != nil {
		return e.zeroShot(ctx)
	}
	return e.retrieval(ctx)
}

func (e *evaluation) zeroShot(ctx context.Context) (r evalReport, err error) {
	classes, err := interruptible(ctx, func() (clip.Array, error) {
		return clip.ZeroShotClassifier(ctx, e.model, e.set.Classes, e.options.Templates)
	})
	if err != nil {
		return r, err
	}
	samples := make([]int, e.set.Len())
	for i := range samples {
		samples[i] = i
	}
	samples, features, err := e.images(ctx, samples)
	if err != nil {
		return r, err
	}
	labels := make([]int, len(samples))
	for i, sample := range samples {
		labels[i] = e.set.Class(sample)
	}
	top, err := interruptible(ctx, func() (eval.ZeroShot, error) { return eval.Classify(ctx, e.model, features, classes, labels) })
	return evalReport{images: len(samples), classes: len(e.set.Classes), zeroShot: top}, err
}

func (e *evaluation) retrieval(ctx context.Context) (r evalReport, err error) {
	samples, captions, err := e.captions()
	if err != nil {
		return r, err
	}
	places, images, err := e.images(ctx, samples)
	if err != nil {
		return r, err
	}
	var texts []input
	var owners []int
	for i, place := range places {
		for _, c := range captions[place] {
			texts, owners = append(texts, input{id: c}), append(owners, i)
		}
	}
	var features clip.Array
	encoded := 0
	err = e.encodeTexts(ctx, texts, func(ids []string, rows clip.Array) error {
		encoded += len(ids)
		features = appendRows(features, rows)
		return nil
	})
	if err == nil && encoded < len(texts) {
		err = fmt.Errorf("%d of %s could not be encoded: what remains is another measure", len(texts)-encoded, plural(len(texts), "caption"))
	}
	if err != nil {
		return r, err
	}
	found, err := interruptible(ctx, func() (eval.Retrieval, error) { return eval.Retrieve(ctx, e.model, images, features, owners) })
	return evalReport{images: len(places), texts: len(texts), retrieval: found}, err
}

// captions reads those of all samples, and lists the samples that have some.
func (e *evaluation) captions() (samples []int, captions [][]string, err error) {
	for i := range e.set.Len() {
		texts, err := e.set.Captions(i)
		if err != nil {
			if err := e.skip(prepared{input: input{id: e.set.Name(i), err: err}}); err != nil {
				return nil, nil, err
			}
			continue
		}
		samples, captions = append(samples, i), append(captions, texts)
	}
	if len(samples) == 0 {
		return nil, nil, e.result(e.skipped)
	}
	return samples, captions, nil
}

// evalReport is what was measured: of classes, or of texts.
type evalReport struct {
	images, classes, texts int
	zeroShot               eval.ZeroShot
	retrieval              eval.Retrieval
}

// ways are both of retrieval, under open_clip_train's names.
func (r evalReport) ways() []struct {
	name, title string
	eval.Recall
} {
	return []struct {
		name, title string
		eval.Recall
	}{{"image_to_text", "image to text", r.retrieval.ImageToText}, {"text_to_image", "text to image", r.retrieval.TextToImage}}
}

// numbers are those of the report by name.
func (r evalReport) numbers() map[string]any {
	if r.classes > 0 {
		return map[string]any{"images": r.images, "classes": r.classes, "top1": r.zeroShot.Top1, "top5": r.zeroShot.Top5}
	}
	all := map[string]any{"images": r.images, "texts": r.texts}
	for _, way := range r.ways() {
		for name, value := range map[string]float64{"R@1": way.R1, "R@5": way.R5, "R@10": way.R10, "mean_rank": way.MeanRank, "median_rank": way.MedianRank} {
			all[way.name+"_"+name] = value
		}
	}
	return all
}

func (r evalReport) writeJSON(w io.Writer, model string) error {
	line := r.numbers()
	line["model"], line["kind"] = model, "retrieval"
	if r.classes > 0 {
		line["kind"] = "zero-shot"
	}
	return newJSONLines(w).Encode(line)
}

func (r evalReport) write(w io.Writer, model string) error {
	if r.classes > 0 {
		_, err := fmt.Fprintf(w, "zero-shot classification of %s, %d classes, by %s\ntop-1  %6.2f %%\ntop-5  %6.2f %%\n",
			plural(r.images, "image"), r.classes, model, 100*r.zeroShot.Top1, 100*r.zeroShot.Top5)
		return err
	}
	text := &strings.Builder{}
	fmt.Fprintf(text, "retrieval of %s and %s by %s\n               R@1      R@5     R@10   mean rank  median\n", plural(r.images, "image"), plural(r.texts, "text"), model)
	for _, way := range r.ways() {
		fmt.Fprintf(text, "%s %6.2f %% %6.2f %% %6.2f %% %9.1f %7.0f\n", way.title, 100*way.R1, 100*way.R5, 100*way.R10, way.MeanRank, way.MedianRank)
	}
	_, err := io.WriteString(w, text.String())
	return err
}
