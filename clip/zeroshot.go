package clip

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// TextEncoder is what ZeroShotClassifier needs of a *Model.
type TextEncoder interface {
	EncodeTexts(ctx context.Context, texts []string) (Array, error)
}

// ZeroShotClassifier returns the text features of classes, [classes,
// embed_dim]: for each class the mean of the unit features of all templates,
// made a unit vector again (build_zero_shot_classifier of open_clip's
// zero_shot_classifier.py, transposed). A template holds "{}" for the class
// name; none means the names alone.
func ZeroShotClassifier(ctx context.Context, m TextEncoder, classes, templates []string) (Array, error) {
	texts, err := Prompts(classes, templates)
	if err != nil {
		return Array{}, err
	}
	features, err := m.EncodeTexts(ctx, texts)
	var one *tokenizer.TextError
	var odd *NotFiniteError
	switch {
	case errors.As(err, &one):
		err = fmt.Errorf("text %q: %w", texts[one.Index], one.Err)
	case errors.As(err, &odd):
		err = fmt.Errorf("text %q: %w", texts[odd.Items[0]], err)
	}
	if err != nil {
		return Array{}, err
	}
	perClass := max(1, len(templates))
	if len(features.Shape) != 2 {
		return Array{}, fmt.Errorf("%w: a classifier needs pooled text features, the model's are %v", ErrInput, features.Shape)
	}
	width := features.Shape[1]
	out := Array{[]int{len(classes), width}, make([]float32, len(classes)*width)}
	for i := range classes {
		row := out.Data[i*width : (i+1)*width]
		meanUnit(row, features.Data[i*perClass*width:(i+1)*perClass*width])
	}
	return out, nil
}

// Prompts returns the texts that ZeroShotClassifier encodes: the first class in each
// of the templates, then the second class, and so on. No templates mean the classes
// alone. A template without "{}" is an error that matches ErrInput.
func Prompts(classes, templates []string) ([]string, error) {
	if len(templates) == 0 {
		return classes, nil
	}
	for _, t := range templates {
		if !strings.Contains(t, "{}") {
			return nil, fmt.Errorf("%w: template %q has no {} for the label", ErrInput, t)
		}
	}
	texts := make([]string, 0, len(classes)*len(templates))
	for _, c := range classes {
		for _, t := range templates {
			texts = append(texts, strings.ReplaceAll(t, "{}", c))
		}
	}
	return texts, nil
}

// meanUnit sets dst to the unit vector of the mean of rows.
func meanUnit(dst, rows []float32) {
	sum := make([]float64, len(dst))
	for i, v := range rows {
		sum[i%len(dst)] += float64(v)
	}
	var norm float64
	for _, v := range sum {
		norm += v * v
	}
	norm = max(math.Sqrt(norm), ops.NormalizeEps)
	for i := range dst {
		dst[i] = float32(sum[i] / norm)
	}
}

// Probabilities turns logits [images, labels] into probabilities in place: a
// softmax over the labels, or, for models with a logit bias, a sigmoid each.
func Probabilities(m *Model, logits Array) {
	_, sigmoid := m.LogitBias()
	n := logits.Shape[len(logits.Shape)-1]
	for lo := 0; lo < len(logits.Data); lo += n {
		row := logits.Data[lo : lo+n]
		if sigmoid {
			for i, v := range row {
				row[i] = float32(1 / (1 + math.Exp(-float64(v))))
			}
			continue
		}
		softmax(row)
	}
}

func softmax(row []float32) {
	top := math.Inf(-1)
	for _, v := range row {
		top = max(top, float64(v))
	}
	var sum float64
	for _, v := range row {
		sum += math.Exp(float64(v) - top)
	}
	for i, v := range row {
		row[i] = float32(math.Exp(float64(v)-top) / sum)
	}
}
