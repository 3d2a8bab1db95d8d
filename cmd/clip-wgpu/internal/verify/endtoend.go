package verify

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
)

// verifyEndToEnd goes from picture files and strings to features, logits,
// probabilities and a zero-shot classifier.
func verifyEndToEnd(ctx context.Context, c *testCase) error {
	var more struct {
		Folder    string   `json:"pictures"`
		Pictures  []string `json:"png"`
		Labels    []string `json:"labels"`
		Classes   []string `json:"classes"`
		Templates []string `json:"templates"`
	}
	if err := c.decode("meta.json", &more); err != nil {
		return err
	}
	m, err := c.load(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	folder := more.Folder
	switch {
	case folder != "":
	case c.has("png"):
		folder = "png"
	default:
		folder = "../preprocess/png"
	}
	files := make([]string, len(more.Pictures))
	for i, name := range more.Pictures {
		files[i] = filepath.Join(c.path(folder), name)
	}
	in, err := c.prepare(m, "", files, more.Labels)
	if err != nil {
		return err
	}
	return c.compareOutputs(ctx, "", &forward{m: m, inputs: in, classes: more.Classes, templates: more.Templates})
}

// zeroShot gives zeroshot_weights [embed_dim, classes] and zeroshot_logits_N
// [images, classes], which are N times the cosines.
func (f *forward) zeroShot(ctx context.Context, name string) (clip.Array, error) {
	if len(f.classes) == 0 {
		return clip.Array{}, errUnknown
	}
	classifier, err := clip.ZeroShotClassifier(ctx, f.m, f.classes, f.templates)
	if err != nil || name == "zeroshot_weights" {
		return transposed(classifier), err
	}
	factor, isLogits := strings.CutPrefix(name, "zeroshot_logits_")
	scale, err := strconv.ParseFloat(factor, 64)
	if !isLogits || err != nil || f.images == nil {
		return clip.Array{}, errUnknown
	}
	features, err := f.m.EncodeImage(ctx, *f.images, true)
	if err != nil {
		return clip.Array{}, err
	}
	if len(features.Shape) != 2 {
		return clip.Array{}, fmt.Errorf("a classifier needs pooled image features, the model's are %v", features.Shape)
	}
	return similarity(features, classifier, scale), nil
}

// similarity is scale·x·yᵀ of x [n, width] and y [m, width].
func similarity(x, y clip.Array, scale float64) clip.Array {
	n, m, width := x.Shape[0], y.Shape[0], x.Shape[1]
	out := clip.Array{Shape: []int{n, m}, Data: make([]float32, n*m)}
	for i := range out.Data {
		var dot float64
		for k := range width {
			dot += float64(x.Data[i/m*width+k]) * float64(y.Data[i%m*width+k])
		}
		out.Data[i] = float32(scale * dot)
	}
	return out
}

// transposed swaps the axes of a matrix; anything else stays as it is.
func transposed(x clip.Array) clip.Array {
	if len(x.Shape) != 2 {
		return x
	}
	n, m := x.Shape[0], x.Shape[1]
	y := clip.Array{Shape: []int{m, n}, Data: make([]float32, n*m)}
	for i, v := range x.Data {
		y.Data[i%m*n+i/m] = v
	}
	return y
}
